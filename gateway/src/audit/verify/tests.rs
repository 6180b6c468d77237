use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use config::home::Home;

use super::{Kind, Report, Trust, verify};
use crate::audit::line::{Line, Lines};
use crate::audit::record::{Draft, Outcome, Phase};
use crate::audit::seals::Seals;
use crate::audit::trail::{Durability, Trail};

const FIRST: &str = "audit-2026-02-02.jsonl";
const SECOND: &str = "audit-2026-02-03.jsonl";
const THIRD: &str = "audit-2026-02-04.jsonl";

/// Three days: 1 a, 2 a, 3 a; 4 checkpoint, 5 b, 6 b; 7 checkpoint, 8 c, 9 checkpoint, 10 d.
struct Place {
    home: Home,
    _kept: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let home = Home::new(kept.path().to_owned());
        let noon = DateTime::from_timestamp(1_770_033_600, 0).expect("a valid time");
        let seals = Seals::open(&home).expect("keys");
        let mut trail = Trail::open(&home.audit(), seals, noon).expect("opened");
        write(&mut trail, &["a", "a", "a"], noon);
        let next = noon + TimeDelta::days(1);
        write(&mut trail, &["b"], next);
        write(&mut trail, &["b"], next);
        let last = noon + TimeDelta::days(2);
        write(&mut trail, &["c"], last);
        trail.checkpoint(last).expect("signed");
        write(&mut trail, &["d"], last);
        Self { home, _kept: kept }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.audit().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there")
    }

    fn put(&self, name: &str, lines: &[String]) {
        fs::write(self.path(name), lines.concat()).expect("written");
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn verify(&self) -> Report {
        let trust = Trust::in_keys_of(&self.home).expect("keys");
        verify(&self.home, &trust).expect("read")
    }

    fn verify_as_auditor(&self) -> Report {
        let key = Seals::open(&self.home).expect("keys").public_key();
        verify(&self.home, &Trust::in_public_key(key)).expect("read")
    }
}

fn write(trail: &mut Trail, actions: &[&str], now: DateTime<Utc>) {
    let mut scratch = Vec::new();
    let mut lines = Lines::default();
    for action in actions {
        let draft = Draft::new(action, Phase::Event, Outcome::Done);
        lines.push(Line::render(&mut scratch, &draft, now));
    }
    trail.commit(&lines, Durability::Now, now).expect("written");
}

/// Tampers, and expects exactly these findings as `file line kind`.
fn check(what: &str, tamper: impl FnOnce(&Place), expected: &[(&str, u64, Kind)]) {
    let place = Place::new();
    tamper(&place);
    let report = place.verify();
    let found: Vec<(&str, u64, Kind)> = report
        .findings
        .iter()
        .map(|finding| (finding.file.as_str(), finding.line, finding.kind.clone()))
        .collect();
    assert_eq!(found, expected, "{what}");
    assert_eq!(report.valid, expected.is_empty(), "{what}");
}

/// Changes the lines of one file.
fn lines(name: &str, change: impl FnOnce(&mut Vec<String>)) -> impl FnOnce(&Place) {
    move |place| {
        let mut lines = place.lines(name);
        change(&mut lines);
        place.put(name, &lines);
    }
}

fn edit(line: &mut String) {
    *line = line.replace("\"anonymous\"", "\"root\"");
}

/// Chains all lines anew, as somebody without the keys can.
fn recompute(place: &Place) {
    let mut prev = super::NOTHING;
    for name in [FIRST, SECOND, THIRD] {
        let chained = place.lines(name).into_iter().map(|line| {
            let at = line.find("\"prev\":\"").expect("it is chained") + 8;
            let line = format!(
                "{}{}{}",
                &line[..at],
                crate::audit::chain::hex(&prev),
                &line[at + 64..]
            );
            prev = crate::audit::chain::digest(line.trim_end().as_bytes());
            line
        });
        let chained: Vec<String> = chained.collect();
        place.put(name, &chained);
    }
}

#[test]
fn a_changed_line_is_found() {
    check(
        "edit",
        lines(FIRST, |lines| edit(&mut lines[1])),
        &[(FIRST, 2, Kind::Changed)],
    );
    check(
        "edit of a sealed line at the end of a file",
        lines(FIRST, |lines| edit(&mut lines[2])),
        &[(FIRST, 3, Kind::BadSeal), (FIRST, 3, Kind::Changed)],
    );
    check(
        "edit of the newest line",
        lines(THIRD, |lines| edit(&mut lines[3])),
        &[(THIRD, 4, Kind::BadSeal)],
    );
    check(
        "a line made unreadable",
        lines(FIRST, |lines| lines[1] = "rubbish\n".to_owned()),
        &[
            (FIRST, 2, Kind::NoRecord),
            (FIRST, 3, Kind::Missing { from: 2, to: 2 }),
        ],
    );
}

#[test]
fn removed_records_are_found() {
    check(
        "delete",
        lines(FIRST, |lines| drop(lines.remove(1))),
        &[(FIRST, 2, Kind::Missing { from: 2, to: 2 })],
    );
    check(
        "delete the first",
        lines(FIRST, |lines| drop(lines.remove(0))),
        &[(FIRST, 1, Kind::Missing { from: 1, to: 1 })],
    );
    check(
        "cut a file in the middle",
        lines(SECOND, |lines| lines.truncate(1)),
        &[(THIRD, 1, Kind::Missing { from: 5, to: 6 })],
    );
    check(
        "drop a file",
        |place| fs::remove_file(place.path(SECOND)).expect("removed"),
        &[(THIRD, 1, Kind::Missing { from: 4, to: 6 })],
    );
    check(
        "drop the oldest file",
        |place| fs::remove_file(place.path(FIRST)).expect("removed"),
        &[(SECOND, 1, Kind::Missing { from: 1, to: 3 })],
    );
}

#[test]
fn a_cut_off_end_is_found() {
    check(
        "within a commit",
        |place| {
            let mut kept = place.lines(FIRST);
            kept.truncate(2);
            for name in [SECOND, THIRD] {
                fs::remove_file(place.path(name)).expect("removed");
            }
            fs::remove_file(place.home.audit_checkpoint()).expect("removed");
            place.put(FIRST, &kept);
        },
        &[(FIRST, 2, Kind::NoSeal)],
    );
    check(
        "before the kept checkpoint",
        lines(THIRD, |lines| lines.truncate(2)),
        &[(THIRD, 2, Kind::CutOff { from: 9, to: 9 })],
    );
    check(
        "the newest file",
        |place| fs::remove_file(place.path(THIRD)).expect("removed"),
        &[(SECOND, 3, Kind::CutOff { from: 7, to: 9 })],
    );
    check(
        "everything",
        |place| fs::remove_dir_all(place.home.audit()).expect("removed"),
        &[("", 0, Kind::CutOff { from: 1, to: 9 })],
    );
}

#[test]
fn added_and_moved_records_are_found() {
    check(
        "swap",
        lines(FIRST, |lines| lines.swap(0, 1)),
        &[
            (FIRST, 1, Kind::Missing { from: 1, to: 1 }),
            (FIRST, 2, Kind::OutOfOrder { seq: 1 }),
            (FIRST, 3, Kind::Missing { from: 2, to: 2 }),
        ],
    );
    check(
        "replay an old record",
        lines(THIRD, |lines| lines.push(lines[1].clone())),
        &[(THIRD, 5, Kind::OutOfOrder { seq: 8 })],
    );
    check(
        "insert a forged record",
        lines(FIRST, |lines| {
            let mut forged = lines[1].clone();
            edit(&mut forged);
            lines.insert(1, forged);
        }),
        &[(FIRST, 3, Kind::OutOfOrder { seq: 2 })],
    );
    check(
        "replay an old file",
        |place| {
            fs::copy(place.path(FIRST), place.path(SECOND)).expect("copied");
        },
        &[
            (SECOND, 1, Kind::OutOfOrder { seq: 1 }),
            (THIRD, 1, Kind::Missing { from: 4, to: 6 }),
        ],
    );
    check(
        "a line that is no record at the end",
        lines(THIRD, |lines| lines.push("{\"timestamp\"\n".to_owned())),
        &[(THIRD, 5, Kind::NoRecord)],
    );
    check(
        "no regular file",
        |place| fs::create_dir(place.path("audit-2026-02-05.jsonl")).expect("made"),
        &[("audit-2026-02-05.jsonl", 0, Kind::NotAFile)],
    );
}

#[test]
fn a_chain_recomputed_without_the_key_is_found() {
    let place = Place::new();
    lines(FIRST, |lines| edit(&mut lines[0]))(&place);
    recompute(&place);
    let report = place.verify();
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.line, &finding.kind))
        .collect();
    assert_eq!(found[0], (3, &Kind::BadSeal));
    assert!(found.contains(&(1, &Kind::BadSignature)));
    let report = place.verify_as_auditor();
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.kind == Kind::BadSignature)
    );
    // Without seals, the end gives it away.
    let strip = |lines: &mut Vec<String>| {
        for line in lines {
            if let Some(at) = line.find(",\"mac\"") {
                line.replace_range(at..at + 73, "");
            }
        }
    };
    for name in [FIRST, SECOND, THIRD] {
        lines(name, strip)(&place);
    }
    recompute(&place);
    let report = place.verify();
    let last = report.findings.last().expect("findings");
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.kind == Kind::NoSeal),
        "{last:?}"
    );
}

#[test]
fn other_keys_are_not_believed() {
    let place = Place::new();
    fs::remove_file(place.home.audit_mac_key()).expect("removed");
    fs::remove_file(place.home.audit_signing_key()).expect("removed");
    assert!(Trust::in_keys_of(&place.home).is_err());
    drop(Seals::open(&place.home).expect("made anew"));
    let report = place.verify();
    let bad = |wanted: fn(&Kind) -> bool| {
        report
            .findings
            .iter()
            .filter(|finding| wanted(&finding.kind))
            .count()
    };
    assert_eq!(bad(|kind| *kind == Kind::BadSeal), 6);
    assert_eq!(bad(|kind| matches!(kind, Kind::UnknownKey { .. })), 3);
}

#[test]
fn an_untouched_trail_is_proven_as_far_as_it_can_be() {
    let place = Place::new();
    let report = place.verify();
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.files, report.records, report.last_seq),
        (3, 10, Some(10))
    );
    assert_eq!(
        report.last_checkpoint.as_ref().map(|signed| signed.seq),
        Some(9)
    );
    assert!(report.proven[0].starts_with("records 1 to 10 are in order"));
    assert!(report.proven[1].contains("up to checkpoint 9"));
    let report = place.verify_as_auditor();
    assert!(report.valid);
    assert!(report.proven[0].starts_with("records 1 to 9 are as the holder of key"));
    let kept = place.lines(THIRD)[2].clone();
    let trust = Trust::in_keys_of(&place.home)
        .expect("keys")
        .with_kept(kept.as_bytes())
        .expect("a checkpoint");
    let report = verify(&place.home, &trust).expect("read");
    assert!(report.valid && report.proven[2].starts_with("against everyone"));
}

#[test]
fn what_the_trail_repaired_itself_is_no_finding() {
    let place = Place::new();
    let mut text = place.text(THIRD);
    text.push_str("{\"timestamp\":\"20");
    fs::write(place.path(THIRD), text).expect("written");
    let report = place.verify();
    assert_eq!((report.findings.len(), report.notes.len()), (0, 1));
    let later = DateTime::from_timestamp(1_770_300_000, 0).expect("a valid time");
    let seals = Seals::open(&place.home).expect("keys");
    let mut trail = Trail::open(&place.home.audit(), seals, later).expect("opened");
    write(&mut trail, &["e"], later);
    assert_eq!(place.verify().findings, []);
}
