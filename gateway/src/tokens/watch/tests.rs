use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use chrono::{DateTime, Utc};
use config::home::Home;
use config::private;
use tempfile::TempDir;

use super::{Notice, TokenWatch};
use crate::tokens::acknowledge::{Awaited, Unconfirmed, wait};
use crate::tokens::bounds::Bounds;
use crate::tokens::change::Change;
use crate::tokens::format::FreshToken;
use crate::tokens::index::Rejected;
use crate::tokens::record::{Permission, Wanted};
use crate::tokens::select::Selector;
use crate::tokens::store::StoreError;

struct Watched {
    _directory: TempDir,
    home: Home,
    watch: TokenWatch,
    notices: Receiver<Notice>,
}

fn now() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().expect("a time")
}

fn watched() -> Watched {
    let directory = tempfile::tempdir().expect("temporary directory");
    let home = Home::new(directory.path().join(".loki"));
    let (sender, notices) = channel();
    let watch = TokenWatch::start(&home, move |notice| drop(sender.send(notice)));
    Watched {
        _directory: directory,
        home,
        watch: watch.expect("started"),
        notices,
    }
}

impl Watched {
    fn add(&self, name: &str) -> FreshToken {
        let mut change = Change::begin(&self.home).expect("lock");
        let wanted = Wanted {
            name: name.parse().expect("a name"),
            permission: Permission::new(None, None).expect("agreement"),
            expiry: None,
            description: None,
            bounds: Bounds::default(),
        };
        let (fresh, _) = change.add(wanted, "local:test", now()).expect("a token");
        let generation = change.commit().expect("commit");
        wait(&self.home, Awaited::Addition(generation)).expect("applied");
        fresh
    }

    fn change(&self, act: impl FnOnce(&mut Change, &Selector), name: &str) {
        let mut change = Change::begin(&self.home).expect("lock");
        let Ok(selector) = name.parse();
        act(&mut change, &selector);
        let generation = change.commit().expect("commit");
        wait(&self.home, Awaited::Revocation(generation)).expect("applied");
    }

    fn revoke(&self, name: &str) {
        self.change(
            |change, selector| {
                change
                    .revoke(selector, "local:test", now())
                    .expect("revoked");
            },
            name,
        );
    }

    fn found(&self, token: &FreshToken) -> Result<String, Rejected> {
        let index = self.watch.index().load_full();
        let record = index.find(&token.raw(), now())?;
        Ok(record.name.to_string())
    }

    fn failure(&self) -> StoreError {
        loop {
            let notice = self.notices.recv_timeout(Duration::from_secs(30));
            match notice.expect("a failure is reported") {
                Notice::Failed(error) => return error,
                Notice::Reloaded { .. } => {}
            }
        }
    }
}

#[test]
fn a_gateway_does_not_start_on_a_damaged_file() {
    let watched = watched();
    watched.add("ci-bot");
    fs::write(watched.home.tokens(), "{").expect("write");
    assert!(TokenWatch::start(&watched.home, |_| {}).is_err());
}

#[test]
fn a_revoked_token_is_refused_once_the_wait_is_over() {
    let watched = watched();
    let token = watched.add("ci-bot");
    assert_eq!(watched.found(&token), Ok("ci-bot".to_owned()));
    watched.revoke("ci-bot");
    assert!(matches!(watched.found(&token), Err(Rejected::Revoked(..))));
}

#[test]
fn a_deleted_token_is_refused_once_the_wait_is_over() {
    let watched = watched();
    let token = watched.add("ci-bot");
    watched.change(
        |change, selector| {
            change
                .delete(selector, "local:test", now())
                .expect("deleted");
        },
        "ci-bot",
    );
    assert!(watched.found(&token).is_err());
}

#[test]
fn a_damaged_file_keeps_the_last_good_one_and_revocations_apply() {
    let watched = watched();
    let kept = watched.add("kept");
    let lost = watched.add("lost");
    let good = fs::read(watched.home.tokens()).expect("read");
    fs::write(watched.home.tokens(), "{").expect("write");
    assert!(matches!(watched.failure(), StoreError::Malformed { .. }));
    assert_eq!(watched.found(&kept), Ok("kept".to_owned()));

    // A revocation reaches the journal first; here a copy of the folder stands for the command.
    let other = tempfile::tempdir().expect("temporary directory");
    let other = Home::new(other.path().join(".loki"));
    fs::create_dir_all(other.dashboard()).expect("directory");
    fs::write(other.tokens(), good).expect("write");
    fs::set_permissions(other.tokens(), fs::Permissions::from_mode(0o600)).expect("chmod");
    let mut change = Change::begin(&other).expect("lock");
    let Ok(selector) = "lost".parse();
    change
        .revoke(&selector, "local:test", now())
        .expect("revoked");
    let generation = change.commit().expect("commit");
    fs::copy(other.revocations(), watched.home.revocations()).expect("copy");
    wait(&watched.home, Awaited::Revocation(generation)).expect("applied");
    assert!(matches!(watched.found(&lost), Err(Rejected::Revoked(..))));
    assert_eq!(watched.found(&kept), Ok("kept".to_owned()));
}

#[test]
fn nothing_is_acknowledged_from_a_compacted_journal_before_the_token_file_is_read() {
    let watched = watched();
    let lost = watched.add("lost");
    watched.add("other");
    watched.revoke("other");
    // The file of the next state is made beside it; the present one cannot be read meanwhile.
    let beside = tempfile::tempdir().expect("temporary directory");
    let beside = Home::new(beside.path().join(".loki"));
    fs::create_dir_all(beside.dashboard()).expect("directory");
    for (from, to) in [
        (watched.home.tokens(), beside.tokens()),
        (watched.home.revocations(), beside.revocations()),
    ] {
        fs::copy(from, &to).expect("copy");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    let mut change = Change::begin(&beside).expect("lock");
    for name in ["lost", "other"] {
        let Ok(selector) = name.parse();
        change
            .revoke(&selector, "local:test", now())
            .expect("revoked");
    }
    let generation = change.commit().expect("commit");
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(watched.home.tokens(), open).expect("chmod");
    // What compacting leaves of the journal: the newest entry alone, which is not about "lost".
    let journal = fs::read_to_string(beside.revocations()).expect("journal");
    let newest = journal.lines().last().expect("an entry");
    private::replace_file(
        &watched.home.revocations(),
        format!("{newest}\n").as_bytes(),
    )
    .expect("replaced");
    assert!(matches!(watched.failure(), StoreError::TooOpen { .. }));
    let early = wait(&watched.home, Awaited::Revocation(generation));
    assert!(matches!(early, Err(Unconfirmed::Silent(_))), "{early:?}");
    private::replace_file(
        &watched.home.tokens(),
        &fs::read(beside.tokens()).expect("the next state"),
    )
    .expect("replaced");
    wait(&watched.home, Awaited::Revocation(generation)).expect("applied");
    assert!(matches!(watched.found(&lost), Err(Rejected::Revoked(..))));
}

#[test]
fn a_removed_file_means_no_tokens() {
    let watched = watched();
    let token = watched.add("ci-bot");
    while watched.notices.try_recv().is_ok() {}
    fs::remove_file(watched.home.tokens()).expect("removed");
    let notice = watched.notices.recv_timeout(Duration::from_secs(30));
    assert!(matches!(
        notice.expect("reported"),
        Notice::Reloaded { generation: 0 }
    ));
    assert_eq!(watched.found(&token), Err(Rejected::Unknown));
}
