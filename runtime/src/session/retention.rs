//! How long sessions are kept: ended ones are removed, with their folder, when their time is over or
//! somebody asks for it.
//!
//! Invariant: a session that has not ended is never removed; what it handed over stays in the project.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use config::contract::id::SessionId;
use config::home::Home;
use config::runtime::RuntimeSettings;

use crate::clock;
use crate::folder::SessionFolder;
use crate::store::{Store, StoreError};

/// Why a session was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It has not ended.
    #[error("session {0} has not ended")]
    NotEnded(SessionId),
    /// Its folder cannot be removed.
    #[error("cannot remove the folder of session {session}: {source}")]
    Folder {
        /// The session.
        session: SessionId,
        /// What the system said.
        source: io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Removes an ended session: its folder first, so that nothing is left that nobody knows of.
///
/// # Errors
/// See [`RemoveError`].
pub async fn remove(store: &Store, home: &Home, id: &SessionId) -> Result<(), RemoveError> {
    if !store
        .session(id)
        .await?
        .is_some_and(|view| view.state.is_final())
    {
        return Err(RemoveError::NotEnded(id.clone()));
    }
    let folder = SessionFolder::place(home, id);
    let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    });
    removed
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|source| RemoveError::Folder {
            session: id.clone(),
            source,
        })?;
    store.remove_session(id).await?;
    Ok(())
}

/// Removes what has been kept long enough, now and once a day; never returns.
pub async fn keep_watch(store: Store, settings: Arc<RuntimeSettings>) {
    let Some(days) = settings.sessions.keep_days else {
        return;
    };
    let mut daily = tokio::time::interval(DAY);
    loop {
        daily.tick().await;
        let before = clock::written(clock::now() - TimeDelta::days(days.into()));
        match prune(&store, &settings.home, &before).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "sessions removed that were kept long enough"),
            Err(error) => tracing::warn!(%error, "old sessions not removed"),
        }
    }
}

async fn prune(store: &Store, home: &Home, before: &str) -> Result<usize, RemoveError> {
    let old = store.ended_before(before).await?;
    for id in &old {
        remove(store, home, id).await?;
    }
    Ok(old.len())
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
