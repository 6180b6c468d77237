use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Durability, Trail};
use crate::audit::line::{Line, Lines};
use crate::audit::record::{Draft, Outcome, Phase, Record};
use crate::audit::seals::Seals;

const FIRST: &str = "audit-2026-02-02.jsonl";
const SECOND: &str = "audit-2026-02-02.1.jsonl";
const NEXT_DAY: &str = "audit-2026-02-03.jsonl";

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_033_600, 0).expect("a valid time")
}

fn seals() -> Seals {
    Seals::new(&[1; 32], &[2; 32]).expect("keys")
}

/// A place for audit files that goes away with the test.
struct Place {
    directory: PathBuf,
    _kept: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        Self {
            directory: kept.path().join("dashboard").join("audit"),
            _kept: kept,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn open(&self) -> Trail {
        Trail::open(&self.directory, seals(), noon()).expect("the trail opens")
    }

    fn refusal(&self) -> String {
        match Trail::open(&self.directory, seals(), noon()) {
            Ok(_) => "opened".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    /// Returns each line as `seq action reason`.
    fn lines(&self, name: &str) -> Vec<String> {
        self.text(name).lines().map(shown).collect()
    }
}

fn shown(line: &str) -> String {
    let Ok(record) = serde_json::from_str::<Record>(line) else {
        return "malformed".to_owned();
    };
    let reason = record.details.get("reason").and_then(Value::as_str);
    let text = format!("{} {} {}", record.seq, record.action, reason.unwrap_or(""));
    text.trim_end().to_owned()
}

fn append(trail: &mut Trail, action: &str, now: DateTime<Utc>) {
    let mut scratch = Vec::new();
    let mut lines = Lines::default();
    let draft = Draft::new(action, Phase::Event, Outcome::Done);
    lines.push(Line::render(&mut scratch, &draft, now));
    trail
        .commit(&lines, Durability::Now, now)
        .expect("the record is written");
}

fn add(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let check = |make: &dyn Fn(&Path)| {
        let place = Place::new();
        fs::create_dir_all(&place.directory).expect("made");
        make(&place.path(FIRST));
        let expected = format!("{FIRST} is not a regular file: move it away");
        assert_eq!(place.refusal(), expected);
    };
    check(&|path| fs::create_dir(path).expect("made"));
    check(&|path| std::os::unix::fs::symlink("/dev/null", path).expect("made"));
    check(&|path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).expect("made");
    });
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let place = Place::new();
    let parent = place.directory.parent().expect("it has one");
    fs::write(parent, "a file").expect("written");
    assert!(place.refusal().contains("Not a directory"));
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; the limited file size below covers it.
        return;
    }
    let place = Place::new();
    fs::create_dir_all(&place.directory).expect("made");
    fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o500)).expect("narrowed");
    assert!(place.refusal().contains("Permission denied"));
}

#[test]
fn a_lock_that_is_never_released_is_not_waited_for_for_ever() {
    let place = Place::new();
    let mut trail = place.open();
    let other = fs::File::open(&place.directory).expect("opened");
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let error = trail.commit(&Lines::default(), Durability::Now, noon());
    assert_eq!(
        error.map_err(|error| error.kind()),
        Err(std::io::ErrorKind::TimedOut)
    );
    rustix::fs::flock(&other, rustix::fs::FlockOperation::Unlock).expect("unlocked");
    append(&mut trail, "a", noon());
}

#[test]
fn a_deleted_file_is_noticed_and_the_next_one_says_so() {
    let place = Place::new();
    let mut trail = place.open();
    append(&mut trail, "a", noon());
    fs::remove_file(place.path(FIRST)).expect("deleted");
    append(&mut trail, "b", noon());
    assert_eq!(place.lines(SECOND), ["2 audit.replaced deleted", "3 b"]);
    assert!(!place.path(FIRST).exists());
}

#[test]
fn a_swapped_file_is_left_alone() {
    let check = |swap: &dyn Fn(&Path)| {
        let place = Place::new();
        let mut trail = place.open();
        append(&mut trail, "a", noon());
        fs::rename(place.path(FIRST), place.path("kept")).expect("moved");
        swap(&place.path(FIRST));
        append(&mut trail, "b", noon());
        append(&mut trail, "c", noon());
        let expected = ["2 audit.replaced replaced", "3 b", "4 c"];
        assert_eq!(place.lines(SECOND), expected);
    };
    check(&|path| fs::write(path, "{\"seq\":1}\n").expect("written"));
    check(&|path| fs::create_dir(path).expect("made"));
    check(&|path| std::os::unix::fs::symlink("/dev/zero", path).expect("made"));
    check(&|path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).expect("made");
    });
}

#[test]
fn a_cut_or_rewritten_file_is_noticed() {
    let place = Place::new();
    let mut trail = place.open();
    append(&mut trail, "a", noon());
    append(&mut trail, "b", noon());
    let text = place.text(FIRST);
    let first_line = text.split_inclusive('\n').next().expect("it has one");
    let file = OpenOptions::new()
        .write(true)
        .open(place.path(FIRST))
        .expect("opened");
    file.set_len(first_line.len() as u64).expect("cut");
    append(&mut trail, "c", noon());
    add(&place.path(FIRST), first_line);
    append(&mut trail, "d", noon());
    assert_eq!(
        place.lines(FIRST),
        [
            "1 a",
            "3 audit.replaced truncated",
            "4 c",
            "1 a",
            "5 audit.replaced rewritten",
            "6 d"
        ]
    );
}

#[test]
fn a_deleted_directory_is_made_again() {
    let place = Place::new();
    let mut trail = place.open();
    append(&mut trail, "a", noon());
    fs::remove_dir_all(&place.directory).expect("deleted");
    append(&mut trail, "b", noon());
    assert_eq!(place.lines(FIRST), ["2 audit.replaced directory", "3 b"]);
}

#[test]
fn a_torn_line_is_ended_and_the_recovery_recorded() {
    let place = Place::new();
    append(&mut place.open(), "a", noon());
    add(&place.path(FIRST), "{\"timestamp\":\"2026-02-02T12:00:");
    let mut trail = place.open();
    append(&mut trail, "b", noon());
    let expected = ["1 a", "malformed", "2 audit.recovered", "3 b"];
    assert_eq!(place.lines(FIRST), expected);
    // A crash of another writer, while this one goes on.
    add(&place.path(FIRST), "{");
    append(&mut trail, "c", noon());
    let lines = place.lines(FIRST);
    assert_eq!(lines[4..], ["malformed", "4 audit.recovered", "5 c"]);
}

#[test]
fn a_record_that_only_lacks_its_line_feed_keeps_its_number() {
    let place = Place::new();
    append(&mut place.open(), "a", noon());
    let text = place.text(FIRST);
    fs::write(place.path(FIRST), text.trim_end()).expect("written");
    append(&mut place.open(), "b", noon());
    assert_eq!(place.lines(FIRST), ["1 a", "2 audit.recovered", "3 b"]);
}

#[test]
fn two_writers_number_one_sequence() {
    let place = Place::new();
    let (mut one, mut other) = (place.open(), place.open());
    for action in ["a", "b"] {
        append(&mut one, action, noon());
        append(&mut other, action, noon());
    }
    assert_eq!(place.lines(FIRST), ["1 a", "2 a", "3 b", "4 b"]);
    // One moves to the next file; the other follows.
    fs::remove_file(place.path(FIRST)).expect("deleted");
    append(&mut one, "c", noon());
    append(&mut other, "d", noon());
    assert_eq!(
        place.lines(SECOND),
        [
            "5 audit.replaced deleted",
            "6 c",
            "7 audit.checkpoint",
            "8 d"
        ]
    );
}

#[test]
fn each_day_has_its_file_and_the_clock_may_go_back() {
    let place = Place::new();
    let mut trail = place.open();
    append(&mut trail, "a", noon());
    append(&mut trail, "b", noon() + TimeDelta::days(1));
    append(&mut trail, "c", noon());
    assert_eq!(place.lines(FIRST), ["1 a"]);
    assert_eq!(place.lines(NEXT_DAY), ["2 audit.checkpoint", "3 b", "4 c"]);
    append(&mut place.open(), "d", noon() + TimeDelta::days(1));
    assert_eq!(
        place.lines(NEXT_DAY),
        ["2 audit.checkpoint", "3 b", "4 c", "5 d"]
    );
}

#[test]
fn numbers_go_on_over_empty_and_foreign_files() {
    let place = Place::new();
    append(&mut place.open(), "a", noon());
    fs::write(place.path(SECOND), "").expect("written");
    fs::write(place.path("audit-2026-02-02.jsonl.gz"), "x").expect("written");
    fs::write(place.path("notes.txt"), "x").expect("written");
    append(&mut place.open(), "b", noon());
    assert_eq!(place.lines(SECOND), ["2 b"]);
}

#[test]
fn only_the_owner_may_read() {
    let place = Place::new();
    append(&mut place.open(), "a", noon());
    let mode = |path: &Path| {
        let metadata = fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&place.directory), 0o700);
    assert_eq!(mode(&place.path(FIRST)), 0o600);
    fs::set_permissions(place.path(FIRST), fs::Permissions::from_mode(0o644)).expect("widened");
    append(&mut place.open(), "b", noon());
    assert_eq!(mode(&place.path(FIRST)), 0o600);
}
