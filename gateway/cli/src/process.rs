//! Processes that are known by more than their number, which the system gives out again.
//!
//! Invariant: a signal only reaches the process that was meant: its handle is opened first, then
//! its identity is compared.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// What tells one process from all others on this host, also across a restart of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: u32,
    /// When it began, in clock ticks since the host started.
    started_ticks: u64,
    /// The host's start.
    boot: String,
}

impl Identity {
    /// Returns the identity of a running process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self {
            pid,
            started_ticks: started_ticks(&stat)?,
            boot: boot.trim().to_owned(),
        })
    }
}

/// Field 22 of `/proc/PID/stat`; the name in parentheses before it can hold anything.
fn started_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    identity: Identity,
    handle: OwnedFd,
}

impl Process {
    /// Opens a child that nobody has waited for yet, so that its number is still its own; it may
    /// have ended already.
    pub(crate) fn of_child(child: &Child) -> io::Result<Self> {
        let identity = Identity::of(child.id()).ok_or(io::ErrorKind::NotFound)?;
        let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { identity, handle })
    }

    /// Opens a process; none if it has ended, also if another has its number by now.
    pub(crate) fn open(identity: &Identity) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(identity.pid).ok()?)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let process = Self {
            identity: identity.clone(),
            handle,
        };
        let same = Identity::of(identity.pid).as_ref() == Some(identity);
        (same && !process.has_ended()).then_some(process)
    }

    /// Returns what tells the process from all others.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the process's number.
    pub(crate) const fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.handle, Signal::TERM)?)
    }

    /// Returns whether the process is over.
    pub(crate) fn has_ended(&self) -> bool {
        first_ended(&[self], Duration::ZERO).is_some()
    }

    /// Waits for the process's end and returns whether it came.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            if first_ended(&[self], rest).is_some() {
                return true;
            }
            if rest.is_zero() {
                return false;
            }
        }
    }
}

/// Waits until one of several processes ends, and returns its position.
pub(crate) fn first_ended(processes: &[&Process], limit: Duration) -> Option<usize> {
    let mut handles: Vec<PollFd<'_>> = processes
        .iter()
        .map(|process| PollFd::new(&process.handle, PollFlags::IN))
        .collect();
    let limit = Timespec::try_from(limit).ok()?;
    // An interruption by a signal looks like the end of the wait; callers have their deadlines.
    poll(&mut handles, Some(&limit)).ok()?;
    handles
        .iter()
        .position(|handle| handle.revents().contains(PollFlags::IN))
}

#[cfg(test)]
mod tests {
    use super::{Identity, Process, started_ticks};

    #[test]
    fn a_recycled_number_is_another_process() {
        let ours = Identity::of(std::process::id()).expect("we run");
        assert!(Process::open(&ours).is_some());
        let earlier = Identity {
            started_ticks: ours.started_ticks - 1,
            ..ours.clone()
        };
        assert!(Process::open(&earlier).is_none());
        let before_restart = Identity {
            boot: "another".to_owned(),
            ..ours
        };
        assert!(Process::open(&before_restart).is_none());
    }

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let rest = (3..=30)
            .map(|field| field.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let stat = format!("42 (a) S 1 2) {rest}");
        assert_eq!(started_ticks(&stat), Some(22));
    }
}
