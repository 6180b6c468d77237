//! One shell on a terminal of its own, and the socket by which somebody outside types and sees.
//!
//! Invariant: nothing here waits; what one side does not take yet is kept within a bound, and until then
//! nothing more is read from the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::order::{Size, TerminalKind};
use crate::terminal;

/// A shell that runs, or whose last words are still on their way.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) number: u32,
    program: Child,
    ended: Option<ExitStatus>,
    /// The terminal's outer end, until nothing more comes of it.
    outer: Option<OwnedFd>,
    /// The way to whoever types, until that has gone.
    socket: Option<OwnedFd>,
    typed: Vec<u8>,
    shown: Vec<u8>,
}

impl Shell {
    /// Starts a shell.
    #[expect(clippy::disallowed_methods, reason = "the keeper starts shells")]
    #[expect(unsafe_code, reason = "a terminal is taken between fork and exec")]
    pub(super) fn open(
        number: u32,
        size: Size,
        kind: &TerminalKind,
        socket: OwnedFd,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let (outer, inner) = terminal::open(size)?;
        let shell = SHELLS.iter().find(|shell| Path::new(shell).exists());
        let shell = shell.ok_or_else(|| io::Error::other("there is no shell"))?;
        let mut command = Command::new(shell);
        command
            .arg("-i")
            .env("TERM", kind.as_str())
            .stdin(inner.try_clone()?)
            .stdout(inner.try_clone()?)
            .stderr(inner);
        // SAFETY: between fork and exec the function makes two system calls and nothing else: it takes
        // neither a lock nor memory.
        unsafe { command.pre_exec(terminal::become_leader) };
        Ok(Self {
            number,
            program: command.spawn()?,
            ended: None,
            outer: Some(outer),
            socket: Some(socket),
            typed: Vec::new(),
            shown: Vec::new(),
        })
    }

    pub(super) fn resize(&self, size: Size) -> io::Result<()> {
        match &self.outer {
            Some(outer) => terminal::resize(outer, size),
            None => Ok(()),
        }
    }

    /// Returns what to wait for.
    pub(super) fn watched(&self) -> Vec<PollFd<'_>> {
        let flags = |other: &[u8], own: &[u8]| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, other.len() < KEPT_BYTES_MAX);
            flags.set(PollFlags::OUT, !own.is_empty());
            flags
        };
        let outer = self.outer.as_ref();
        let outer = outer.map(|end| PollFd::new(end, flags(&self.shown, &self.typed)));
        let socket = self.socket.as_ref();
        let socket = socket.map(|end| PollFd::new(end, flags(&self.typed, &self.shown)));
        outer.into_iter().chain(socket).collect()
    }

    /// Carries over what there is. Returns how the shell ended, once that is so and all was shown.
    pub(super) fn carry(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.program.try_wait()?;
        }
        // A program in the background may hold the terminal for ever; the shell's end is its end.
        let shown_all = pull(&mut self.outer, &mut self.shown) == Pulled::Nothing;
        push(&mut self.socket, &mut self.shown);
        pull(&mut self.socket, &mut self.typed);
        push(&mut self.outer, &mut self.typed);
        if self.socket.is_none() {
            // Nobody types or sees any more: the terminal hangs up.
            self.outer = None;
            self.shown.clear();
        }
        let over = self.outer.is_none() || shown_all;
        Ok(self.ended.filter(|_| over && self.shown.is_empty()))
    }
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulled {
    Something,
    Nothing,
}

/// Reads what is there, within the bound; an end that is over is let go.
fn pull(end: &mut Option<OwnedFd>, kept: &mut Vec<u8>) -> Pulled {
    let Some(open) = end else {
        return Pulled::Nothing;
    };
    if kept.len() >= KEPT_BYTES_MAX {
        return Pulled::Something;
    }
    let mut bytes = [0; KEPT_BYTES_MAX];
    match rustix::io::read(open.as_fd(), &mut bytes) {
        Ok(length) if length > 0 => {
            kept.extend_from_slice(&bytes[..length]);
            Pulled::Something
        }
        Err(Errno::AGAIN | Errno::INTR) => Pulled::Nothing,
        // A terminal whose inner end nobody has any more answers with an error.
        Ok(_) | Err(_) => {
            *end = None;
            Pulled::Nothing
        }
    }
}

/// Writes as much as is taken.
fn push(end: &mut Option<OwnedFd>, kept: &mut Vec<u8>) {
    let Some(open) = end else {
        return;
    };
    if kept.is_empty() {
        return;
    }
    match rustix::io::write(open.as_fd(), kept) {
        Ok(length) => drop(kept.drain(..length)),
        Err(Errno::AGAIN | Errno::INTR) => (),
        Err(_) => *end = None,
    }
}

const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

const KEPT_BYTES_MAX: usize = 16 * 1024;
