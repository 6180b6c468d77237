//! The processes that `loki-jail` itself is inside the sandbox: the one that waits outside, and
//! process 1 inside, whose end is the end of every other.
//!
//! Invariant: this process has one thread, so a copy of it can go on where it stands.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// Tells who goes on after a fork.
pub(crate) enum Fork {
    /// The process that was there before.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Makes a copy of this process.
#[expect(unsafe_code, reason = "the call has no safe wrapper")]
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: this process has one thread, so no lock is held by another that the copy would lack.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        number => Pid::from_raw(number)
            .map(Fork::Parent)
            .ok_or_else(|| io::Error::other("the kernel named no process")),
    }
}

/// Waits, outside, until the process inside has ended, and returns its exit code.
///
/// The request to end is the program's business: this process must not go before it, for that would
/// end everything inside at once.
pub(crate) fn wait_outside(inside: Pid) -> io::Result<u8> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE] {
        ignore(signal)?;
    }
    // The kernel may have forgotten it when the namespaces were left.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    wait_for(inside)
}

/// Takes note, as process 1, of everybody who ends, until the program itself has ended. Returns its
/// exit code. When this process then ends, the kernel kills who is left.
pub(crate) fn wait_inside(program: Pid) -> io::Result<u8> {
    wait_for(program)
}

fn wait_for(awaited: Pid) -> io::Result<u8> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == awaited => {
                if let Some(code) = code(status) {
                    return Ok(code);
                }
            }
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A signal's number is told as a shell would.
fn code(status: WaitStatus) -> Option<u8> {
    let signal = status
        .terminating_signal()
        .map(|signal| SIGNAL_BASE + signal);
    let code = status.exit_status().or(signal)?;
    u8::try_from(code).ok()
}

#[expect(unsafe_code, reason = "the call has no safe wrapper")]
fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: no handler is installed, so nothing runs when the signal comes.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Has the kernel kill this process when its parent ends, and makes sure that it has not ended before.
/// `parent` is the reading end of a pipe whose other end the parent alone holds, open to its end.
pub(crate) fn bind_to(parent: &OwnedFd) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut watched = [PollFd::new(parent, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec::default()))?;
    if watched[0].revents().is_empty() {
        Ok(())
    } else {
        Err(io::Error::other("the process outside has ended"))
    }
}

const SIGNAL_BASE: i32 = 128;
