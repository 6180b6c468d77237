//! The processes that work for sessions, so that a later run can end what an earlier one left.

use config::contract::id::SessionId;
use sqlx::Row;

use super::{Store, StoreError, database, from_stored, to_stored};

/// One process; its start time tells it from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Clock ticks from the host's start to its own (`/proc/<pid>/stat`, field 22).
    pub started: u64,
}

impl Store {
    /// Remembers a process of a session.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remember_process(
        &self,
        id: &SessionId,
        process: Process,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT OR IGNORE INTO process (session, pid, started) \
             SELECT number, ?, ? FROM session WHERE id = ?",
        )
        .bind(process.pid)
        .bind(to_stored(process.started))
        .bind(id.as_str())
        .execute(&self.writer)
        .await
        .map(|_| ())
        .map_err(database("remember a process"))
    }

    /// Forgets the processes of a session, because all of them are gone.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_processes(&self, id: &SessionId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM process WHERE session = (SELECT number FROM session WHERE id = ?)")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(database("forget processes"))
    }

    /// Returns every remembered process.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn processes(&self) -> Result<Vec<Process>, StoreError> {
        const WHAT: &str = "list processes";
        sqlx::query("SELECT pid, started FROM process")
            .fetch_all(&self.writer)
            .await
            .map_err(database(WHAT))?
            .iter()
            .map(|row| {
                Ok(Process {
                    pid: from_stored("a process id", row.try_get("pid").map_err(database(WHAT))?)?,
                    started: from_stored(
                        "a start time",
                        row.try_get("started").map_err(database(WHAT))?,
                    )?,
                })
            })
            .collect()
    }
}
