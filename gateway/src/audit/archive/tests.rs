use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use config::home::Home;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{Keeper, Retention};
use crate::audit::export::{Format, export};
use crate::audit::line::{Line, Lines};
use crate::audit::query::{Query, query};
use crate::audit::record::{Draft, Outcome, Phase};
use crate::audit::seals::Seals;
use crate::audit::summary::summary;
use crate::audit::trail::{Durability, Trail};
use crate::audit::verify::{Kind, Report, Trust, verify};
use crate::clock::Clock;

const DAY: Duration = Duration::from_secs(86_400);
const FIRST: &str = "audit-2026-02-02.jsonl";
const FIRST_PACKED: &str = "audit-2026-02-02.jsonl.gz";
const SECOND_PACKED: &str = "audit-2026-02-03.jsonl.gz";
const THIRD: &str = "audit-2026-02-04.jsonl";

/// Four days: 1 a, 2 a, 3 a; 4 checkpoint, 5 b, 6 b; 7 checkpoint, 8 c; 9 checkpoint, 10 d.
struct Place {
    home: Home,
    _kept: tempfile::TempDir,
}

fn noon(days: i64) -> DateTime<Utc> {
    let first = DateTime::from_timestamp(1_770_033_600, 0).expect("a valid time");
    first + TimeDelta::days(days)
}

impl Place {
    fn new() -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let home = Home::new(kept.path().to_owned());
        let seals = Seals::open(&home).expect("keys");
        let mut trail = Trail::open(&home.audit(), seals, noon(0)).expect("opened");
        for (day, actions) in [(0, "aaa"), (1, "bb"), (2, "c"), (3, "d")] {
            write(&mut trail, actions, noon(day));
        }
        Self { home, _kept: kept }
    }

    /// Looks after the closed files once, four days after the first.
    fn look(&self, retention: Retention) {
        self.look_on(retention, 3);
    }

    fn look_on(&self, retention: Retention, day: i64) {
        let clock = Clock::from_fn(move || noon(day));
        let mut keeper = Keeper::new(&self.home, retention, clock).expect("keys");
        keeper.look().expect("looked after");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.audit().join(name)
    }

    /// Returns the names in the directory that are no indexes.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.home.audit())
            .expect("read")
            .map(|entry| {
                entry
                    .expect("read")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .filter(|name| name.starts_with("audit-") && !name.ends_with(".index"))
            .collect();
        names.sort();
        names
    }

    fn verify(&self) -> Report {
        let trust = Trust::in_keys_of(&self.home).expect("keys");
        verify(&self.home, &trust).expect("read")
    }

    fn export(&self) -> String {
        let mut out = Vec::new();
        export(&self.home, &Query::default(), Format::Jsonl, &mut out).expect("read");
        String::from_utf8(out).expect("text")
    }

    fn unpack(&self, name: &str) -> String {
        let file = fs::File::open(self.path(name)).expect("opened");
        let mut text = String::new();
        GzDecoder::new(file)
            .read_to_string(&mut text)
            .expect("unpacked");
        text
    }

    fn pack(&self, name: &str, text: &str) {
        let file = fs::File::create(self.path(name)).expect("made");
        let mut encoder = GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("packed");
        encoder.finish().expect("packed");
    }

    /// Returns each finding as file, line and kind.
    fn findings(&self) -> Vec<(String, u64, Kind)> {
        let findings = self.verify().findings.into_iter();
        findings
            .map(|finding| (finding.file, finding.line, finding.kind))
            .collect()
    }

    fn actions(&self, wanted: &Query) -> String {
        let page = query(&self.home, wanted).expect("read");
        let actions = page.entries.iter().map(|record| record.action.as_str());
        actions.filter(|action| action.len() == 1).collect()
    }
}

fn write(trail: &mut Trail, actions: &str, now: DateTime<Utc>) {
    let mut scratch = Vec::new();
    for action in actions.chars() {
        let mut lines = Lines::default();
        let action = action.to_string();
        let draft = Draft {
            user: &action,
            ..Draft::new(&action, Phase::Event, Outcome::Done)
        };
        lines.push(Line::render(&mut scratch, &draft, now));
        trail.commit(&lines, Durability::Now, now).expect("written");
    }
}

fn by_age(days: u32) -> Retention {
    Retention {
        age: Some(DAY * days),
        bytes_max: None,
    }
}

#[test]
fn changes_inside_packed_files_are_found_with_file_and_line() {
    let check = |what: &str, tamper: &dyn Fn(&Place), expected: &[(&str, u64, Kind)]| {
        let place = Place::new();
        place.look(Retention::default());
        tamper(&place);
        let found = place.findings();
        let found: Vec<_> = found
            .iter()
            .map(|(file, line, kind)| (file.as_str(), *line, kind.clone()))
            .collect();
        assert_eq!(found, expected, "{what}");
    };
    check(
        "edited",
        &|place| {
            let text = place.unpack(FIRST_PACKED);
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let edited = lines[1].replace("\"done\"", "\"failed\"");
            lines[1] = &edited;
            place.pack(FIRST_PACKED, &lines.concat());
        },
        &[
            (FIRST_PACKED, 2, Kind::BadSeal),
            (FIRST_PACKED, 2, Kind::Changed),
        ],
    );
    check(
        "a line taken out",
        &|place| {
            let text = place.unpack(SECOND_PACKED);
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            place.pack(SECOND_PACKED, &[lines[0], lines[2]].concat());
        },
        &[(SECOND_PACKED, 2, Kind::Missing { from: 5, to: 5 })],
    );
    check(
        "a file taken away",
        &|place| fs::remove_file(place.path(FIRST_PACKED)).expect("removed"),
        &[(SECOND_PACKED, 1, Kind::Missing { from: 1, to: 3 })],
    );
    check(
        "bytes cut off",
        &|place| {
            let bytes = fs::read(place.path(FIRST_PACKED)).expect("read");
            fs::write(place.path(FIRST_PACKED), &bytes[..10]).expect("written");
        },
        &[
            (FIRST_PACKED, 1, Kind::Damaged),
            (SECOND_PACKED, 1, Kind::Missing { from: 1, to: 3 }),
        ],
    );
    check(
        "an older file played again",
        &|place| {
            let path = place.path(FIRST_PACKED);
            fs::copy(path, place.path(SECOND_PACKED)).expect("copied");
        },
        &[
            (SECOND_PACKED, 1, Kind::OutOfOrder { seq: 1 }),
            (THIRD, 1, Kind::Missing { from: 4, to: 6 }),
        ],
    );
}

#[test]
fn older_closed_files_are_packed_and_read_as_before() {
    let place = Place::new();
    let before = place.export();
    let summed = summary(&place.home, 30, noon(3)).expect("read");
    place.look(Retention::default());
    assert_eq!(
        place.names(),
        [FIRST_PACKED, SECOND_PACKED, THIRD, "audit-2026-02-05.jsonl"]
    );
    assert_eq!(place.export(), before);
    assert_eq!(summary(&place.home, 30, noon(3)).expect("read"), summed);
    let report = place.verify();
    assert_eq!(report.findings, []);
    assert_eq!((report.files, report.records), (4, 10));
    let everything = Query::default();
    assert_eq!(place.actions(&everything), "dcbbaaa");
    for (limit, offset, expected) in [(2, 0, "d"), (4, 0, "dc"), (3, 4, "bb"), (10, 8, "aa")] {
        let wanted = Query {
            limit,
            offset,
            ..Query::default()
        };
        assert_eq!(place.actions(&wanted), expected, "{limit} behind {offset}");
    }
    let mut pages = String::new();
    let mut wanted = Query {
        limit: 3,
        ..Query::default()
    };
    loop {
        pages.push_str(&place.actions(&wanted));
        wanted.cursor = query(&place.home, &wanted).expect("read").next_cursor;
        if wanted.cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, "dcbbaaa");
}

#[test]
fn an_index_spares_reading_and_hides_nothing() {
    let place = Place::new();
    place.look(Retention::default());
    let by_user = |user: &str| Query {
        user: Some(user.to_owned()),
        ..Query::default()
    };
    for (user, expected) in [("a", "aaa"), ("b", "bb"), ("c", "c"), ("d", "d"), ("e", "")] {
        assert_eq!(place.actions(&by_user(user)), expected);
    }
    let page = query(&place.home, &by_user("a")).expect("read");
    assert_eq!(page.scanned, 2 + 3, "the newest file and the first");
    // Without its index a file is read.
    for name in [FIRST, THIRD] {
        fs::remove_file(place.path(&format!("{name}.index"))).expect("it was there");
    }
    let page = query(&place.home, &by_user("a")).expect("read");
    assert_eq!((page.entries.len(), page.scanned), (3, 2 + 2 + 3));
}

#[test]
fn files_go_with_a_signed_record_and_the_rest_still_verifies() {
    let place = Place::new();
    place.look(by_age(1));
    assert_eq!(place.names(), [THIRD, "audit-2026-02-05.jsonl"]);
    let report = place.verify();
    assert_eq!(report.findings, []);
    assert_eq!((report.first_seq, report.retired_to), (Some(7), Some(6)));
    assert!(
        report.proven[0].starts_with("records 7 to 12"),
        "{:?}",
        report.proven
    );
    let key = Seals::open(&place.home).expect("keys").public_key();
    let auditor = verify(&place.home, &Trust::in_public_key(key)).expect("read");
    assert!(auditor.valid, "{:?}", auditor.findings);
    assert_eq!(auditor.last_checkpoint.expect("signed").seq, 12);
    let retired = Query {
        action: Some("audit.retired".to_owned()),
        ..Query::default()
    };
    let page = query(&place.home, &retired).expect("read");
    let details = &page.entries[0].details;
    assert_eq!(
        (&details["to"], &details["records"]),
        (&6.into(), &6.into())
    );
    assert_eq!(details["findings"], 0);
    // Nothing more may go than the record names.
    fs::remove_file(place.path(THIRD)).expect("removed");
    assert_eq!(
        place.findings(),
        [(
            "audit-2026-02-05.jsonl".to_owned(),
            1,
            Kind::Missing { from: 1, to: 8 }
        )]
    );
}

#[test]
fn an_interrupted_removal_is_finished_later_and_verifies_meanwhile() {
    let place = Place::new();
    let second = fs::read(place.path("audit-2026-02-03.jsonl")).expect("read");
    place.look(by_age(1));
    fs::write(place.path("audit-2026-02-03.jsonl"), second).expect("it was not removed yet");
    assert_eq!(place.findings(), []);
    place.look(by_age(1));
    assert_eq!(place.names(), [THIRD, "audit-2026-02-05.jsonl"]);
    assert_eq!(place.findings(), []);
}

#[test]
fn a_clock_that_jumps_ahead_removes_nothing_at_once() {
    let place = Place::new();
    place.look_on(by_age(30), 400);
    assert_eq!(place.names().len(), 4);
    let seals = Seals::open(&place.home).expect("keys");
    let mut trail = Trail::open(&place.home.audit(), seals, noon(400)).expect("opened");
    write(&mut trail, "e", noon(400));
    place.look_on(by_age(30), 400);
    assert_eq!(place.names().len(), 5);
    write(&mut trail, "f", noon(401));
    place.look_on(by_age(30), 401);
    assert_eq!(place.names().len(), 2, "a day later the clock is believed");
    assert_eq!(place.findings(), []);
}

#[test]
fn the_oldest_files_go_when_all_are_too_large() {
    let place = Place::new();
    let bytes = |name: &str| fs::metadata(place.path(name)).expect("there").len();
    let bytes_max = bytes(THIRD) + 10;
    place.look(Retention {
        age: None,
        bytes_max: Some(bytes_max),
    });
    assert_eq!(place.names(), [THIRD, "audit-2026-02-05.jsonl"]);
    assert_eq!(place.findings(), []);
}

#[test]
fn whatever_moment_a_crash_comes_at_one_copy_is_whole() {
    let place = Place::new();
    let first = fs::read_to_string(place.path(FIRST)).expect("read");
    let before = place.export();
    // Before the packed copy has its name.
    fs::write(place.path(&format!("{FIRST_PACKED}.draft")), "half").expect("written");
    assert_eq!(
        (place.export(), place.findings().len()),
        (before.clone(), 0)
    );
    place.look(Retention::default());
    assert_eq!(place.unpack(FIRST_PACKED), first);
    // Before the plain file is gone.
    fs::write(place.path(FIRST), &first).expect("written");
    assert_eq!(
        (place.export(), place.findings().len()),
        (before.clone(), 0)
    );
    place.look(Retention::default());
    assert!(!place.path(FIRST).exists());
    assert_eq!((place.export(), place.findings().len()), (before, 0));
    assert_eq!(place.names()[0], FIRST_PACKED, "and no draft is left");
}

#[test]
fn a_trail_goes_on_behind_a_packed_file() {
    let place = Place::new();
    place.look(Retention::default());
    for name in [THIRD, "audit-2026-02-05.jsonl"] {
        let text = fs::read_to_string(place.path(name)).expect("read");
        place.pack(&format!("{name}.gz"), &text);
        fs::remove_file(place.path(name)).expect("removed");
    }
    let seals = Seals::open(&place.home).expect("keys");
    let mut trail = Trail::open(&place.home.audit(), seals, noon(3)).expect("opened");
    write(&mut trail, "e", noon(3));
    assert_eq!(place.findings(), []);
    assert_eq!(place.names()[3], "audit-2026-02-05.1.jsonl");
    assert_eq!(place.actions(&Query::default()), "edcbbaaa");
}
