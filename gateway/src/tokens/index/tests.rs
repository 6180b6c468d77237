use chrono::{DateTime, TimeDelta, Utc};
use config::home::Home;

use super::{Index, Rejected};
use crate::tokens::bounds::Bounds;
use crate::tokens::change::Change;
use crate::tokens::format::FreshToken;
use crate::tokens::journal::{Entry, Target};
use crate::tokens::record::{Permission, TokenRecord, Wanted};
use crate::tokens::store::Stored;

fn now() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().expect("a time")
}

/// Adds a token that lives 30 days.
fn add(change: &mut Change, name: &str) -> (FreshToken, TokenRecord) {
    let wanted = Wanted {
        name: name.parse().expect("a name"),
        permission: Permission::new(None, None).expect("agreement"),
        expiry: Some("30".parse().expect("days")),
        description: None,
        bounds: Bounds::default(),
    };
    change.add(wanted, "local:test", now()).expect("a token")
}

fn one() -> (FreshToken, TokenRecord, Index) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let home = Home::new(directory.path().join(".loki"));
    let mut change = Change::begin(&home).expect("lock");
    let (fresh, record) = add(&mut change, "ci-bot");
    change.commit().expect("commit");
    (fresh, record, Index::load(&home).expect("loaded"))
}

fn entry(record: &TokenRecord, generation: u64) -> Entry {
    Entry {
        generation,
        target: Target::Token(record.id.clone()),
        revoked_at: now(),
        revoked_by: "local:test".to_owned(),
    }
}

#[test]
fn an_unknown_token_is_rejected() {
    let (_, _, index) = one();
    let other = FreshToken::generate().expect("randomness");
    assert_eq!(index.find(&other.raw(), now()), Err(Rejected::Unknown));
    assert_eq!(
        Index::default().find(&other.raw(), now()),
        Err(Rejected::Unknown)
    );
}

#[test]
fn a_token_is_rejected_from_its_expiry_on() {
    let (fresh, record, index) = one();
    let expiry = now() + TimeDelta::days(30);
    let expired = Err(Rejected::Expired(record.id.clone(), "ci-bot".to_owned()));
    assert_eq!(index.find(&fresh.raw(), expiry), expired);
    assert_eq!(
        index.find(&fresh.raw(), expiry - TimeDelta::milliseconds(1)),
        Ok(&record)
    );
}

#[test]
fn a_revocation_rejects_whatever_the_file_says_later() {
    let (fresh, record, index) = one();
    let revoked = Err(Rejected::Revoked(record.id.clone(), "ci-bot".to_owned()));
    let index = index.with_revoked(&[entry(&record, 7)]);
    assert_eq!(index.find(&fresh.raw(), now()), revoked);
    let index = index.with_stored(Stored {
        generation: 1,
        records: vec![record],
        withdrawals: Vec::new(),
    });
    assert_eq!(index.find(&fresh.raw(), now()), revoked);
    assert_eq!((index.generation(), index.file_generation()), (7, 1));
}

#[test]
fn the_generation_never_falls() {
    let (_, record, index) = one();
    let index = index
        .with_revoked(&[entry(&record, 7)])
        .with_revoked(&[entry(&record, 3)]);
    assert_eq!(index.generation(), 7);
}

#[test]
fn one_of_many_tokens_is_found() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let home = Home::new(directory.path().join(".loki"));
    let mut change = Change::begin(&home).expect("lock");
    let made: Vec<_> = (0..500)
        .map(|number| add(&mut change, &format!("bot-{number}")))
        .collect();
    change.commit().expect("commit");
    let index = Index::load(&home).expect("loaded");
    assert_eq!(index.active(now()), made.len());
    for (fresh, record) in &made {
        assert_eq!(index.find(&fresh.raw(), now()), Ok(record));
    }
}
