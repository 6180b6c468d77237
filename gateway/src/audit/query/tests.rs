use std::fs;

use config::home::Home;

use super::{Query, StoppedBy, query};
use crate::audit::record::Outcome;

fn refused(text: &str, expected: &str) {
    let shown = Query::parse(Some(text)).map_err(|error| error.to_string());
    assert_eq!(shown, Err(expected.to_owned()), "{text:?}");
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let limit = "cannot use query parameter \"limit\": give a whole number from 1 to 1000";
    for text in [
        "limit=0",
        "limit=1001",
        "limit=",
        "limit",
        "limit=+1",
        "limit=%2B1",
        "limit=1e2",
        "limit=-1",
        "limit=99999999999999999999",
    ] {
        refused(text, limit);
    }
    refused(
        "offset=100001",
        "cannot use query parameter \"offset\": give a whole number from 0 to 100000",
    );
    for text in [
        "start_date=2026-2-2",
        "start_date=2026-02-30",
        "start_date=2026-02-02T00:00:00Z",
    ] {
        let expected =
            "cannot use query parameter \"start_date\": give a UTC day such as 2026-02-02";
        refused(text, expected);
    }
    refused(
        "start_date=2026-02-03&end_date=2026-02-02",
        "cannot use query parameter \"start_date\": it lies after end_date",
    );
    for text in ["cursor=", "cursor=-1", "cursor=1.5"] {
        let expected =
            "cannot use query parameter \"cursor\": give the next_cursor of the page before";
        refused(text, expected);
    }
    refused(
        "cursor=7&offset=1",
        "cannot use query parameter \"offset\": give it or cursor, not both",
    );
    refused(
        "outcome=ok",
        "cannot use query parameter \"outcome\": give one of allowed, denied, done, failed, unknown",
    );
    refused(
        "limit=1&limit=2",
        "cannot use query parameter \"limit\": give it once",
    );
    refused(
        "action=%zz",
        "cannot use query parameter \"action\": it is not percent-encoded UTF-8",
    );
    refused(
        "user=",
        "cannot use query parameter \"user\": give a text of 1 to 512 bytes",
    );
    refused(
        "Limit=1",
        "cannot use query parameter \"Limit\": unknown; there are limit, offset, cursor, start_date, \
         end_date, action, user, resource, outcome, request_id",
    );
}

#[test]
fn parameters_are_read() {
    assert_eq!(Query::parse(None), Ok(Query::default()));
    assert_eq!(Query::parse(Some("")), Ok(Query::default()));
    let text = "limit=5&offset=10&start_date=2026-02-02&end_date=2026-02-03&action=session.start\
                &user=token%3Aci+bot&resource=session:a&outcome=denied&request_id=req-1";
    assert_eq!(
        Query::parse(Some(text)),
        Ok(Query {
            limit: 5,
            offset: 10,
            cursor: None,
            start_date: "2026-02-02".parse().ok(),
            end_date: "2026-02-03".parse().ok(),
            action: Some("session.start".to_owned()),
            user: Some("token:ci bot".to_owned()),
            resource: Some("session:a".to_owned()),
            outcome: Some(Outcome::Denied),
            request_id: Some("req-1".to_owned()),
        })
    );
}

fn line(seq: u64, day: &str, action: &str, outcome: &str) -> String {
    format!(
        "{{\"timestamp\":\"{day}T12:00:00Z\",\"action\":\"{action}\",\"user\":\"token:a\\u202e\",\
         \"resource\":\"\",\"details\":{{}},\"ip\":\"\",\"seq\":{seq},\"unix_ms\":0,\
         \"request_id\":\"req-{seq}\",\"phase\":\"end\",\"outcome\":\"{outcome}\"}}\n"
    )
}

/// Three files with ten records, one foreign line and one line under way.
fn place() -> (tempfile::TempDir, Home) {
    let kept = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(kept.path().to_owned());
    fs::create_dir_all(home.audit()).expect("made");
    let write = |name: &str, text: String| {
        fs::write(home.audit().join(name), text).expect("written");
    };
    let lines = |seqs: std::ops::RangeInclusive<u64>, day: &str, action: &str| -> String {
        seqs.map(|seq| {
            line(
                seq,
                day,
                action,
                if seq % 2 == 0 { "done" } else { "denied" },
            )
        })
        .collect()
    };
    write("audit-2026-02-01.jsonl", lines(1..=3, "2026-02-01", "a"));
    let mut middle = lines(4..=5, "2026-02-02", "a");
    middle.push_str("{\"forged\":true}\n");
    middle.push_str(&lines(6..=6, "2026-02-02", "b"));
    write("audit-2026-02-02.jsonl", middle);
    let mut last = lines(7..=7, "2026-02-01", "late");
    last.push_str(&lines(8..=10, "2026-02-02", "b"));
    last.push_str("{\"timestamp\":\"2026");
    write("audit-2026-02-02.1.jsonl", last);
    (kept, home)
}

fn check(text: &str, seqs: &[u64], stopped_by: StoppedBy, malformed: u64) {
    let (_kept, home) = place();
    let wanted = Query::parse(Some(text)).expect("the parameters are right");
    let page = query(&home, &wanted).expect("the files are read");
    let found: Vec<u64> = page.entries.iter().map(|record| record.seq).collect();
    assert_eq!(
        (found.as_slice(), page.stopped_by, page.malformed),
        (seqs, stopped_by, malformed),
        "{text}"
    );
}

#[test]
fn records_are_found_newest_first() {
    use StoppedBy::{End, Limit};

    check("", &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1], End, 1);
    check("limit=2", &[10, 9], Limit, 0);
    check("limit=2&offset=3", &[7, 6], Limit, 0);
    check("offset=9", &[1], End, 1);
    check("offset=10", &[], End, 1);
    check("action=a&outcome=done", &[4, 2], End, 1);
    check("request_id=req-5", &[5], End, 1);
    check("user=token:a", &[], End, 1);
    check("user=token:a%E2%80%AE&limit=1", &[10], Limit, 0);
    check("start_date=2026-02-02", &[10, 9, 8, 6, 5, 4], End, 1);
    check("end_date=2026-02-01", &[7, 3, 2, 1], End, 1);
    check("start_date=2026-02-03", &[], End, 0);
    check("end_date=2026-01-30", &[], End, 0);
}

#[test]
fn the_answer_keeps_the_order_of_the_file() {
    let (_kept, home) = place();
    let wanted = Query::parse(Some("limit=1")).expect("the parameters are right");
    let page = query(&home, &wanted).expect("the files are read");
    let entry = line(10, "2026-02-02", "b", "done").replace("\\u202e", "\u{202e}");
    let expected = format!(
        "{{\"entries\":[{}],\"limit\":1,\"offset\":0,\"stopped_by\":\"limit\",\"next_cursor\":10,\
         \"scanned\":1,\"malformed\":0}}",
        entry.trim_end()
    );
    assert_eq!(serde_json::to_string(&page).ok(), Some(expected));
}

#[test]
fn a_trail_that_was_never_written_has_no_records() {
    let kept = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(kept.path().to_owned());
    let page = query(&home, &Query::default()).expect("nothing to read");
    assert_eq!((page.entries.len(), page.stopped_by), (0, StoppedBy::End));
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let (_kept, home) = place();
    let path = home.audit().join("audit-2026-02-03.jsonl");
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).expect("made");
    let error = query(&home, &Query::default()).map_err(|error| error.to_string());
    assert!(error.is_err_and(|text| text.contains("is not a regular file")));
}
