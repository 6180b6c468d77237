//! Tokens over HTTP: whoever holds `*` administers them, and nobody makes one wider than its own.

use std::thread;

use serde_json::{Value, json};
use tests::client::{Client, Response};
use tests::deployment::Deployment;
use tests::token;

const TOKENS: &str = "/api/enterprise/tokens";

fn deployment() -> Deployment {
    Deployment::builder()
        .without_runtime()
        .with_tokens()
        .start()
}

fn admin(deployment: &Deployment, flags: &[&str]) -> Client {
    let flags = [&["--scopes", "*"], flags].concat();
    let name = format!("admin-{}", flags.len());
    deployment
        .client()
        .with_token(&deployment.token(&name, &flags).raw)
}

fn text(answer: &Response, member: &str) -> String {
    answer.json()[member]
        .as_str()
        .unwrap_or_else(|| panic!("{}", answer.text()))
        .to_owned()
}

#[test]
fn requests_that_are_not_clear_are_400_and_name_the_member() {
    let deployment = deployment();
    let admin = admin(&deployment, &[]);
    for (body, named) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": 7}), "string"),
        (json!({"name": "a", "scopes": "read"}), "sequence"),
        (json!({"name": "a", "scopes": []}), "scopes"),
        (
            json!({"name": "a", "scopes": ["superadmin-read"]}),
            "scopes",
        ),
        (
            json!({"name": "a", "scopes": ["*"], "role": "viewer"}),
            "scopes",
        ),
        (json!({"name": "a", "role": "root"}), "role"),
        (json!({"name": "a", "expires_days": 0}), "expires_days"),
        (json!({"name": "a", "expires_days": -1}), "expires_days"),
        (
            json!({"name": "a", "networks": ["10.0.0.0/64"]}),
            "networks",
        ),
        (json!({"name": "a", "rate_limit": "much"}), "rate_limit"),
        (json!({"name": "a", "projects": ["../app"]}), "projects"),
        (
            json!({"name": "a", "description": "two\nlines"}),
            "description",
        ),
        (json!({"name": "a", "admin": true}), "admin"),
        (json!([]), "object"),
    ] {
        let answer = admin.post(TOKENS, &body).with_status(400);
        assert!(answer.text().contains(named), "{body}: {}", answer.text());
    }
    for (body, named) in [(json!({}), "issuer"), (json!({"subject": "a"}), "issuer")] {
        let answer = admin
            .post("/api/enterprise/tokens/revoke", &body)
            .with_status(400);
        assert!(answer.text().contains(named), "{body}: {}", answer.text());
    }
    for target in [
        "/api/enterprise/tokens?limit=0",
        "/api/enterprise/tokens?all=true",
    ] {
        let _no = admin.get(target).with_status(400);
    }
    let listed = admin.get(TOKENS).with_status(200).json();
    assert_eq!(listed["total"], 1, "nothing was made or revoked: {listed}");
}

#[test]
fn a_token_cannot_make_a_wider_one() {
    let deployment = deployment();
    let networks = [
        "--allow-from",
        "127.0.0.0/8",
        "--rate-limit",
        "600/m",
        "--expires",
        "9",
    ];
    let narrow = admin(&deployment, &networks);
    for (body, named) in [
        (
            json!({"networks": ["0.0.0.0/0"], "expires_days": 1}),
            "networks",
        ),
        (
            json!({"rate_limit": "11/s", "expires_days": 1}),
            "rate_limit",
        ),
        (json!({"expires_days": 10}), "expires_days"),
        (json!({}), "expires_days"),
    ] {
        let mut body = body;
        body["name"] = "wide".into();
        let answer = narrow.post(TOKENS, &body).with_status(403);
        assert!(answer.text().contains(named), "{body}: {}", answer.text());
    }
    let body = json!({"name": "kept-narrow", "scopes": ["*"], "expires_days": 9});
    let made = narrow.post(TOKENS, &body).with_status(201).json();
    assert_eq!(made["networks"], json!(["127.0.0.0/8"]), "{made}");
    assert_eq!(made["rate_limit"], "600/m", "{made}");

    let project = deployment.project("app");
    let path = project.path().display().to_string();
    let bound = admin(&deployment, &["--project", &path]);
    let other = json!({"name": "other", "projects": ["/other"]});
    let _no = bound.post(TOKENS, &other).with_status(403);
    let made = bound
        .post(TOKENS, &json!({"name": "bound"}))
        .with_status(201)
        .json();
    assert_eq!(made["projects"], json!([path]), "{made}");
    // It sees its own project's tokens, and none of the others'.
    let listed = bound.get(TOKENS).with_status(200).json();
    assert_eq!(listed["total"], 2, "{listed}");
    let _no = bound.get(&format!("{TOKENS}/kept-narrow")).with_status(404);
    let _no = bound
        .request("DELETE", &format!("{TOKENS}/kept-narrow"))
        .send()
        .with_status(404);
    let all = json!({"role": "admin"});
    let _no = bound
        .post("/api/enterprise/tokens/revoke", &all)
        .with_status(409);
}

#[test]
fn a_token_cannot_get_hold_of_a_wider_one_by_rotating_it() {
    let deployment = deployment();
    let wide = deployment.token("wide", &["--scopes", "*"]);
    let longer = deployment.token("longer", &["--scopes", "*", "--expires", "90"]);
    let equal = deployment.token("equal", &["--role", "viewer", "--expires", "5"]);
    let here = ["--allow-from", "127.0.0.0/8", "--expires", "9"];
    let narrow = admin(&deployment, &here);
    let rotate = |id: &str| narrow.post(&format!("{TOKENS}/{id}/rotate"), &json!({}));
    for token in [&wide, &longer, &equal] {
        let refused = rotate(&token.id).with_status(403);
        assert!(!refused.text().contains("loki_"), "{}", refused.text());
        let client = deployment.client().with_token(&token.raw);
        let _served = client.get("/metrics").with_status(200);
    }
    let body = json!({"name": "own", "scopes": ["read"], "expires_days": 5});
    let own = narrow.post(TOKENS, &body).with_status(201);
    let _made = rotate(&text(&own, "id")).with_status(201);
    // Nothing of what was refused is left behind.
    let wide = deployment.client().with_token(&wide.raw);
    let listed = wide.get(TOKENS).with_status(200).json();
    assert_eq!(listed["total"], 6, "{listed}");
}

#[test]
fn a_token_lives_from_making_to_deletion() {
    let deployment = deployment();
    let admin = admin(&deployment, &[]);
    let body = json!({"name": "ci-bot", "role": "viewer", "expires_days": 30, "description": "CI"});
    let made = admin.post(TOKENS, &body).with_status(201);
    let (id, raw) = (text(&made, "id"), text(&made, "token"));
    let status = |raw: &str| deployment.client().with_token(raw).get("/metrics").status;
    assert_eq!(status(&raw), 200, "good when the answer is there");
    let taken = admin.post(TOKENS, &body).with_status(409);
    assert!(taken.text().contains(&id), "{}", taken.text());
    let shown = admin
        .get(&format!("{TOKENS}/ci-bot"))
        .with_status(200)
        .json();
    assert_eq!(
        (&shown["id"], &shown["description"]),
        (&json!(id), &json!("CI"))
    );
    assert!(
        !shown.to_string().contains("sha256") && shown.get("token").is_none(),
        "{shown}"
    );

    let rotate = format!("{TOKENS}/{id}/rotate");
    let rotated = admin
        .post(&rotate, &json!({"grace_hours": 0}))
        .with_status(201);
    let (newer, newer_raw) = (text(&rotated, "id"), text(&rotated, "token"));
    assert_eq!(
        (status(&raw), status(&newer_raw)),
        (401, 200),
        "when the answer is there"
    );
    let _no = admin.post(&rotate, &json!({})).with_status(409);
    let gone = admin
        .request("DELETE", &format!("{TOKENS}/{newer}"))
        .send()
        .with_status(200);
    let expected = json!({"status": "ok", "action": "revoke", "identifier": newer});
    assert_eq!(gone.json(), expected);
    assert_eq!(status(&newer_raw), 401, "refused when the answer is there");
    let listed = |query: &str| {
        admin
            .get(&format!("{TOKENS}{query}"))
            .with_status(200)
            .json()
    };
    assert_eq!(listed("")["total"], 1);
    assert_eq!(listed("?include_revoked=true")["total"], 3);
    let forever = format!("{TOKENS}/{newer}?permanent=true");
    let _gone = admin.request("DELETE", &forever).send().with_status(200);
    let _no = admin.get(&format!("{TOKENS}/{newer}")).with_status(404);

    assert_recorded(
        &deployment,
        &[
            ("token.generate", &id),
            ("token.rotate", &newer),
            ("token.revoke", &newer),
        ],
    );
    let records = deployment.audit().records();
    assert!(
        records
            .iter()
            .all(|record| !record.to_string().contains(&raw[5..]))
    );
}

/// Each action has a decision, and an outcome that names the token.
fn assert_recorded(deployment: &Deployment, actions: &[(&str, &str)]) {
    let records = deployment.audit().records();
    for (action, id) in actions {
        let resource = format!("token:{id}");
        let decided = records
            .iter()
            .any(|r| r["action"] == *action && r["phase"] == "decision");
        assert!(decided, "{action}");
        let told = records.iter().any(|r| {
            r["action"] == *action && r["phase"] == "outcome" && r["resource"] == resource.as_str()
        });
        assert!(told, "{action} {resource}");
    }
}

#[test]
fn mass_revocation_over_http_bites_at_once() {
    let deployment = deployment();
    let auditor = deployment.token("auditor", &["--role", "auditor"]);
    let admin = admin(&deployment, &[]);
    let answer = admin.post("/api/enterprise/tokens/revoke", &json!({"role": "auditor"}));
    assert_eq!(
        answer.with_status(200).json()["tokens"],
        json!([auditor.id])
    );
    let client = deployment.client().with_token(&auditor.raw);
    let _refused = client.get("/metrics").with_status(401);
}

#[test]
fn the_same_idempotency_key_makes_one_token() {
    let deployment = deployment();
    let admin = admin(&deployment, &[]);
    let ask = |key: &str, name: &str| {
        let request = admin.request("POST", TOKENS).field("Idempotency-Key", key);
        request.json(&json!({"name": name})).send()
    };
    let answers: Vec<Response> = thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| ask("once", "bot"))).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    let first = answers[0].json();
    for answer in &answers {
        assert_eq!((answer.status, answer.json()), (201, first.clone()));
    }
    assert_eq!(ask("once", "other").status, 409, "another body");
    assert_eq!(
        ask("twice", "bot").status,
        409,
        "another key, and the name is taken"
    );
    assert_eq!(ask("", "more").status, 400);
    assert_eq!(admin.get(TOKENS).json()["total"], 2);
}

#[test]
fn whoever_finds_a_token_can_take_it_back_and_learns_nothing() {
    let deployment = deployment();
    let leaked = deployment.token("leaked", &["--scopes", "*"]);
    let nobody = deployment.client();
    let report = |token: &str| nobody.post("/api/auth/report-leak", &json!({"token": token}));
    let unknown = report(&token::unknown()).with_status(202);
    let nonsense = report("nonsense").with_status(202);
    let known = report(&leaked.raw).with_status(202);
    let again = report(&leaked.raw).with_status(202);
    for answer in [&nonsense, &known, &again] {
        assert_eq!(answer.text(), unknown.text());
    }
    let client = nobody.with_token(&leaked.raw);
    let _refused = client.get("/metrics").with_status(401);
    let record = deployment
        .audit()
        .until("the revocation is recorded", |record| {
            record["action"] == "token.revoke" && record["phase"] == "outcome"
        });
    assert_eq!(record["details"]["cause"], "leak report", "{record}");
    assert_eq!(
        record["token_id"].as_str(),
        Some(leaked.id.as_str()),
        "{record}"
    );
    // The command finds the gateway and needs no credential of its own.
    let other = deployment.token("other", &[]);
    let file = deployment.user_home().join("found.txt");
    std::fs::write(&file, format!("{}\n", other.raw)).unwrap();
    let path = file.display().to_string();
    let _told = deployment
        .loki(&["enterprise", "token", "report-leak", &path])
        .ended_with(0);
    let client = nobody.with_token(&other.raw);
    let _refused = client.get("/metrics").with_status(401);
}

#[test]
fn guessing_by_leak_reports_is_throttled() {
    let deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .with_gateway_settings("[limits]\nfailed_credentials_max = 3\n")
        .start();
    let nobody = deployment.client();
    let found: Vec<u16> = (0..20)
        .map(|_| {
            nobody
                .post("/api/auth/report-leak", &json!({"token": token::unknown()}))
                .status
        })
        .collect();
    assert_eq!(found[..4], [202, 202, 202, 202], "{found:?}");
    assert!(found[4..].contains(&429), "{found:?}");
}

#[test]
fn a_caller_is_told_who_it_is() {
    let deployment = deployment();
    let token = deployment.token("ci-bot", &["--role", "operator", "--rate-limit", "600/m"]);
    let client = deployment.client().with_token(&token.raw);
    let told: Value = client.get("/api/auth/whoami").with_status(200).json();
    assert_eq!(told["user"], "token:ci-bot", "{told}");
    assert_eq!(told["token_id"], token.id.as_str(), "{told}");
    assert_eq!(
        told["scopes"],
        json!(["control", "write", "read"]),
        "{told}"
    );
    assert_eq!(told["rate_limit"], "600/m", "{told}");
}

#[test]
fn fifty_processes_and_a_busy_gateway_lose_no_write() {
    let deployment = deployment();
    let admin = admin(&deployment, &[]);
    thread::scope(|scope| {
        for number in 0..50 {
            let deployment = &deployment;
            scope.spawn(move || {
                let token = deployment.token(&format!("bot-{number}"), &[]);
                let client = deployment.client().with_token(&token.raw);
                let _served = client.get("/metrics").with_status(200);
                if number % 2 == 0 {
                    let revoke = ["enterprise", "token", "revoke", &token.id];
                    let _done = deployment.loki(&revoke).ended_with(0);
                }
            });
        }
        for number in 0..20 {
            let name = format!("api-{number}");
            let _made = admin.post(TOKENS, &json!({"name": name})).with_status(201);
        }
    });
    assert_eq!(admin.get(TOKENS).json()["total"], 1 + 25 + 20);
    let all = format!("{TOKENS}?include_revoked=true");
    assert_eq!(admin.get(&all).json()["total"], 1 + 50 + 20);
}

#[test]
fn the_published_pattern_finds_tokens_and_nothing_else() {
    let deployment = deployment();
    let document = std::fs::read_to_string(tests::programs::project().join("docs/tokens.md"));
    assert!(
        document.unwrap().contains("\n\\bloki_[0-9A-Za-z]{46}\\b\n"),
        "the pattern is published"
    );
    // grep knows the pattern's grammar; what it finds is judged by the gateway's own answer.
    let token = deployment.token("leaked", &[]);
    let mut almost = token.raw.clone();
    almost.pop();
    let text = format!(
        "TOKEN={}\nloki_short {almost}\nx{}\n{}y\n",
        token.raw, token.raw, token.raw
    );
    let mut grep = deployment.foreign_command("grep");
    grep.args(["-oP", r"\bloki_[0-9A-Za-z]{46}\b"]);
    let found = tests::command::run_with(&mut grep, text.into_bytes()).output();
    assert_eq!(found, format!("{}\n", token.raw));
    let client = deployment.client().with_token(found.trim());
    let _served = client.get("/metrics").with_status(200);
}

#[test]
fn a_token_that_is_taken_back_during_its_request_makes_nothing() {
    let deployment = deployment();
    let raw = deployment.token("thief", &["--scopes", "*"]).raw;
    let client = deployment.client().with_token(&raw);
    let request = client
        .request("POST", TOKENS)
        .json(&json!({"name": "kept"}));
    let bytes = request.to_bytes();
    let mut connection = client.connect();
    // Everything but the end of the body: the request is admitted, and waits.
    connection.write(&bytes[..bytes.len() - 1]);
    let _taken_back = deployment
        .loki(&["enterprise", "token", "revoke", "thief"])
        .ended_with(0);
    connection.write(&bytes[bytes.len() - 1..]);
    let answer = connection.read_until(b"\r\n");
    assert!(
        answer.starts_with(b"HTTP/1.1 401"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let listed = deployment
        .loki(&["enterprise", "token", "list", "--all"])
        .output();
    assert!(!listed.contains("kept"), "{listed}");
}
