use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::scope::Role;
use config::home::Home;
use config::private;
use tempfile::TempDir;

use super::{Change, ChangeError};
use crate::tokens::bounds::Bounds;
use crate::tokens::format::FreshToken;
use crate::tokens::journal;
use crate::tokens::record::{Permission, Standing, TokenRecord, Wanted};
use crate::tokens::select::{NotSelected, Selector};
use crate::tokens::store::{StoreError, load};

fn home() -> (TempDir, Home) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let home = Home::new(directory.path().join(".loki"));
    (directory, home)
}

fn now() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().expect("a time")
}

fn wanted(name: &str, days: Option<&str>) -> Wanted {
    Wanted {
        name: name.parse().expect("a name"),
        permission: Permission::new(None, Some(Role::Viewer)).expect("agreement"),
        expiry: days.map(|days| days.parse().expect("days")),
        description: None,
        bounds: Bounds::default(),
    }
}

fn add(
    home: &Home,
    name: &str,
    days: Option<&str>,
) -> Result<(FreshToken, TokenRecord), ChangeError> {
    let mut change = Change::begin(home)?;
    let made = change.add(wanted(name, days), "local:test", now())?;
    change.commit()?;
    Ok(made)
}

fn selector(text: &str) -> Selector {
    let Ok(selector) = text.parse();
    selector
}

fn revoke(home: &Home, text: &str, at: DateTime<Utc>) -> Result<TokenRecord, ChangeError> {
    let mut change = Change::begin(home)?;
    let record = change.revoke(&selector(text), "local:test", at)?;
    change.commit()?;
    Ok(record)
}

fn write_private(home: &Home, text: &str) {
    private::create_closed_directory(&home.dashboard()).expect("directory");
    fs::write(home.tokens(), text).expect("write");
    fs::set_permissions(home.tokens(), fs::Permissions::from_mode(0o600)).expect("chmod");
}

#[test]
fn damaged_files_are_refused_by_position_and_left_alone() {
    let check = |text: &str, line: usize| {
        let (_directory, home) = home();
        write_private(&home, text);
        match add(&home, "new", None).err() {
            Some(ChangeError::Store(StoreError::Malformed {
                path, line: found, ..
            })) => {
                assert_eq!((path, found), (home.tokens(), line), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
        assert_eq!(fs::read_to_string(home.tokens()).expect("read"), text);
    };
    check("", 1);
    check("[]", 1);
    check("{\"version\":1", 1);
    check("{\"version\":1,\"tokens\":[\n{\"id\":\"tok-1\"}\n]}", 2);
    check("{\"version\":1,\"tokens\":{}}", 1);
    check("{\"version\":1,\"tokens\":[],\"more\":1}", 1);
    check("{\"version\":1,\n\"tokens\":[]}\n{}", 3);
}

#[test]
fn a_record_with_an_unknown_field_is_refused() {
    let (_directory, home) = home();
    add(&home, "ci-bot", None).expect("a token");
    let text = fs::read_to_string(home.tokens()).expect("read");
    write_private(
        &home,
        &text.replace("\"name\":", "\"allowed_hours\":[],\"name\":"),
    );
    assert!(matches!(
        load(&home),
        Err(StoreError::Malformed { line: 2, .. })
    ));
}

#[test]
fn another_version_is_refused() {
    let (_directory, home) = home();
    write_private(&home, "{\"version\":2,\"something\":{}}");
    assert!(matches!(
        load(&home),
        Err(StoreError::OtherVersion { version: 2, .. })
    ));
}

#[test]
fn files_open_to_others_and_links_are_refused() {
    let (_directory, home) = home();
    add(&home, "ci-bot", None).expect("a token");
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(home.tokens(), fs::Permissions::from_mode(mode)).expect("chmod");
        let error = add(&home, "other", None).expect_err("too open");
        let shown = error.to_string();
        assert!(shown.contains(&format!("mode {mode:04o}")), "{shown}");
        assert!(shown.contains("chmod 600"), "{shown}");
    }
    fs::set_permissions(home.tokens(), fs::Permissions::from_mode(0o600)).expect("chmod");
    let moved = home.dashboard().join("elsewhere.json");
    fs::rename(home.tokens(), &moved).expect("rename");
    symlink(&moved, home.tokens()).expect("link");
    assert!(matches!(load(&home), Err(StoreError::Io { .. })));
}

#[test]
fn a_damaged_journal_is_refused() {
    let (_directory, home) = home();
    add(&home, "ci-bot", None).expect("a token");
    revoke(&home, "ci-bot", now()).expect("revoked");
    let mut text = fs::read_to_string(home.revocations()).expect("read");
    text.push_str("{\"generation\":9}\n");
    fs::write(home.revocations(), text).expect("write");
    assert!(matches!(
        load(&home),
        Err(StoreError::Malformed { line: 2, .. })
    ));
}

#[test]
fn an_active_name_is_not_given_twice() {
    let (_directory, home) = home();
    let (_, first) = add(&home, "ci-bot", Some("30")).expect("a token");
    match add(&home, "ci-bot", None).err() {
        Some(ChangeError::NameTaken { name, id }) => {
            assert_eq!((name.as_str(), id), ("ci-bot", first.id));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_and_ambiguous_selections_are_refused() {
    let (_directory, home) = home();
    for text in ["ci-bot", "tok-abcd1234", "", "tok-"] {
        assert!(
            matches!(
                revoke(&home, text, now()),
                Err(ChangeError::NotSelected(NotSelected::Nothing(_)))
            ),
            "{text}"
        );
    }
    add(&home, "ci-bot", None).expect("a token");
    revoke(&home, "ci-bot", now()).expect("revoked");
    add(&home, "ci-bot", None).expect("the name is free again");
    let mut change = Change::begin(&home).expect("lock");
    assert!(matches!(
        change.delete(&selector("ci-bot"), "local:test", now()),
        Err(ChangeError::NotSelected(NotSelected::Several { candidates, .. })) if candidates.len() == 2
    ));
}

#[test]
fn an_expired_name_can_be_reused() {
    let (_directory, home) = home();
    add(&home, "ci-bot", Some("1")).expect("a token");
    let mut change = Change::begin(&home).expect("lock");
    let later = now() + TimeDelta::days(1);
    change
        .add(wanted("ci-bot", None), "local:test", later)
        .expect("the name is free again");
}

#[test]
fn a_name_selects_the_active_token_for_revocation() {
    let (_directory, home) = home();
    add(&home, "ci-bot", None).expect("a token");
    let first = revoke(&home, "ci-bot", now()).expect("revoked");
    let (_, second) = add(&home, "ci-bot", None).expect("a token");
    let revoked = revoke(&home, "ci-bot", now()).expect("revoked");
    assert_ne!(first.id, second.id);
    assert_eq!(revoked.id, second.id);
}

#[test]
fn revoking_again_keeps_the_first_time_and_tells_again() {
    let (_directory, home) = home();
    add(&home, "ci-bot", None).expect("a token");
    let first = revoke(&home, "ci-bot", now()).expect("revoked");
    let again = revoke(&home, "ci-bot", now() + TimeDelta::hours(1)).expect("revoked");
    assert_eq!(first, again);
    let entries = journal::read(&home).expect("journal");
    let generations: Vec<u64> = entries.iter().map(|entry| entry.generation).collect();
    assert_eq!(generations, [2, 3]);
}

#[test]
fn the_journal_revokes_although_the_file_was_put_back() {
    let (_directory, home) = home();
    add(&home, "ci-bot", None).expect("a token");
    let before = fs::read_to_string(home.tokens()).expect("read");
    revoke(&home, "ci-bot", now()).expect("revoked");
    write_private(&home, &before);
    let stored = load(&home).expect("loaded");
    assert_eq!(stored.records[0].standing(now()), Standing::Revoked);
    add(&home, "other", None).expect("a token");
    assert_eq!(load(&home).expect("loaded").generation, 3);
}

#[test]
fn a_torn_journal_line_is_dropped_by_the_next_writer() {
    let (_directory, home) = home();
    add(&home, "one", None).expect("a token");
    add(&home, "two", None).expect("a token");
    revoke(&home, "one", now()).expect("revoked");
    let mut text = fs::read_to_string(home.revocations()).expect("read");
    text.push_str("{\"generation\":3,\"id\":\"tok-");
    fs::write(home.revocations(), &text).expect("write");
    revoke(&home, "two", now()).expect("revoked");
    assert_eq!(journal::read(&home).expect("journal").len(), 2);
}

#[test]
fn a_long_journal_is_compacted_and_revocations_stay() {
    let (_directory, home) = home();
    add(&home, "one", None).expect("a token");
    let mut change = Change::begin(&home).expect("lock");
    for _ in 0..12_000 {
        change
            .revoke(&selector("one"), "local:test", now())
            .expect("revoked");
    }
    let generation = change.commit().expect("commit");
    let entries = journal::read(&home).expect("journal");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].generation, generation);
    let stored = load(&home).expect("loaded");
    assert_eq!(stored.records[0].standing(now()), Standing::Revoked);
}

#[test]
fn a_stored_token_reads_back_without_the_token() {
    let (_directory, home) = home();
    let (fresh, record) = add(&home, "it's a \"test\" 名", Some("30")).expect("a token");
    let stored = load(&home).expect("loaded");
    assert_eq!(stored.records, [record]);
    let text = fs::read_to_string(home.tokens()).expect("read");
    assert!(!text.contains(&fresh.raw().expose()[5..]));
    assert!(text.contains(&fresh.raw().digest().to_string()));
    let mode = |path: std::path::PathBuf| {
        fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    };
    assert_eq!(mode(home.tokens()), 0o600);
    assert_eq!(mode(home.dashboard()), 0o700);
}

#[test]
fn eight_writers_at_once_lose_nothing() {
    let (_directory, home) = home();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (home, start) = (&home, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..8 {
                    let name = format!("bot-{writer}-{number}");
                    add(home, &name, None).expect("a token");
                    if number % 2 == 0 {
                        revoke(home, &name, now()).expect("revoked");
                    }
                }
            });
        }
    });
    let stored = load(&home).expect("loaded");
    assert_eq!(stored.records.len(), 64);
    assert_eq!(stored.generation, 96);
    let revoked = stored
        .records
        .iter()
        .filter(|record| record.standing(now()) == Standing::Revoked);
    assert_eq!(revoked.count(), 32);
    assert_eq!(journal::read(&home).expect("journal").len(), 32);
}
