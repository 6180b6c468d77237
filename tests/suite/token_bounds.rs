//! A token is accepted from where, for what and for as long as it says, and no further.

use chrono::Utc;
use serde_json::Value;
use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::installation::Installation;
use tests::poll;
use tests::token::Token;

fn status(deployment: &Deployment, raw: &str) -> u16 {
    deployment.client().with_token(raw).get("/metrics").status
}

fn kept(installation: &Installation, token: &str) -> Value {
    let line = ["enterprise", "token", "inspect", token, "--json"];
    installation.loki(&line).json()
}

#[test]
fn bounds_that_make_no_sense_are_refused() {
    let installation = Installation::new();
    for flags in [
        ["--allow-from", "10.0.0.0/40"],
        ["--allow-from", "office"],
        ["--allow-from", "::ffff:10.0.0.0/104"],
        ["--rate-limit", "0/s"],
        ["--rate-limit", "10"],
        ["--rate-limit", "10/day"],
        ["--project", "no/such/folder"],
    ] {
        let line = [&["enterprise", "token", "generate", "bot"], &flags[..]].concat();
        let finished = installation.loki(&line);
        assert!(matches!(finished.code, 1 | 2), "{finished}");
        assert!(!installation.home().tokens().exists(), "{finished}");
    }
}

#[test]
fn a_token_is_accepted_from_its_networks_alone() {
    let deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .with_gateway_settings("[listen]\ntrusted_proxies = [\"127.0.0.1\"]\n")
        .start();
    let here = deployment.token("here", &["--allow-from", "127.0.0.0/8"]);
    let office = [
        "--allow-from",
        "10.0.0.0/8",
        "--allow-from",
        "2001:db8::/32",
    ];
    let office = deployment.token("office", &office);
    let from = |raw: &str, address: &str| {
        let client = deployment.client().with_token(raw);
        client
            .request("GET", "/metrics")
            .field("X-Forwarded-For", address)
            .send()
            .status
    };
    assert_eq!(status(&deployment, &here.raw), 200);
    assert_eq!(status(&deployment, &office.raw), 401);
    for (address, expected) in [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("2001:db8::7", 200),
        ("11.1.2.3", 401),
        ("2001:db9::7", 401),
        ("127.0.0.1", 401),
    ] {
        assert_eq!(from(&office.raw, address), expected, "{address}");
    }
    assert_eq!(from(&here.raw, "10.1.2.3"), 401);
    let record = deployment
        .audit()
        .until("the refusal is recorded", |record| {
            record["details"]["detail"] == "elsewhere"
        });
    assert_eq!(
        record["token_id"].as_str(),
        Some(office.id.as_str()),
        "{record}"
    );
}

#[test]
fn a_forged_address_opens_no_network() {
    let deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .start();
    let office = deployment.token("office", &["--allow-from", "10.0.0.0/8"]);
    for field in [
        "X-Forwarded-For",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
    ] {
        let client = deployment.client().with_token(&office.raw);
        let value = if field == "Forwarded" {
            "for=10.0.0.1"
        } else {
            "10.0.0.1"
        };
        let answer = client.request("GET", "/metrics").field(field, value).send();
        assert_eq!(answer.status, 401, "{field}");
    }
}

#[test]
fn a_token_of_one_project_sees_nothing_of_another() {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_provider("claude", Agent::repairing())
        .start();
    let (mine, other) = (deployment.project("mine"), deployment.project("other"));
    let admin = deployment.token("admin", &["--scopes", "*"]);
    let admin = deployment.client().with_token(&admin.raw);
    for project in [&mine, &other] {
        let body = serde_json::json!({ "path": project.path() });
        let answer = admin.post("/api/registry/projects", &body);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    }
    let path = mine.path().display().to_string();
    let bound = deployment.token("bound", &["--role", "operator", "--project", &path]);
    let bound = deployment.client().with_token(&bound.raw);
    let listed = bound.get("/api/registry/projects").with_status(200).json();
    let paths: Vec<&Value> = listed["projects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["path"])
        .collect();
    assert_eq!(paths, [path.as_str()], "{listed}");
    let refused = bound.post(
        "/api/sessions",
        &tests::deployment::session_request(other.path()),
    );
    assert_eq!(refused.status, 403, "{}", refused.text());
    let whoami = bound.get("/api/auth/whoami").with_status(200).json();
    assert_eq!(whoami["projects"], serde_json::json!([path]), "{whoami}");
}

#[test]
fn rotation_keeps_the_name_and_ends_the_old_token_with_its_grace() {
    let deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .start();
    let flags = [
        "--role",
        "viewer",
        "--expires",
        "30",
        "--rate-limit",
        "600/m",
    ];
    let old = deployment.token("ci-bot", &flags);
    let new = Token::read(
        &deployment
            .loki(&["enterprise", "token", "rotate", "ci-bot"])
            .output(),
    );
    assert_ne!((&old.id, &old.raw), (&new.id, &new.raw));
    assert_eq!(
        (&old.name, &old.scopes, &old.expires),
        (&new.name, &new.scopes, &new.expires)
    );
    assert_eq!(
        (status(&deployment, &old.raw), status(&deployment, &new.raw)),
        (200, 200)
    );
    let record = kept(&deployment, &old.id);
    assert_eq!(record["superseded_by"].as_str(), Some(new.id.as_str()));
    let end: chrono::DateTime<Utc> = record["expires_at"].as_str().unwrap().parse().unwrap();
    let grace = (end - Utc::now()).num_minutes();
    assert!((23 * 60..=24 * 60).contains(&grace), "{record}");
    assert_eq!(
        kept(&deployment, "ci-bot")["id"].as_str(),
        Some(new.id.as_str())
    );
    assert_eq!(kept(&deployment, &new.id)["rate_limit"], "600/m");
    // Once only: the old one has its successor.
    let again = deployment
        .loki(&["enterprise", "token", "rotate", &old.id])
        .ended_with(1);
    assert!(again.stderr.contains("replaced by"), "{again}");
    // Without grace the old one is refused when the command returns.
    let rotated = deployment.loki(&["enterprise", "token", "rotate", "ci-bot", "--grace", "0"]);
    let newest = Token::read(&rotated.output());
    assert_eq!(
        (
            status(&deployment, &new.raw),
            status(&deployment, &newest.raw)
        ),
        (401, 200)
    );
}

#[test]
fn revoking_a_rotated_token_takes_its_predecessor_back_too() {
    let deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .start();
    let old = deployment.token("ci-bot", &[]);
    let new = Token::read(
        &deployment
            .loki(&["enterprise", "token", "rotate", "ci-bot"])
            .output(),
    );
    assert_eq!(status(&deployment, &old.raw), 200);
    let _done = deployment
        .loki(&["enterprise", "token", "revoke", "ci-bot"])
        .ended_with(0);
    assert_eq!(
        (status(&deployment, &old.raw), status(&deployment, &new.raw)),
        (401, 401)
    );
}

#[test]
fn the_last_use_is_written_apart_from_the_tokens() {
    let mut deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .start();
    let used = deployment.token("used", &[]);
    let _idle = deployment.token("idle", &[]);
    let before = std::fs::read(deployment.home().tokens()).unwrap();
    assert_eq!(status(&deployment, &used.raw), 200);
    let written = poll::until("the use is written", || {
        kept(&deployment, "used")["last_used_at"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(
        written.starts_with(&Utc::now().format("%Y-").to_string()),
        "{written}"
    );
    assert_eq!(kept(&deployment, "idle")["last_used_at"], Value::Null);
    assert_eq!(std::fs::read(deployment.home().tokens()).unwrap(), before);
    // A gateway that ends writes what it still knows.
    let _code = deployment.stop_gateway();
    let list = deployment.loki(&["enterprise", "token", "list"]).output();
    assert!(list.contains("LAST USED"), "{list}");
}

#[test]
fn many_credentials_are_withdrawn_at_once() {
    let mut deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .start();
    let admin = deployment.token("admin", &["--role", "admin"]);
    let also = deployment.token("also-admin", &["--scopes", "*"]);
    let viewer = deployment.token("viewer", &["--role", "viewer"]);
    for wrong in [
        &["--subject", "alice"][..],
        &["ci-bot", "--role", "admin"],
        &["--role", "root"],
        &["--issued-before", "2999-01-01T00:00:00Z"],
        &["--issued-before", "yesterday"],
        &[],
    ] {
        let line = [&["enterprise", "token", "revoke"], wrong].concat();
        assert_eq!(deployment.loki(&line).code, 2, "{wrong:?}");
    }
    let line = ["enterprise", "token", "revoke", "--role", "admin"];
    let told = deployment.loki(&line).output();
    assert!(
        told.contains("Tokens revoked: 2") && told.contains(&admin.id),
        "{told}"
    );
    let statuses = |deployment: &Deployment| {
        [&admin, &also, &viewer].map(|token| status(deployment, &token.raw))
    };
    assert_eq!(statuses(&deployment), [401, 401, 200]);
    // Tokens made later are not meant, and the withdrawal outlives restarts.
    let later = deployment.token("admin", &["--role", "admin"]);
    assert_eq!(status(&deployment, &later.raw), 200);
    let _code = deployment.stop_gateway();
    deployment.start_gateway();
    assert_eq!(statuses(&deployment), [401, 401, 200]);
    assert_eq!(status(&deployment, &later.raw), 200);
    let everything = ["enterprise", "token", "revoke", "--issued-before"];
    let now = Utc::now().to_rfc3339();
    let _done = deployment
        .loki(&[&everything[..], &[now.as_str()]].concat())
        .ended_with(0);
    assert_eq!(
        (
            status(&deployment, &viewer.raw),
            status(&deployment, &later.raw)
        ),
        (401, 401)
    );
}

#[test]
fn tokens_of_loki_mode_get_replacements_and_are_never_accepted() {
    let installation = Installation::new();
    let text = r#"{"version":"1.0","tokens":{
        "aaaaaaaaaaaa":{"id":"aaaaaaaaaaaa","name":"ci","hash":"00","salt":"00","scopes":["read","write"],
            "created_at":"2026-01-01T00:00:00.000001+00:00","expires_at":"2999-01-01T00:00:00+00:00","revoked":false},
        "bbbbbbbbbbbb":{"id":"bbbbbbbbbbbb","name":"gone","hash":"00","scopes":["*"],"revoked":true},
        "cccccccccccc":{"id":"cccccccccccc","name":"old","hash":"00","scopes":["*"],
            "expires_at":"2020-01-01T00:00:00+00:00","revoked":false},
        "dddddddddddd":{"id":"dddddddddddd","name":"odd","hash":"00","scopes":["superadmin"],"revoked":false},
        "eeeeeeeeeeee":{"id":"eeeeeeeeeeee","name":"boss","hash":"00","scopes":["*"],"last_used":null,"revoked":false}}}"#;
    let own = installation.home().tokens();
    std::fs::create_dir_all(installation.home().dashboard()).unwrap();
    std::fs::write(&own, text).unwrap();
    tests::certificate::set_mode(&own, 0o600);
    let listed = installation.loki(&["migrate", "tokens"]).output();
    for expected in [
        "ci",
        "none: it is revoked",
        "none: it has expired",
        "unknown scope",
        "--issue",
    ] {
        assert!(listed.contains(expected), "{expected}: {listed}");
    }
    assert_eq!(
        std::fs::read_to_string(&own).unwrap(),
        text,
        "a look changes nothing"
    );
    let issued = installation
        .loki(&["migrate", "tokens", "--issue"])
        .output();
    assert_eq!(issued.matches("Token: loki_").count(), 2, "{issued}");
    let names: Vec<Value> = installation
        .loki(&["enterprise", "token", "list", "--json"])
        .json()["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| serde_json::json!([token["name"], token["scopes"]]))
        .collect();
    let expected = serde_json::json!([["ci", ["read", "write"]], ["boss", ["*"]]]);
    assert_eq!(Value::from(names), expected);
    let aside = own.with_file_name("tokens.loki-mode.json");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), text, "kept aside");
    let _no = installation.loki(&["migrate", "tokens"]).ended_with(1);
}

#[test]
fn the_doctor_finds_what_should_be_done_about_tokens() {
    let installation = Installation::new();
    let _soon = Token::generate(&installation, "soon", &["--expires", "3"]);
    let _far = Token::generate(&installation, "far", &["--scopes", "*"]);
    let _fine = Token::generate(&installation, "fine", &["--expires", "60"]);
    let told = installation.loki(&["doctor"]).text();
    for expected in [
        "tokens that end soon",
        "soon (tok-",
        "tokens with full access for ever",
        "far (tok-",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains("fine (tok-"), "{told}");
}
