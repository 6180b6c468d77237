use std::time::Duration;

use chrono::{DateTime, Utc};
use config::contract::caller::AuthMethod;
use config::contract::id::{RequestId, TokenId};
use config::contract::scope::Scope;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Ending, LINE_BYTES_MAX, Line, Lines, Stamp};
use crate::audit::chain::Head;
use crate::audit::record::{Draft, Outcome, Phase, Record};
use crate::audit::seals::Seals;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_770_033_600_250).expect("a valid time")
}

fn written(draft: &Draft<'_>) -> String {
    let mut scratch = Vec::new();
    let mut lines = Lines::default();
    lines.push(Line::render(&mut scratch, draft, noon()));
    let mut out = Vec::new();
    let mut head = Head {
        seq: 6,
        ..Head::NOTHING
    };
    let seals = Seals::new(&[1; 32], &[2; 32]).expect("keys");
    let signed = lines.number(&mut out, &mut head, &mut Stamp::new(), &seals, Ending::Open);
    assert_eq!((signed, head.seq), (None, 7));
    String::from_utf8(out).expect("a record is UTF-8")
}

fn members(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[test]
fn secrets_never_reach_a_record() {
    let token = format!("loki_{}", "s3CreT".repeat(8));
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
    let details = members(&json!({
        "note": format!("used {token}"),
        "deep": [{"list": [jwt]}],
        jwt: 1,
    }));
    let user = format!("token:{token}");
    let line = written(&Draft {
        user: &user,
        resource: jwt,
        user_agent: Some(&token),
        details: Some(&details),
        ..Draft::new(&token, Phase::Event, Outcome::Done)
    });
    assert!(!line.contains("s3CreT"), "{line}");
    assert!(!line.contains("eyJ"), "{line}");
    assert_eq!(line.matches("[redacted]").count(), 7, "{line}");
}

#[test]
fn what_is_too_long_is_cut_and_said_to_be() {
    let long = "x".repeat(10_000);
    let line = written(&Draft {
        user_agent: Some(&long),
        resource: &long,
        ..Draft::new("session.start", Phase::End, Outcome::Done)
    });
    let record: Record = serde_json::from_str(&line).expect("a record");
    assert_eq!(
        (
            record.resource.len(),
            record.user_agent.map(|agent| agent.len()),
            record.truncated
        ),
        (512, Some(256), true)
    );
}

#[test]
fn details_over_their_bound_are_left_out_whole() {
    let mut details: Map<String, Value> = (0..40)
        .map(|number| (format!("n{number:02}"), Value::from("y".repeat(400))))
        .collect();
    details.insert("a".to_owned(), json!([[[["too deep"]]]]));
    let line = written(&Draft {
        details: Some(&details),
        ..Draft::new("config.change", Phase::Event, Outcome::Done)
    });
    assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
    let record: Record = serde_json::from_str(&line).expect("a record");
    assert!(record.truncated);
    assert_eq!(record.details.get("a"), Some(&json!([[[null]]])));
    assert_eq!(record.details.len(), 13);
    assert_eq!(record.details.get("n11"), details.get("n11"));
}

#[test]
fn the_documented_example_is_written_to_the_letter() {
    let details = members(&json!({"prd": "my-app.md", "provider": "claude"}));
    let line = written(&Draft {
        user: "token:ci-bot",
        resource: "session:sess-123",
        details: Some(&details),
        ip: "192.168.1.100".parse().ok(),
        ..Draft::new("session.start", Phase::Outcome, Outcome::Done)
    });
    assert_eq!(
        line,
        concat!(
            r#"{"timestamp":"2026-02-02T12:00:00Z","action":"session.start","#,
            r#""user":"token:ci-bot","resource":"session:sess-123","#,
            r#""details":{"prd":"my-app.md","provider":"claude"},"ip":"192.168.1.100","#,
            r#""seq":7,"unix_ms":1770033600250,"phase":"outcome","outcome":"done","#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
            "\n"
        )
    );
}

#[test]
fn what_is_not_known_is_empty_or_left_out() {
    assert_eq!(
        written(&Draft::new("auth.failure", Phase::End, Outcome::Denied)),
        concat!(
            r#"{"timestamp":"2026-02-02T12:00:00Z","action":"auth.failure","#,
            r#""user":"anonymous","resource":"","details":{},"ip":"","#,
            r#""seq":7,"unix_ms":1770033600250,"phase":"end","outcome":"denied","#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
            "\n"
        )
    );
}

#[test]
fn every_member_has_its_place() {
    let request: RequestId = RequestId::from_random([3; 20]);
    let token = TokenId::from_random([1; 8]);
    let line = written(&Draft {
        user: "token:ci-bot",
        ip: "::ffff:10.0.0.1".parse().ok(),
        request_id: Some(&request),
        status: Some(201),
        scope: Some(Scope::Control),
        auth_method: Some(AuthMethod::Token),
        token_id: Some(&token),
        user_agent: Some("curl/8.5.0"),
        duration: Some(Duration::from_micros(12_045)),
        bytes: Some(512),
        ..Draft::new("session.start", Phase::End, Outcome::Done)
    });
    assert_eq!(
        line,
        concat!(
            r#"{"timestamp":"2026-02-02T12:00:00Z","action":"session.start","#,
            r#""user":"token:ci-bot","resource":"","details":{},"ip":"10.0.0.1","#,
            r#""seq":7,"unix_ms":1770033600250,"request_id":"req-33333333333333333333","#,
            r#""phase":"end","outcome":"done","status":201,"scope":"control","#,
            r#""auth_method":"token","token_id":"tok-11111111","user_agent":"curl/8.5.0","#,
            r#""duration_ms":12.045,"bytes":512,"#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
            "\n"
        )
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,600}".prop_map(Value::from),
        "[\u{0}-\u{1f}]{0,600}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(".{0,200}", inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_the_draft_holds_the_line_is_one_bounded_record(
        texts in proptest::array::uniform4("[\u{0}-\u{ffff}]{0,700}"),
        details in proptest::collection::btree_map(".{0,200}", any_value(), 0..20),
    ) {
        let details: Map<String, Value> = details.into_iter().collect();
        let request = RequestId::from_random([3; 20]);
        let line = written(&Draft {
            user: &texts[1],
            resource: &texts[2],
            details: Some(&details),
            ip: "2001:db8:1234:5678:9abc:def0:1234:5678".parse().ok(),
            request_id: Some(&request),
            status: Some(599),
            scope: Some(Scope::Approve),
            auth_method: Some(AuthMethod::Token),
            user_agent: Some(&texts[3]),
            duration: Some(Duration::from_secs(u64::from(u32::MAX))),
            bytes: Some(u64::MAX),
            ..Draft::new(&texts[0], Phase::Decision, Outcome::Allowed)
        });
        prop_assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
        let inside = line.strip_suffix('\n');
        prop_assert!(inside.is_some_and(|line| !line.chars().any(char::is_control)));
        let record: Result<Record, _> = serde_json::from_str(&line);
        prop_assert!(record.is_ok(), "{:?}", record);
    }
}
