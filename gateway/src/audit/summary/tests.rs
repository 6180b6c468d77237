use std::collections::BTreeMap;
use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use config::home::Home;

use super::{Failure, Summary, parse_days, summary};
use crate::audit::record::Outcome;

#[test]
fn bad_days_are_refused() {
    for text in [
        "days=0",
        "days=367",
        "days=x",
        "days=",
        "day=7",
        "days=7&days=7",
    ] {
        assert!(parse_days(Some(text)).is_err(), "{text}");
    }
    assert_eq!(parse_days(None), Ok(7));
    assert_eq!(parse_days(Some("days=30")), Ok(30));
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_033_600, 0).expect("a valid time")
}

fn line(days_ago: i64, request: u32, phase: &str, action: &str, outcome: &str) -> String {
    let time = now() - TimeDelta::days(days_ago);
    format!(
        "{{\"timestamp\":\"{}\",\"action\":\"{action}\",\"user\":\"token:ci-bot\",\
         \"resource\":\"\",\"details\":{{}},\"ip\":\"\",\"seq\":1,\"unix_ms\":{},\
         \"request_id\":\"req-{request}\",\"phase\":\"{phase}\",\"outcome\":\"{outcome}\",\
         \"status\":200}}\n",
        time.format("%Y-%m-%dT%H:%M:%SZ"),
        time.timestamp_millis(),
    )
}

fn counted(days: u32, lines: &[String]) -> Summary {
    let kept = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(kept.path().to_owned());
    fs::create_dir_all(home.audit()).expect("made");
    let text = lines.concat();
    fs::write(home.audit().join("audit-2026-02-02.jsonl"), text).expect("written");
    summary(&home, days, now()).expect("the file is read")
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

#[test]
fn nothing_written_counts_nothing() {
    let kept = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(kept.path().to_owned());
    let expected = Summary {
        period_days: 7,
        complete: true,
        ..Summary::default()
    };
    let counted = summary(&home, 7, now()).expect("nothing to read");
    assert_eq!(counted, expected);
}

#[test]
fn a_request_counts_once_by_its_last_phase() {
    let summary = counted(
        7,
        &[
            line(9, 0, "end", "status.show", "done"),
            line(1, 1, "decision", "session.start", "allowed"),
            line(1, 2, "end", "status.show", "done"),
            line(1, 1, "outcome", "session.start", "done"),
            line(1, 3, "decision", "session.stop", "allowed"),
            "rubbish\n".to_owned(),
            line(1, 3, "outcome", "session.stop", "unknown"),
            line(1, 1, "end", "session.start", "done"),
            line(0, 4, "end", "session.start", "denied"),
            line(0, 5, "decision", "session.stop", "allowed"),
            "{\"timestamp\":\"".to_owned(),
        ],
    );
    let failure = |days_ago, action: &str, outcome, request: u32| Failure {
        timestamp: (now() - TimeDelta::days(days_ago))
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        action: action.to_owned(),
        user: "token:ci-bot".to_owned(),
        resource: String::new(),
        outcome,
        status: Some(200),
        request_id: Some(format!("req-{request}")),
    };
    assert_eq!(
        summary,
        Summary {
            period_days: 7,
            total_events: 5,
            successful_events: 3,
            failed_events: 2,
            by_action: counts([
                ("session.start", 2),
                ("session.stop", 2),
                ("status.show", 1)
            ]),
            by_user: counts([("token:ci-bot", 5)]),
            by_outcome: [
                (Outcome::Allowed, 1),
                (Outcome::Denied, 1),
                (Outcome::Done, 2),
                (Outcome::Unknown, 1)
            ]
            .into(),
            recent_failures: vec![
                failure(0, "session.start", Outcome::Denied, 4),
                failure(1, "session.stop", Outcome::Unknown, 3),
            ],
            malformed: 1,
            complete: true,
        }
    );
}

#[test]
fn the_answer_has_the_documented_members() {
    let summary = counted(7, &[line(0, 1, "end", "status.show", "denied")]);
    let expected = concat!(
        r#"{"period_days":7,"total_events":1,"successful_events":0,"failed_events":1,"#,
        r#""by_action":{"status.show":1},"by_user":{"token:ci-bot":1},"#,
        r#""by_outcome":{"denied":1},"recent_failures":[{"timestamp":"2026-02-02T12:00:00Z","#,
        r#""action":"status.show","user":"token:ci-bot","resource":"","outcome":"denied","#,
        r#""status":200,"request_id":"req-1"}],"malformed":0,"complete":true}"#,
    );
    assert_eq!(
        serde_json::to_string(&summary).ok().as_deref(),
        Some(expected)
    );
}

#[test]
fn ten_failures_are_shown_newest_first() {
    let lines: Vec<String> = (0..15)
        .map(|request| line(0, request, "end", "status.show", "denied"))
        .collect();
    let summary = counted(1, &lines);
    let shown: Vec<_> = summary
        .recent_failures
        .iter()
        .filter_map(|failure| failure.request_id.as_deref())
        .collect();
    assert_eq!(
        shown,
        [
            "req-14", "req-13", "req-12", "req-11", "req-10", "req-9", "req-8", "req-7", "req-6",
            "req-5"
        ]
    );
}

#[test]
fn names_without_bound_are_counted_together() {
    let lines: Vec<String> = (0..1_200)
        .map(|request| line(0, request, "end", &format!("action.{request}"), "done"))
        .collect();
    let summary = counted(1, &lines);
    assert_eq!(summary.by_action.len(), 1_001);
    assert_eq!(summary.by_action.get("(others)"), Some(&200));
}
