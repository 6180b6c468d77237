//! A gateway with a hundred thousand tokens knows each of them, and changes reach it as with one.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use sha2::{Digest, Sha256};
use tests::deployment::Deployment;
use tests::token;

const TOKENS: u32 = 100_000;

/// A token file in which every tenth token is revoked, and of the others every tenth over.
fn token_file() -> String {
    let mut text = String::from("{\"version\":1,\"generation\":1,\"tokens\":[");
    for number in 1..=TOKENS {
        let digest = Sha256::digest(token::numbered(number).as_bytes());
        let digest = digest.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a text grows");
            hex
        });
        let more = match number % 10 {
            0 => ",\"revoked_at\":\"2026-01-02T00:00:00Z\",\"revoked_by\":\"local:test\"",
            1 => ",\"expires_at\":\"2026-01-02T00:00:00Z\"",
            _ => "",
        };
        let comma = if number == 1 { "\n" } else { ",\n" };
        write!(
            text,
            "{comma}{{\"id\":\"tok-{number:08}\",\"name\":\"bot-{number}\",\"sha256\":\"{digest}\",\
             \"scopes\":[\"read\"],\"created_at\":\"2026-01-01T00:00:00Z\",\
             \"created_by\":\"local:test\"{more}}}"
        )
        .expect("a text grows");
    }
    text.push_str("\n]}\n");
    text
}

#[test]
fn each_of_a_hundred_thousand_tokens_is_known_and_changes_reach_the_gateway() {
    let mut deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .with_gateway_settings("[limits]\nfailed_credentials_max = 1000000\n")
        .start();
    let _code = deployment.stop_gateway();
    let path = deployment.home().tokens();
    fs::write(&path, token_file()).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    deployment.start_gateway();
    let status = |number: u32| {
        let client = deployment.client().with_token(&token::numbered(number));
        client.get("/metrics").status
    };
    // The first and the last ones, and some of the middle: good, revoked, over, and nobody's.
    for number in [2, 3, 49_999, 50_002, 77_777, 99_998, 99_999] {
        assert_eq!(status(number), 200, "{number}");
    }
    for number in [1, 10, 50_000, 50_001, 99_991, 100_000, 100_001, 0] {
        assert_eq!(status(number), 401, "{number}");
    }
    let reader = deployment.client().with_token(&token::numbered(2));
    let metrics = reader.get("/metrics").with_status(200);
    for line in [
        "loki_gateway_tokens{state=\"active\"} 80000",
        "loki_gateway_tokens{state=\"expired\"} 10000",
        "loki_gateway_tokens{state=\"revoked\"} 10000",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
    let _revoked = deployment
        .loki(&["enterprise", "token", "revoke", "bot-77777"])
        .ended_with(0);
    assert_eq!((status(77_777), status(77_778)), (401, 200));
    let new = deployment.token("one-more", &[]);
    let client = deployment.client().with_token(&new.raw);
    assert_eq!(client.get("/metrics").status, 200);
}
