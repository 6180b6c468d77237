//! Keys under which a start may be asked for again: whoever does gets the session that there is.

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::session::SessionView;
use sqlx::{Row, Sqlite, Transaction};

use super::{NewSession, Store, StoreError, database, sessions};
use crate::clock;

/// A key of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartKey {
    /// What the caller calls it.
    pub key: String,
    /// A digest of what was asked for.
    pub digest: String,
}

impl Store {
    /// Returns the session that a principal has started under a key within a day, with the digest of
    /// what was asked for.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn started_under(
        &self,
        principal: &str,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(SessionView, String)>, StoreError> {
        const WHAT: &str = "look up the key of a start";
        let row = sqlx::query(
            "SELECT session.*, start_key.digest AS start_digest FROM start_key \
             JOIN session ON session.number = start_key.session \
             WHERE start_key.principal = ? AND start_key.key = ? AND start_key.created_at >= ?",
        )
        .bind(principal)
        .bind(key)
        .bind(oldest(now))
        .fetch_optional(&self.writer)
        .await
        .map_err(database(WHAT))?;
        row.map(|row| {
            let digest = row.try_get("start_digest").map_err(database(WHAT))?;
            Ok((sessions::view(&row)?, digest))
        })
        .transpose()
    }
}

/// Remembers a key within the transaction that makes its session; fails if it is in use.
pub(super) async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    session: &NewSession,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    const WHAT: &str = "remember the key of a start";
    let Some(start_key) = &session.start_key else {
        return Ok(());
    };
    sqlx::query("DELETE FROM start_key WHERE created_at < ?")
        .bind(oldest(now))
        .execute(&mut **transaction)
        .await
        .map_err(database(WHAT))?;
    sqlx::query(
        "INSERT INTO start_key (principal, key, digest, session, created_at) \
         SELECT ?, ?, ?, number, ? FROM session WHERE id = ?",
    )
    .bind(&session.principal)
    .bind(&start_key.key)
    .bind(&start_key.digest)
    .bind(clock::written(now))
    .bind(session.view.id.as_str())
    .execute(&mut **transaction)
    .await
    .map(drop)
    .map_err(database(WHAT))
}

fn oldest(now: DateTime<Utc>) -> String {
    clock::written(now - TimeDelta::hours(KEPT_HOURS))
}

const KEPT_HOURS: i64 = 24;
