//! A session's events in the store: numbered from 1 without a gap, in the order of their commits.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use config::contract::id::SessionId;
use config::contract::session::{SessionEvent, SessionEvents};
use serde_json::Value;
use sqlx::{Row, Sqlite, Transaction};
use tokio::sync::watch;

use super::sessions::state;
use super::{Store, StoreError, database, from_stored, malformed, to_stored};
use crate::clock;

/// Something that happened in a session, before it has a number.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The kind: `state`, `output`, `commit`, `verification`, `hand_off` or `note`.
    pub kind: &'static str,
    /// The facts.
    pub data: Value,
}

impl NewEvent {
    /// Builds an event.
    #[must_use]
    pub const fn new(kind: &'static str, data: Value) -> Self {
        Self { kind, data }
    }
}

impl Store {
    /// Stores what happened in a session without a change of the session itself.
    ///
    /// # Errors
    /// When the session is not stored, or the database refuses; then nothing is stored.
    pub async fn append(
        &self,
        id: &SessionId,
        happened: Vec<NewEvent>,
        now: DateTime<Utc>,
    ) -> Result<Vec<SessionEvent>, StoreError> {
        const WHAT: &str = "record events";
        let mut transaction = self.begin(WHAT).await?;
        let events = self
            .insert_events(&mut transaction, id, happened, now)
            .await?;
        transaction.commit().await.map_err(database(WHAT))?;
        self.count(events.len());
        Ok(events)
    }

    /// Returns at most `limit` events after number `after`, oldest first, and where the session
    /// stands; nothing if it is not stored.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn events(
        &self,
        id: &SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Option<SessionEvents>, StoreError> {
        const WHAT: &str = "read events";
        // One snapshot, so that a final state is never shown before the events that led to it.
        let mut snapshot = self.readers.begin().await.map_err(database(WHAT))?;
        let Some(session) = sqlx::query("SELECT number, state FROM session WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&mut *snapshot)
            .await
            .map_err(database(WHAT))?
        else {
            return Ok(None);
        };
        let number: i64 = session.try_get("number").map_err(database(WHAT))?;
        let name: String = session.try_get("state").map_err(database(WHAT))?;
        let rows = sqlx::query(
            "SELECT seq, timestamp, kind, data FROM event \
             WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(number)
        .bind(to_stored(after))
        .bind(limit)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(database(WHAT))?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let data: String = row.try_get("data").map_err(database(WHAT))?;
            events.push(SessionEvent {
                seq: from_stored(
                    "an event's number",
                    row.try_get("seq").map_err(database(WHAT))?,
                )?,
                timestamp: row.try_get("timestamp").map_err(database(WHAT))?,
                kind: row.try_get("kind").map_err(database(WHAT))?,
                data: serde_json::from_str(&data).map_err(|_| malformed("an event", data))?,
            });
        }
        Ok(Some(SessionEvents {
            events,
            state: state(&name)?,
        }))
    }

    /// Returns how many events were ever recorded.
    #[must_use]
    pub fn events_total(&self) -> u64 {
        self.events_total.load(Ordering::Relaxed)
    }

    /// Returns the number of a session's last event; 0 if there is none.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn last_event(&self, id: &SessionId) -> Result<u64, StoreError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT events FROM session WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("read the last event"))?;
        from_stored("an event's number", last.unwrap_or(0))
    }

    /// Returns what changes whenever events were stored, of whichever session.
    #[must_use]
    pub fn watch_events(&self) -> watch::Receiver<()> {
        self.stored.subscribe()
    }

    pub(super) async fn stored_events_total(&self) -> Result<u64, StoreError> {
        let total: i64 = sqlx::query_scalar("SELECT value FROM counter WHERE name = 'events'")
            .fetch_one(&self.writer)
            .await
            .map_err(database("count events"))?;
        from_stored("the number of events", total)
    }

    pub(super) fn count(&self, events: usize) {
        self.events_total
            .fetch_add(events as u64, Ordering::Relaxed);
        self.stored.send_replace(());
    }
}

/// Stores events within a transaction and returns them with their numbers.
pub(super) async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    id: &SessionId,
    happened: Vec<NewEvent>,
    now: DateTime<Utc>,
) -> Result<Vec<SessionEvent>, StoreError> {
    const WHAT: &str = "record events";
    let count = to_stored(happened.len() as u64);
    let row =
        sqlx::query("UPDATE session SET events = events + ? WHERE id = ? RETURNING number, events")
            .bind(count)
            .bind(id.as_str())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(database(WHAT))?
            .ok_or_else(|| StoreError::NotInState(id.clone()))?;
    let number: i64 = row.try_get("number").map_err(database(WHAT))?;
    let last: i64 = row.try_get("events").map_err(database(WHAT))?;
    sqlx::query("UPDATE counter SET value = value + ? WHERE name = 'events'")
        .bind(count)
        .execute(&mut **transaction)
        .await
        .map_err(database(WHAT))?;
    let timestamp = clock::written(now);
    let mut events = Vec::with_capacity(happened.len());
    for (seq, event) in (last - count + 1..).zip(happened) {
        sqlx::query(
            "INSERT INTO event (session, seq, timestamp, kind, data) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(number)
        .bind(seq)
        .bind(&timestamp)
        .bind(event.kind)
        .bind(event.data.to_string())
        .execute(&mut **transaction)
        .await
        .map_err(database(WHAT))?;
        events.push(SessionEvent {
            seq: from_stored("an event's number", seq)?,
            timestamp: timestamp.clone(),
            kind: event.kind.to_owned(),
            data: event.data,
        });
    }
    Ok(events)
}
