//! Ends what an earlier run of the runtime left running.
//!
//! Invariant: a signal goes only to a process that the store remembers by number and start time, or
//! whose environment names a session that the store knows; and to exactly the process that was seen.

use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use config::contract::id::SessionId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use crate::store::{Process, Store, StoreError};

/// Ends every orphan and returns how many had to be killed.
///
/// A supervisor whose runtime is gone ends its tree by itself, and more thoroughly than anybody else
/// can; it is given some time to do so.
///
/// # Errors
/// When the store refuses or some withstand for too long.
pub(super) async fn end(store: &Store) -> Result<usize, OrphanError> {
    let remembered = store.processes().await?;
    let patience = Instant::now() + SUPERVISORS_WITHIN;
    while Instant::now() < patience && remembered.iter().any(|process| is_running(*process)) {
        sleep(PAUSE).await;
    }
    let deadline = Instant::now() + KILLED_WITHIN;
    let mut killed = Vec::new();
    loop {
        let orphans = find(store, &remembered).await?;
        if orphans.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() > deadline {
            return Err(OrphanError::Withstood(orphans.len()));
        }
        for orphan in orphans {
            if kill(orphan)? && !killed.contains(&orphan) {
                tracing::warn!(pid = orphan.pid, "orphan killed");
                killed.push(orphan);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Ends what is left of one session's tree whose supervisor was lost.
///
/// # Errors
/// When the store refuses or some withstand for too long.
pub(super) async fn end_of(session: &SessionId) -> Result<(), OrphanError> {
    let deadline = Instant::now() + KILLED_WITHIN;
    loop {
        let marked = tokio::task::spawn_blocking(marked)
            .await
            .map_err(io::Error::other)??;
        let mut left = 0_usize;
        for (process, _) in marked.iter().filter(|(_, marked)| marked == session) {
            left += usize::from(kill(*process)?);
        }
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(OrphanError::Withstood(left));
        }
        sleep(PAUSE).await;
    }
}

/// Why orphans could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refused.
    #[error("cannot end an orphaned process: {0}")]
    Kernel(#[from] io::Error),
    /// They withstood being killed.
    #[error("{0} orphaned processes of earlier sessions withstand being killed: end them by hand")]
    Withstood(usize),
}

/// Returns when a process started, in clock ticks since the host did; nothing if it has ended.
pub(super) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from behind it.
    let fields = &stat[stat.rfind(')')? + 1..];
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(START_AFTER_STATE)?.parse().ok()
}

async fn find(store: &Store, remembered: &[Process]) -> Result<Vec<Process>, OrphanError> {
    let mut orphans: Vec<Process> = remembered
        .iter()
        .copied()
        .filter(|process| is_running(*process))
        .collect();
    let marked = tokio::task::spawn_blocking(marked)
        .await
        .map_err(io::Error::other)??;
    for (process, session) in marked {
        if !orphans.contains(&process) && store.session(&session).await?.is_some() {
            orphans.push(process);
        }
    }
    Ok(orphans)
}

/// Returns every process whose environment names a session.
fn marked() -> io::Result<Vec<(Process, SessionId)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let Some(started) = started(pid) else {
            continue;
        };
        // Another user's process cannot be read, and is none of ours.
        if let Ok(Some(session)) = session_of(pid) {
            found.push((Process { pid, started }, session));
        }
    }
    Ok(found)
}

fn session_of(pid: u32) -> io::Result<Option<SessionId>> {
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?
        .take(ENVIRONMENT_BYTES_MAX)
        .read_to_end(&mut environment)?;
    Ok(environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(MARK))
        .and_then(|value| str::from_utf8(value).ok()?.parse().ok()))
}

fn is_running(process: Process) -> bool {
    started(process.pid) == Some(process.started)
}

/// Kills exactly this process; false if it is gone.
fn kill(process: Process) -> io::Result<bool> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return Ok(false);
    };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // The handle keeps its process; if the number was given anew before, the start time tells.
    if !is_running(process) {
        return Ok(false);
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

const MARK: &[u8] = b"LOKI_SESSION_ID=";
/// Field 22 of `/proc/<pid>/stat` (proc_pid_stat(5)), counted from behind the state, field 3.
const START_AFTER_STATE: usize = 18;
const ENVIRONMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
const SUPERVISORS_WITHIN: Duration = Duration::from_secs(5);
const KILLED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::{Process, is_running, kill, started};

    #[test]
    fn a_process_of_another_start_time_is_left_alone() {
        let own = std::process::id();
        let started = started(own).expect("this process runs");
        let other = Process {
            pid: own,
            started: started + 1,
        };
        assert!(!is_running(other));
        assert_eq!(kill(other).map_err(|error| error.kind()), Ok(false));
        assert!(is_running(Process { pid: own, started }));
    }

    #[test]
    fn a_number_that_nobody_has_is_no_process() {
        // Above the kernel's PID_MAX_LIMIT of 2^22 (`include/linux/threads.h`).
        let nobody = Process {
            pid: 5_000_000,
            started: 1,
        };
        assert_eq!(started(nobody.pid), None);
        assert_eq!(kill(nobody).map_err(|error| error.kind()), Ok(false));
    }
}
