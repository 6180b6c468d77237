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
