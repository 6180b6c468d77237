//! The trail as its callers see it, and what it does when the disk does not do its part.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use config::home::Home;
use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit};

use super::query::{LIMIT_MAX, Page, Query, StoppedBy, query};
use super::record::{Draft, Outcome, Phase, Record};
use super::seals::Seals;
use super::verify::{Trust, verify};
use super::{Audit, CHECKPOINT, GAP, Unavailable, append};
use crate::clock::Clock;

fn place() -> (tempfile::TempDir, Home) {
    let kept = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(kept.path().to_owned());
    (kept, home)
}

fn event(action: &str) -> Draft<'_> {
    Draft::new(action, Phase::Event, Outcome::Done)
}

fn newest(home: &Home, limit: u32) -> Page {
    let wanted = Query {
        limit,
        ..Query::default()
    };
    query(home, &wanted).expect("the files are read")
}

/// Returns every record, oldest first.
fn records(home: &Home) -> Vec<Record> {
    let mut wanted = Query {
        limit: LIMIT_MAX,
        ..Query::default()
    };
    let mut records = Vec::new();
    loop {
        let page = query(home, &wanted).expect("the files are read");
        records.extend(page.entries);
        if page.stopped_by == StoppedBy::End {
            records.reverse();
            return records;
        }
        wanted.offset += LIMIT_MAX;
    }
}

/// Returns each record as `seq action`, oldest first.
fn story(home: &Home) -> Vec<String> {
    records(home)
        .iter()
        .map(|record| format!("{} {}", record.seq, record.action))
        .collect()
}

fn assert_proven(home: &Home) {
    let trust = Trust::in_keys_of(home).expect("keys");
    let report = verify(home, &trust).expect("the files are read");
    assert!(report.valid, "{report:#?}");
}

fn hold_lock(home: &Home) -> fs::File {
    let directory = fs::File::open(home.audit()).expect("opened");
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).expect("locked");
    directory
}

/// Waits for what another thread is about to bring about.
async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "{what} did not happen");
}

#[tokio::test]
async fn a_closed_trail_takes_nothing() {
    let (_kept, home) = place();
    let audit = Audit::open(&home, true, 16).expect("opened");
    let other = audit.clone();
    audit.durable(event("a")).await.expect("written");
    audit.close().await.expect("closed");
    assert_eq!(other.durable(event("b")).await, Err(Unavailable::Closed));
    other.later(event("c")).await;
    other.later_now(event("d"));
    assert!(!other.is_writable());
    assert_eq!(story(&home), ["1 a", "2 audit.checkpoint"]);
    assert_eq!((other.tally.refused(), other.tally.lost()), (1, 2));
}

#[tokio::test]
async fn without_room_records_are_lost_and_the_gap_is_a_record() {
    let (_kept, home) = place();
    let audit = Audit::open(&home, true, 4).expect("opened");
    let lock = hold_lock(&home);
    audit.later_now(event("a"));
    until("the first batch", || audit.tally.queued() == 0).await;
    for _ in 0..4 {
        audit.later_now(event("b"));
    }
    audit.later_now(event("lost"));
    let begun = tokio::time::Instant::now();
    audit.later(event("lost")).await;
    let waited = begun.elapsed();
    assert!(waited >= super::ROOM_WAIT_MAX, "{waited:?}");
    assert_eq!(audit.tally.lost(), 2);
    // Whoever changes something still has room.
    let mutation = tokio::spawn({
        let audit = audit.clone();
        async move { audit.durable(event("c")).await }
    });
    until("the mutation is queued", || audit.tally.queued() == 5).await;
    rustix::fs::flock(&lock, FlockOperation::Unlock).expect("unlocked");
    assert_eq!(mutation.await.expect("no panic"), Ok(()));
    audit.close().await.expect("closed");
    assert_eq!(
        story(&home),
        [
            "1 a",
            "2 b",
            "3 b",
            "4 b",
            "5 b",
            "6 c",
            &format!("7 {GAP}"),
            &format!("8 {CHECKPOINT}")
        ]
    );
    let gap = newest(&home, 2).entries.pop().expect("it is there");
    assert_eq!(gap.details.get("lost"), Some(&2.into()));
}

#[tokio::test]
async fn a_mutation_that_is_given_up_does_not_stop_the_others() {
    let (_kept, home) = place();
    let audit = Audit::open(&home, true, 16).expect("opened");
    let lock = hold_lock(&home);
    let waited = tokio::time::timeout(Duration::from_millis(5), audit.durable(event("a"))).await;
    assert!(waited.is_err());
    rustix::fs::flock(&lock, FlockOperation::Unlock).expect("unlocked");
    audit.durable(event("b")).await.expect("written");
    assert_eq!(story(&home), ["1 a", "2 b"]);
}

#[tokio::test]
async fn a_disabled_trail_keeps_nothing_and_refuses_nothing() {
    let (_kept, home) = place();
    let audit = Audit::open(&home, false, 16).expect("opened");
    audit.durable(event("a")).await.expect("nothing to do");
    audit.later(event("b")).await;
    audit.later_now(event("c"));
    assert!(audit.is_writable() && !audit.is_enabled());
    audit.close().await.expect("nothing to do");
    assert!(!home.dashboard().exists());
}

#[tokio::test]
async fn durable_records_are_there_when_the_caller_goes_on() {
    let (_kept, home) = place();
    let audit = Audit::open(&home, true, 16).expect("opened");
    audit.later(event("a")).await;
    audit.durable(event("b")).await.expect("written");
    assert_eq!(story(&home), ["1 a", "2 b"]);
    append(&home, &event("c")).expect("written");
    audit.durable(event("d")).await.expect("written");
    assert_eq!(story(&home), ["1 a", "2 b", "3 c", "4 d"]);
    assert_eq!(audit.tally.written(), 3);
}

#[tokio::test]
async fn records_that_nobody_waits_for_arrive_without_a_push() {
    let (_kept, home) = place();
    let audit = Audit::open(&home, true, 16).expect("opened");
    audit.later(event("a")).await;
    until("the record", || story(&home) == ["1 a"]).await;
}

#[tokio::test]
async fn a_new_day_begins_a_new_file_without_a_restart() {
    let (_kept, home) = place();
    let day = Arc::new(std::sync::atomic::AtomicI64::new(1_770_076_799));
    let clock = Clock::from_fn({
        let day = Arc::clone(&day);
        move || {
            let second = day.load(std::sync::atomic::Ordering::SeqCst);
            chrono::DateTime::from_timestamp(second, 0).expect("a valid time")
        }
    });
    let audit = Audit::open_at(&home, 16, clock).expect("opened");
    audit.durable(event("a")).await.expect("written");
    day.store(1_770_076_800, std::sync::atomic::Ordering::SeqCst);
    audit.durable(event("b")).await.expect("written");
    let lines = |name: &str| {
        let text = fs::read_to_string(home.audit().join(name)).expect("it is there");
        text.lines().count()
    };
    assert_eq!(lines("audit-2026-02-02.jsonl"), 1);
    assert_eq!(lines("audit-2026-02-03.jsonl"), 2);
    assert_eq!(story(&home), ["1 a", "2 audit.checkpoint", "3 b"]);
}

#[test]
fn two_processes_write_one_sequence() {
    let (_kept, home) = place();
    let mut children: Vec<_> = (0..2)
        .map(|_| child("", "write_a_thousand", &home))
        .collect();
    for child in &mut children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(newest(&home, 1_000).malformed, 0);
    let records = records(&home);
    let written = records.iter().filter(|record| record.action == "a");
    assert_eq!(written.count(), 2_000);
    let count = records.len() as u64;
    assert!(records.into_iter().map(|record| record.seq).eq(1..=count));
    assert_proven(&home);
}

#[test]
fn a_full_disk_refuses_mutations_until_there_is_room() {
    let (_kept, home) = place();
    drop(Seals::open(&home).expect("keys"));
    // A file size limit of nothing fails every write, for root too.
    let mut child = child("trap '' XFSZ; ulimit -S -f 0;", "meet_a_full_disk", &home);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_failing_file_is_left_for_the_next_one() {
    let (_kept, home) = place();
    let mut child = child(
        "trap '' XFSZ; ulimit -S -f 16;",
        "meet_a_failing_file",
        &home,
    );
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn what_was_acknowledged_survives_a_killed_process() {
    let (_kept, home) = place();
    let mut acknowledged = 0;
    for _ in 0..3 {
        let mut child = child("", "acknowledge_for_ever", &home);
        let said = child.stdout.take().expect("it is piped");
        let marks = BufReader::new(said).split(b'\n');
        acknowledged += marks
            .filter(|mark| mark.as_ref().is_ok_and(|mark| mark == b"ack"))
            .take(50)
            .count();
        child.kill().expect("killed");
        assert!(!child.wait().expect("it ends").success());
    }
    append(&home, &event("after")).expect("written");
    let records = records(&home);
    let written = records.iter().filter(|record| record.action == "a");
    assert_eq!(acknowledged, 150);
    assert!(written.count() >= acknowledged);
    let count = records.len() as u64;
    assert!(records.into_iter().map(|record| record.seq).eq(1..=count));
    assert_proven(&home);
}

/// Starts the test named `part` in a process of its own, behind a line of shell.
#[expect(
    clippy::disallowed_methods,
    reason = "a limit on the file size and a second writer need a process of their own"
)]
fn child(before: &str, part: &str, home: &Home) -> std::process::Child {
    let program = std::env::current_exe().expect("this program has a path");
    let script = format!("{before} exec \"$0\" --nocapture --exact audit::tests::{part}");
    std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(program)
        .env("LOKI_AUDIT_TEST_HOME", home.directory())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts")
}

/// Returns the place that a parent test prepared; none if this process has no such parent.
fn prepared() -> Option<Home> {
    let path = std::env::var_os("LOKI_AUDIT_TEST_HOME")?;
    Some(Home::new(Path::new(&path).to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_a_thousand() {
    let Some(home) = prepared() else { return };
    let audit = Audit::open(&home, true, 64).expect("opened");
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let audit = audit.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    audit.durable(event("a")).await.expect("written");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn acknowledge_for_ever() {
    let Some(home) = prepared() else { return };
    let audit = Audit::open(&home, true, 64).expect("opened");
    loop {
        audit.later(event("a")).await;
        audit.durable(event("a")).await.expect("written");
        std::io::stdout()
            .write_all(b"\nack\n")
            .expect("the parent reads");
    }
}

#[tokio::test]
async fn meet_a_full_disk() {
    let Some(home) = prepared() else { return };
    let audit = Audit::open(&home, true, 16).expect("opened");
    let refused = Err(Unavailable::NotWritable);
    assert_eq!(audit.durable(event("a")).await, refused);
    assert!(!audit.is_writable());
    assert_eq!(audit.durable(event("a")).await, refused);
    audit.later(event("lost")).await;
    rustix::process::setrlimit(
        Resource::Fsize,
        Rlimit {
            current: None,
            maximum: None,
        },
    )
    .expect("the limit is lifted");
    until("the disk is back", || audit.is_writable()).await;
    audit.durable(event("b")).await.expect("written");
    assert_eq!(story(&home), ["1 audit.gap", "2 b"]);
    let gap = &newest(&home, 2).entries[1];
    assert_eq!(gap.details.get("lost"), Some(&1.into()));
    let files = super::files::list(&home.audit()).expect("read").len();
    assert_eq!(files, 1);
}

#[tokio::test]
async fn meet_a_failing_file() {
    let Some(home) = prepared() else { return };
    let audit = Audit::open(&home, true, 64).expect("opened");
    // 8 KiB per file is the limit (16 blocks of 512 bytes).
    for _ in 0..60 {
        audit.durable(event("a")).await.expect("written");
    }
    let files = super::files::list(&home.audit()).expect("read").len();
    assert!(files > 1, "{files}");
    let page = newest(&home, 1_000);
    let written = page.entries.iter().filter(|record| record.action == "a");
    let different: BTreeSet<u64> = page.entries.iter().map(|record| record.seq).collect();
    assert_eq!(written.count(), 60);
    assert_eq!(different.len(), page.entries.len());
    let failed = page
        .entries
        .iter()
        .find(|record| record.action == "audit.failed");
    assert!(failed.is_some_and(|record| record.details.contains_key("in_doubt_from")));
    assert_proven(&home);
}
