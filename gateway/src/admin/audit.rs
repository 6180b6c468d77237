//! Answers queries of the audit trail, read from its files.

use std::io::{self, BufWriter, Write};

use bytes::Bytes;
use config::home::Home;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use crate::answer::{Answer, Pieces};
use crate::audit::export;
use crate::audit::query::{self, Query};
use crate::audit::summary;
use crate::audit::verify::{self, Trust};
use crate::clock;
use crate::refusal::Refusal;
use crate::state::State;

/// How much is handed on at once, and how many such pieces wait for the caller.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 4;

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

/// Writes all records that fit, as they are read from the files.
pub(super) async fn export(state: &State, parameters: Option<&str>) -> Result<Pieces, Refusal> {
    static FEW_AT_A_TIME: Semaphore = Semaphore::const_new(2);

    let (query, format) =
        export::parse(parameters).map_err(|error| Refusal::BadParameter(error.to_string()))?;
    if !state.audit_enabled {
        return Err(Refusal::AuditOff);
    }
    let turn = FEW_AT_A_TIME
        .acquire()
        .await
        .map_err(|_| Refusal::Internal)?;
    let (sender, body) = mpsc::channel(PIECES_MAX);
    let home = state.home.clone();
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Caller(sender));
        let done = export::export(&home, &query, format, &mut out).and_then(|_| out.flush());
        if let Err(error) = done
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::error!(%error, "cannot export the audit trail");
            let told = out.get_ref().0.blocking_send(Err(error));
            if told.is_err() {
                tracing::debug!("the caller was gone before the failure");
            }
        }
        drop(turn);
    });
    Ok(Pieces {
        content_type: format.media_type(),
        body,
    })
}

/// Hands bytes to whoever waits for them.
struct Caller(mpsc::Sender<io::Result<Bytes>>);

impl Write for Caller {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
