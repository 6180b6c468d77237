//! Answers queries of the audit trail, read from its files.

use config::home::Home;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::audit::query::{self, Query};
use crate::audit::summary;
use crate::audit::verify::{self, Trust};
use crate::clock;
use crate::refusal::Refusal;
use crate::state::State;

/// Returns a page of records, newest first.
pub(super) async fn query(state: &State, parameters: Option<&str>) -> Result<Answer, Refusal> {
    let query =
        Query::parse(parameters).map_err(|error| Refusal::BadParameter(error.to_string()))?;
    read(state, move |home| query::query(home, &query)).await
}

/// Counts records of the last days.
pub(super) async fn summary(state: &State, parameters: Option<&str>) -> Result<Answer, Refusal> {
    let days = summary::parse_days(parameters)
        .map_err(|error| Refusal::BadParameter(error.to_string()))?;
    let now = clock::now();
    read(state, move |home| summary::summary(home, days, now)).await
}

/// Checks all files; one check at a time, since each reads everything.
pub(super) async fn verify(state: &State, parameters: Option<&str>) -> Result<Answer, Refusal> {
    static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

    verify::no_parameters(parameters).map_err(|error| Refusal::BadParameter(error.to_string()))?;
    let _turn = ONE_AT_A_TIME
        .acquire()
        .await
        .map_err(|_| Refusal::Internal)?;
    read(state, |home| {
        verify::verify(home, &Trust::in_keys_of(home)?)
    })
    .await
}

/// Reads the files on a thread that may wait for the disk.
async fn read<T, E>(
    state: &State,
    work: impl FnOnce(&Home) -> Result<T, E> + Send + 'static,
) -> Result<Answer, Refusal>
where
    T: Serialize + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    if !state.audit_enabled {
        return Err(Refusal::AuditOff);
    }
    let home = state.home.clone();
    match tokio::task::spawn_blocking(move || work(&home)).await {
        Ok(Ok(found)) => Answer::json(200, &found),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot read the audit trail");
            Err(Refusal::Internal)
        }
        Err(error) => {
            tracing::error!(%error, "reading the audit trail failed");
            Err(Refusal::Internal)
        }
    }
}
