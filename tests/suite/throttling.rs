//! Whoever tries credentials is slowed down; whoever has a good one is not.

use tests::deployment::Deployment;
use tests::token;

#[test]
fn bad_credentials_become_429_while_a_good_one_passes() {
    let deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .with_gateway_settings("[limits]\nfailed_credentials_max = 3\n")
        .start();
    let good = deployment.token("bot", &[]);
    let client = deployment.client();
    let status = |raw: &str| client.with_token(raw).get("/metrics").status;
    // The first failure beyond the free ones begins a penalty; each is a second or more, so within
    // these 30 tries some fall into one.
    let found: Vec<u16> = (0..30).map(|_| status(&token::unknown())).collect();
    assert_eq!(found[..4], [401, 401, 401, 401], "{found:?}");
    assert!(found[4..].contains(&429), "{found:?}");
    let mut refused = client.with_token(&token::unknown()).get("/metrics");
    while refused.status != 429 {
        refused = client.with_token(&token::unknown()).get("/metrics");
    }
    let seconds = refused.field("retry-after").unwrap_or_default();
    assert!(seconds.parse::<u32>().is_ok_and(|s| s >= 1), "{seconds:?}");
    assert_eq!(status(&good.raw), 200);
    // No credential at all is no failure.
    assert_eq!(client.get("/metrics").status, 401);
}

#[test]
fn a_caller_that_asks_too_often_is_429_and_can_still_stop() {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_gateway_settings("[rates]\nread = \"5/h\"\nchange = \"2/h\"\naudit = \"off\"\n")
        .start();
    let token = deployment.token("bot", &["--scopes", "*"]);
    let other = deployment.token("other", &["--rate-limit", "3/h"]);
    let client = deployment.client().with_token(&token.raw);
    for left in (0..5).rev() {
        let answer = client.get("/api/status").with_status(200);
        assert_eq!(
            answer.field("ratelimit-policy"),
            Some("\"read\";q=5;w=3600")
        );
        let limit = answer.field("ratelimit").unwrap_or_default();
        assert!(
            limit.starts_with(&format!("\"read\";r={left};t=")),
            "{limit}"
        );
    }
    let refused = client.get("/api/status").with_status(429);
    let seconds = refused
        .field("retry-after")
        .and_then(|text| text.parse::<u32>().ok());
    assert!(
        seconds.is_some_and(|seconds| (1..=720).contains(&seconds)),
        "{seconds:?}"
    );
    assert!(
        refused
            .field("ratelimit")
            .is_some_and(|text| text.starts_with("\"read\";r=0;"))
    );
    // Other classes, other callers, and stopping go on.
    let unbounded = client.get("/api/enterprise/audit").with_status(200);
    assert_eq!(unbounded.field("ratelimit"), None);
    for _ in 0..20 {
        let stopped = client.post("/api/control/stop", &serde_json::json!({}));
        assert_ne!(stopped.status, 429, "{}", stopped.text());
    }
    let theirs = deployment.client().with_token(&other.raw);
    let statuses: Vec<u16> = (0..4).map(|_| theirs.get("/api/status").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let policy = theirs.get("/api/status").with_status(429);
    let expected = "\"read\";q=5;w=3600, \"token\";q=3;w=3600";
    assert_eq!(policy.field("ratelimit-policy"), Some(expected));
    let exceeded = deployment
        .audit()
        .until("the refusal is recorded", |record| {
            record["details"]["reason"] == "rate_exceeded"
        });
    assert_eq!(exceeded["user"], "token:bot", "{exceeded}");
}

#[test]
fn asking_in_vain_with_a_good_credential_costs_as_much_as_asking() {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_gateway_settings("[rates]\nread = \"20/h\"\n")
        .start();
    let token = deployment.token("bot", &["--scopes", "read"]);
    let client = deployment.client().with_token(&token.raw);
    for (number, path) in ["/api/nothing", "/api/enterprise/audit"]
        .repeat(10)
        .iter()
        .enumerate()
    {
        let status = if number % 2 == 0 { 404 } else { 403 };
        let _refused = client.get(path).with_status(status);
    }
    for path in ["/api/nothing", "/api/enterprise/audit", "/api/status"] {
        let refused = client.get(path).with_status(429);
        assert!(refused.field("retry-after").is_some(), "{path}");
    }
    // More than five in a second of one address are a number in one record.
    let suppressed = deployment.audit().until("the number", |record| {
        record["action"] == "audit.suppressed"
    });
    assert!(
        suppressed["details"]["suppressed"].as_u64() >= Some(1),
        "{suppressed}"
    );
    let recorded = deployment.audit().records();
    let denied = recorded
        .iter()
        .filter(|record| record["outcome"] == "denied");
    let denied = denied.filter(|record| record["user"] == "token:bot");
    assert!((1..23).contains(&denied.count()), "{recorded:#?}");
}
