//! How far a session has come, so that a later run of the runtime can carry it on.
//!
//! Invariant: only the newest run of the runtime on a store writes sessions; an older one that still
//! lives is refused.

use chrono::{DateTime, Utc};
use config::contract::id::SessionId;
use serde_json::json;
use sqlx::{Row, Sqlite, Transaction};

use super::{NewEvent, Store, StoreError, database, events, from_stored, malformed, to_stored};
use crate::clock;
use crate::session::stop;
use crate::session::verdict::Iteration;

impl Store {
    /// Remembers what an iteration came to; the newest outcome of a number counts.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_iteration(
        &self,
        id: &SessionId,
        number: u32,
        iteration: &Iteration,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "record an iteration";
        let outcome = serde_json::to_string(iteration)
            .map_err(|error| malformed("an iteration", error.to_string()))?;
        let mut transaction = self.begin(WHAT).await?;
        self.demand_newest(&mut transaction).await?;
        sqlx::query(
            "INSERT INTO iteration (session, number, outcome) \
             SELECT number, ?, ? FROM session WHERE id = ? \
             ON CONFLICT (session, number) DO UPDATE SET outcome = excluded.outcome",
        )
        .bind(number)
        .bind(outcome)
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?;
        sqlx::query("UPDATE session SET resumptions = 0 WHERE id = ?")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(database(WHAT))?;
        transaction.commit().await.map_err(database(WHAT))
    }

    /// Returns what a session's iterations came to, oldest first.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn iterations(&self, id: &SessionId) -> Result<Vec<Iteration>, StoreError> {
        const WHAT: &str = "read iterations";
        sqlx::query(
            "SELECT outcome FROM iteration \
             WHERE session = (SELECT number FROM session WHERE id = ?) ORDER BY number",
        )
        .bind(id.as_str())
        .fetch_all(&self.writer)
        .await
        .map_err(database(WHAT))?
        .iter()
        .map(|row| {
            let outcome: String = row.try_get("outcome").map_err(database(WHAT))?;
            serde_json::from_str(&outcome).map_err(|_| malformed("an iteration", outcome))
        })
        .collect()
    }

    /// Remembers that a session was asked to stop, so that no later run carries it on.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_stop(
        &self,
        id: &SessionId,
        request: &stop::Request,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(request)
            .map_err(|error| malformed("a request to stop", error.to_string()))?;
        sqlx::query("UPDATE session SET stop = coalesce(stop, ?) WHERE id = ?")
            .bind(text)
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map(drop)
            .map_err(database("record a request to stop"))
    }

    /// Counts that a session is carried on, and returns how often that was since its last whole
    /// iteration.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_resumption(&self, id: &SessionId) -> Result<u32, StoreError> {
        const WHAT: &str = "count a resumption";
        let count: i64 = sqlx::query_scalar(
            "UPDATE session SET resumptions = resumptions + 1 WHERE id = ? RETURNING resumptions",
        )
        .bind(id.as_str())
        .fetch_one(&self.writer)
        .await
        .map_err(database(WHAT))?;
        from_stored("a number of resumptions", count)
    }

    /// Remembers what a person said to a session's agent, together with its event.
    ///
    /// # Errors
    /// When the session is not stored, or the database refuses.
    pub async fn add_input(
        &self,
        id: &SessionId,
        author: &str,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const WHAT: &str = "record an input";
        let mut transaction = self.begin(WHAT).await?;
        let event = NewEvent::new("input", json!({ "from": author, "text": text }));
        let stored = self
            .insert_events(&mut transaction, id, vec![event], now)
            .await?;
        sqlx::query(
            "INSERT INTO input (session, number, author, text, created_at) \
             SELECT number, (SELECT count(*) + 1 FROM input WHERE session = session.number), ?, ?, ? \
             FROM session WHERE id = ?",
        )
        .bind(author)
        .bind(text)
        .bind(clock::written(now))
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?;
        transaction.commit().await.map_err(database(WHAT))?;
        self.count(stored.len());
        Ok(())
    }

    /// Returns what people said to a session's agent, oldest first, each with who said it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn inputs(&self, id: &SessionId) -> Result<Vec<(String, String)>, StoreError> {
        const WHAT: &str = "read inputs";
        sqlx::query(
            "SELECT author, text FROM input \
             WHERE session = (SELECT number FROM session WHERE id = ?) ORDER BY number",
        )
        .bind(id.as_str())
        .fetch_all(&self.writer)
        .await
        .map_err(database(WHAT))?
        .iter()
        .map(|row| {
            let author = row.try_get("author").map_err(database(WHAT))?;
            Ok((author, row.try_get("text").map_err(database(WHAT))?))
        })
        .collect()
    }

    /// Returns the sessions that ended before a time, oldest first, a bounded number.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn ended_before(&self, time: &str) -> Result<Vec<SessionId>, StoreError> {
        const WHAT: &str = "list old sessions";
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM session WHERE ended_at < ? ORDER BY number LIMIT 1000",
        )
        .bind(time)
        .fetch_all(&self.writer)
        .await
        .map_err(database(WHAT))?;
        ids.into_iter()
            .map(|id| id.parse().map_err(|_| malformed("a session id", id)))
            .collect()
    }

    /// Forgets an ended session with everything that belongs to it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_session(&self, id: &SessionId) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM session WHERE id = ? \
             AND state IN ('completed', 'failed', 'stopped', 'expired')",
        )
        .bind(id.as_str())
        .execute(&self.writer)
        .await
        .map(drop)
        .map_err(database("remove a session"))
    }

    /// Begins a new generation: from now on no older run writes.
    pub(super) async fn begin_generation(&mut self) -> Result<(), StoreError> {
        let generation: i64 = sqlx::query_scalar(
            "UPDATE counter SET value = value + 1 WHERE name = 'generation' RETURNING value",
        )
        .fetch_one(&self.writer)
        .await
        .map_err(database("begin a generation"))?;
        self.generation = from_stored("a generation", generation)?;
        Ok(())
    }

    /// Refuses to go on if a newer run has taken the store over.
    pub(super) async fn demand_newest(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
    ) -> Result<(), StoreError> {
        let newest: i64 = sqlx::query_scalar("SELECT value FROM counter WHERE name = 'generation'")
            .fetch_one(&mut **transaction)
            .await
            .map_err(database("compare generations"))?;
        if newest == to_stored(self.generation) {
            Ok(())
        } else {
            Err(StoreError::Superseded)
        }
    }

    /// Stores events within a transaction, if this run is the newest.
    pub(super) async fn insert_events(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        id: &SessionId,
        happened: Vec<NewEvent>,
        now: DateTime<Utc>,
    ) -> Result<Vec<config::contract::session::SessionEvent>, StoreError> {
        self.demand_newest(transaction).await?;
        events::insert(transaction, id, happened, now).await
    }
}
