//! Jobs of CI systems and accounts of several issuers call with their own tokens, by claim rules.

use std::fs;

use serde_json::{Value, json};
use tests::issuer::Issuer;
use tests::job::{AUDIENCE, builder, get, github, job, table, wait_for_keys};
use tests::poll;

/// Settings of one issuer with one rule, and what the start must say of them: the issuer's lines,
/// the rule's lines besides its name and role.
const UNCLEAR: [(&str, &str, &str); 21] = [
    (GITHUB, "", "whom it means"),
    (GITHUB, "any_account = true", "repository_id"),
    (GITHUB, "when.repository = 'my-org/my-app'", "repository_id"),
    (
        GITHUB,
        "when.sub = 'repo:my-org/my-app:ref:main'",
        "repository_id",
    ),
    (GITHUB, "when.repository_id.prefix = '12'", "repository_id"),
    (GITHUB, "when.repository_id.not = '12'", "repository_id"),
    (GITHUB, "when.repository_id.pattern = '.*'", "repository_id"),
    (
        "preset = 'gitlab-ci'",
        "when.namespace_path = 'my-org'",
        "project_id",
    ),
    (
        "url = 'https://gitlab.com'",
        "when.ref = 'main'",
        "project_id",
    ),
    ("preset = 'google'", "when.email = 'a@example.org'", "hd"),
    ("preset = 'azure-ad'", "when.roles = 'x'", "TENANT-ID"),
    (
        "preset = 'azure-ad'\ntenant = 'example.org'",
        "when.roles = 'x'",
        "directory",
    ),
    (
        "url = 'https://login.microsoftonline.com/common/v2.0'",
        "any_account = true",
        "no tenant",
    ),
    ("preset = 'okta'", "any_account = true", "your-org.okta.com"),
    ("preset = 'circle'", "any_account = true", "not one of"),
    (OWN, "when.ref.pattern = '('", "pattern"),
    (OWN, "when.ref.pattern = 'a)|(b'", "pattern"),
    (
        OWN,
        "any_account = true\nscopes = ['read']",
        "one of role, scopes",
    ),
    (OWN, "any_account = true\ndeny = true", "grants nothing"),
    (OWN, "any_account = true\nprojects = ['app']", "absolute"),
    (OWN, "any_account = true\nrol = 'x'", "unknown key"),
];

const GITHUB: &str = "preset = 'github-actions'";
const OWN: &str = "url = 'https://a.example'";

fn assert_stops(settings: &str, named: &str) {
    let installation = tests::installation::Installation::new();
    installation.write_settings("gateway.toml", settings);
    let finished = installation.loki(&["config", "check"]);
    assert_eq!(finished.code, 64, "{settings}{finished}");
    assert!(
        finished.text().contains(named),
        "{named}: {settings}{finished}"
    );
}

#[test]
fn rules_that_leave_open_whom_they_mean_stop_the_start() {
    let head = "[[oidc.issuers]]\nname = 'i'";
    let rule = "[[oidc.issuers.rules]]\nname = 'r'\nrole = 'viewer'";
    for (issuer, tests, named) in UNCLEAR {
        let settings = format!("{head}\naudiences = ['a']\n{issuer}\n{rule}\n{tests}\n");
        assert_stops(&settings, named);
    }
    let none = format!("{head}\naudiences = ['a']\n{OWN}\n");
    assert_stops(&none, "nothing is granted without one");
    assert_stops(
        &format!("{head}\n{OWN}\n{rule}\nany_account = true\n"),
        "audience",
    );
    let plain = "url = 'http://a.example'\naudiences = ['a']";
    assert_stops(
        &format!("{head}\n{plain}\n{rule}\nany_account = true\n"),
        "https",
    );
}

#[test]
fn the_documented_settings_are_in_order() {
    let text = fs::read_to_string(tests::programs::project().join("docs/ci.md")).unwrap();
    let block = text
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let installation = tests::installation::Installation::new();
    installation.write_settings("gateway.toml", block.unwrap());
    let _fine = installation.loki(&["config", "check"]).ended_with(0);
}

#[test]
fn a_job_gets_what_its_rules_grant_and_nothing_without_one() {
    let issuer = Issuer::start();
    let deployment = github(&issuer);
    for (claims, reason) in [
        (json!({"repository_id": "124"}), "jwt_no_rule"),
        (json!({"repository_id": 123}), "jwt_no_rule"),
        (json!({"repository_id": null}), "jwt_no_rule"),
        (json!({"ref": "refs/tags/v1"}), "jwt_no_rule"),
        (json!({"environment": "dev"}), "jwt_no_rule"),
        (json!({"environment": null}), "jwt_no_rule"),
        (json!({"event_name": "pull_request"}), "jwt_no_rule"),
        (json!({"event_name": "pull_request_target"}), "jwt_no_rule"),
        (json!({"event_name": null}), "jwt_no_rule"),
        (json!({"actor": "mallory"}), "jwt_denied"),
        (json!({"aud": "https://other.example.org"}), "jwt_audience"),
    ] {
        let answer = get(&deployment, "/metrics", &job(&issuer, &claims));
        assert_eq!(answer.status, 401, "{claims}: {}", answer.text());
        assert!(!answer.text().contains(reason), "{}", answer.text());
        let id = answer.json()["request_id"].clone();
        let record = poll::until("the failure is recorded or counted", || {
            deployment
                .audit()
                .records()
                .into_iter()
                .rev()
                .find(|record| {
                    record["request_id"] == id || record["details"]["suppressed"].is_u64()
                })
        });
        if record["request_id"] == id {
            assert_eq!(record["details"]["detail"], reason, "{claims}: {record}");
        }
    }
    let audit = "/api/enterprise/audit";
    assert_eq!(
        get(&deployment, audit, &job(&issuer, &json!({}))).status,
        403
    );
    let main = json!({"job_workflow_ref": "my-org/a/.github/workflows/x.yml@refs/heads/main"});
    assert_eq!(get(&deployment, audit, &job(&issuer, &main)).status, 200);
    let evil = json!({"job_workflow_ref": "my-org/a/x.yml@refs/heads/main-evil"});
    assert_eq!(get(&deployment, audit, &job(&issuer, &evil)).status, 403);
    let told = get(&deployment, "/api/auth/whoami", &job(&issuer, &main)).json();
    let subject = format!("{}#repo:my-org/my-app:ref:refs/heads/main", issuer.url());
    assert_eq!(told["principal"], subject.as_str(), "{told}");
    assert_eq!(
        told["scopes"],
        json!(["control", "write", "read", "audit"]),
        "{told}"
    );
}

#[test]
fn no_issuers_key_vouches_for_another_although_their_ids_are_equal() {
    let (first, second) = (Issuer::start(), Issuer::start());
    let rule = |role: &str| {
        format!("[[oidc.issuers.rules]]\nname = \"all\"\nrole = {role:?}\nany_account = true\n")
    };
    let settings =
        table("first", "", &first, &rule("admin")) + &table("second", "", &second, &rule("viewer"));
    let deployment = builder(&settings).start();
    let claims = |issuer: &Issuer| {
        let mut claims = issuer.claims("alice");
        claims["aud"] = AUDIENCE.into();
        claims
    };
    let good = |issuer: &Issuer| issuer.token_of(&claims(issuer), &json!({}));
    wait_for_keys(&deployment, &good(&first));
    wait_for_keys(&deployment, &good(&second));
    let audit = "/api/enterprise/audit";
    assert_eq!(get(&deployment, audit, &good(&first)).status, 200);
    assert_eq!(get(&deployment, audit, &good(&second)).status, 403);
    // Both keys have the id "first".
    let forged = second.token_of(&claims(&first), &json!({}));
    assert_eq!(get(&deployment, audit, &forged).status, 401);
    let stranger = Issuer::start();
    assert_eq!(get(&deployment, audit, &good(&stranger)).status, 401);
    assert_eq!(stranger.keys_asked(), 0, "nobody unknown is asked");
    // One that is away harms the other's accounts in nothing.
    second.set_away(true);
    assert_eq!(get(&deployment, audit, &good(&first)).status, 200);
}

#[test]
fn a_replay_says_which_rule_matched_and_why() {
    let issuer = Issuer::start();
    let deployment = github(&issuer);
    let replay = |claims: &Value| {
        let file = deployment.user_home().join("job.jwt");
        fs::write(&file, job(&issuer, claims)).unwrap();
        let path = file.display().to_string();
        deployment.loki(&["federate", "test", "--token-file", &path])
    };
    let fits = replay(&json!({})).ended_with(0);
    for expected in [
        "ok signature",
        "rule deploy",
        "fits",
        "repository_id = \"123\"",
        "implied",
    ] {
        assert!(fits.stdout.contains(expected), "{expected}: {fits}");
    }
    let refused = replay(&json!({"ref": "refs/tags/v1"})).ended_with(3);
    for expected in [
        "does not fit",
        "NO ref begins with",
        "refs/tags/v1",
        "Refused.",
    ] {
        assert!(refused.stdout.contains(expected), "{expected}: {refused}");
    }
    let expired = replay(&json!({"exp": 1})).ended_with(3);
    assert!(expired.stdout.contains("jwt_expired"), "{expired}");
    let denied = replay(&json!({"actor": "eve"})).ended_with(3);
    assert!(
        denied.stdout.contains("denied by \"no-mallory\""),
        "{denied}"
    );
    let file = deployment.user_home().join("job.jwt");
    fs::write(&file, "nonsense").unwrap();
    let path = file.display().to_string();
    let _no = deployment
        .loki(&["federate", "test", "--token-file", &path])
        .ended_with(3);
}

#[test]
fn the_documented_issuers_start_as_documented_and_their_traps_do_not() {
    let check = |variables: &[(&str, &str)]| {
        let mut installation = tests::installation::Installation::new();
        installation.set("LOKI_OIDC_CLIENT_ID", "your-client-id");
        for (name, value) in variables {
            installation.set(name, *value);
        }
        installation.loki(&["config", "check"])
    };
    let issuer = |url: &'static str| ("LOKI_OIDC_ISSUER", url);
    let google = issuer("https://accounts.google.com");
    let tenant = "https://login.microsoftonline.com/8d1f0a2e-1111-2222-3333-444455556666/v2.0";
    for fine in [
        vec![issuer("https://your-org.okta.com")],
        vec![issuer(tenant), ("LOKI_OIDC_AUDIENCE", "api://loki")],
        vec![google, ("LOKI_OIDC_ALLOWED_DOMAINS", "example.org")],
        vec![google, ("LOKI_OIDC_DEFAULT_ROLE", "viewer")],
        vec![google, ("LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT", "true")],
    ] {
        let _fine = check(&fine).ended_with(0);
    }
    for (trap, named) in [
        (vec![google], "LOKI_OIDC_ALLOWED_DOMAINS"),
        (
            vec![google, ("LOKI_OIDC_DEFAULT_ROLE", "admin")],
            "LOKI_OIDC_DANGEROUSLY",
        ),
        (
            vec![issuer("https://login.microsoftonline.com/{tenant}/v2.0")],
            "braces",
        ),
        (
            vec![issuer("https://login.microsoftonline.com/common/v2.0")],
            "tenant",
        ),
        (
            vec![issuer("https://token.actions.githubusercontent.com")],
            "docs/ci.md",
        ),
        (vec![issuer("https://gitlab.com")], "docs/ci.md"),
        (vec![issuer("http://your-org.okta.com")], "https"),
    ] {
        let refused = check(&trap).ended_with(64);
        let told = refused.text();
        assert!(
            told.contains("LOKI_OIDC_ISSUER") && told.contains(named),
            "{named}: {told}"
        );
    }
}

#[test]
fn narrowed_rules_bite_when_the_settings_are_read_anew() {
    let issuer = Issuer::start();
    let deployment = github(&issuer);
    let token = job(&issuer, &json!({}));
    assert_eq!(get(&deployment, "/metrics", &token).status, 200);
    let reload = |rules: &str| {
        let settings = table("github", "github-actions", &issuer, rules);
        deployment.write_settings("gateway.toml", &settings);
        tests::process::signal(deployment.gateway_id(), rustix::process::Signal::HUP);
    };
    let status = |expected: u16| {
        poll::until("the rules are in use", || {
            (get(&deployment, "/metrics", &token).status == expected).then_some(())
        });
    };
    // What was found good before is judged anew, and without asking the issuer again.
    let asked = issuer.keys_asked();
    reload(&tests::job::GITHUB.replace("refs/heads/", "refs/heads/release/"));
    status(401);
    reload(tests::job::GITHUB);
    status(200);
    assert!(issuer.keys_asked() <= asked + 2, "{}", issuer.keys_asked());
    // Rules that would not start do not replace those in use.
    reload(&tests::job::GITHUB.replace("when.repository_id = \"123\"", ""));
    let _told = deployment
        .audit()
        .until("the refusal to reload is recorded", |record| {
            record["action"] == "config.reload" && record["outcome"] == "failed"
        });
    assert_eq!(get(&deployment, "/metrics", &token).status, 200);
}

#[test]
fn a_token_made_by_a_wider_account_is_not_shown_to_the_narrowed_one() {
    const RULES: &str = r#"
[[oidc.issuers.rules]]
name = "everything"
role = "admin"
when.team = "core"

[[oidc.issuers.rules]]
name = "one-project"
role = "admin"
projects = ["/srv/app"]
when.team = "app"
"#;
    let issuer = Issuer::start();
    let deployment = builder(&table("own", "", &issuer, RULES))
        .with_tokens()
        .start();
    let account = |team: &str| job(&issuer, &json!({"team": team}));
    wait_for_keys(&deployment, &account("core"));
    let make = |team: &str| {
        let client = deployment.client().with_token(&account(team));
        let request = client.request("POST", "/api/enterprise/tokens");
        let request = request.field("Idempotency-Key", "once");
        request.json(&json!({"name": "bot"})).send()
    };
    let made = make("core").with_status(201).json();
    let secret = made["token"].as_str().unwrap();
    // The same account, which may reach one project now, and asks again.
    let refused = make("app").with_status(409);
    assert!(!refused.text().contains(secret), "{}", refused.text());
    assert_eq!(make("core").with_status(201).json(), made);
}
