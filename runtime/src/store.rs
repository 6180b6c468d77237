//! What the runtime remembers: one SQLite file that only its owner may touch.
//!
//! Invariant: when a write returns, it is on disk (write-ahead log, synchronous full); a session's
//! state changes only by a [`Move`](crate::session::state::Move), compared with what is stored. No
//! other module speaks SQL.

mod approvals;
mod board;
mod episodes;
mod events;
mod learnings;
mod processes;
mod progress;
mod projects;
mod sandboxes;
mod sessions;
mod start_keys;
mod tasks;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::contract::id::SessionId;
use config::private;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::watch;

pub use approvals::{Decider, NewApproval, StoredApproval};
pub use board::BoardCount;
pub use events::NewEvent;
pub use learnings::{Learned, LearningQuestion, any_word, words};
pub use processes::Process;
pub use projects::{NewProject, Remembered, folder_name};
pub use sessions::{NewSession, Unfinished};
pub use start_keys::StartKey;
pub use tasks::{TaskQuestion, status_of};

/// The runtime's memory; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: writes queue here, in order.
    writer: SqlitePool,
    readers: SqlitePool,
    events_total: Arc<AtomicU64>,
    /// Changes whenever events were stored.
    stored: watch::Sender<()>,
    /// Rises with every run on this store; an older run is refused.
    generation: u64,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be made private.
    #[error("cannot prepare store {path}: {source}")]
    File {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a store of a version that this program knows.
    #[error("cannot bring store {path} up to date: {source}")]
    Migration {
        /// The store's file.
        path: PathBuf,
        /// What went wrong.
        source: sqlx::migrate::MigrateError,
    },
    /// The database refused.
    #[error("cannot {what}: {source}")]
    Database {
        /// What was to be done.
        what: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The session is not stored, or not in the state that the move starts from.
    #[error("cannot record session {0}: it is not stored in the expected state")]
    NotInState(SessionId),
    /// A newer run of the runtime works on this store.
    #[error("cannot write the store: a newer run of the runtime has taken it over; end this one")]
    Superseded,
    /// A stored value is not of the known shape.
    #[error("cannot read {what} from the store: {text:?} is malformed")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What stood there.
        text: String,
    },
}

impl Store {
    /// Opens the store at `path`, making it (mode 0600, in a folder of mode 0700) if it is not there.
    ///
    /// # Errors
    /// When it cannot be made private, opened, or brought up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::File {
            path: path.to_owned(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await
            .map_err(database("open the store"))?;
        sqlx::migrate!("./migrations")
            .run(&writer)
            .await
            .map_err(|source| StoreError::Migration {
                path: path.to_owned(),
                source,
            })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true))
            .await
            .map_err(database("open the store for reading"))?;
        let mut store = Self {
            writer,
            readers,
            events_total: Arc::default(),
            stored: watch::Sender::new(()),
            generation: 0,
        };
        store.begin_generation().await?;
        let total = store.stored_events_total().await?;
        store.events_total.store(total, Ordering::Relaxed);
        Ok(store)
    }

    /// Returns whether the store answers within a second.
    pub async fn is_answering(&self) -> bool {
        let asked = sqlx::query("SELECT 1").execute(&self.readers);
        matches!(
            tokio::time::timeout(Duration::from_secs(1), asked).await,
            Ok(Ok(_))
        )
    }

    /// Begins to write: the lock is taken before anything is read, so that whoever else writes is
    /// waited for and what was read still holds when it is acted upon.
    async fn begin(&self, what: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(database(what))
    }

    /// Closes the store after the writes under way.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the file before SQLite does, so that it and what SQLite puts beside it are the owner's alone.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        private::create_closed_directory(directory)?;
    }
    let file = private::append_file(path)?;
    let mut permissions = file.metadata()?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    file.set_permissions(permissions)
}

fn database(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { what, source }
}

fn malformed(what: &'static str, text: impl Into<String>) -> StoreError {
    StoreError::Malformed {
        what,
        text: text.into().chars().take(200).collect(),
    }
}

/// SQLite's numbers are signed; what we count never reaches the sign.
fn to_stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_stored<T: TryFrom<i64>>(what: &'static str, number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| malformed(what, number.to_string()))
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const READERS_MAX: u32 = 4;

#[cfg(test)]
mod tests;
