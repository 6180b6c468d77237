//! The keeper: the first program of a long-lived sandbox. It starts what was asked for, opens shells when
//! it is told to, and when it is asked to end waits until everybody else has.
//!
//! Standard input is its connection with the runtime ([`order`](crate::order)). When that ends, so does
//! the keeper, and everything inside with it.
//!
//! Invariant: it is narrowed like every program inside, so that whoever takes it over has won nothing.

mod shell;

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Stdin, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Pid;

use self::shell::Shell;
use crate::enter::Program;
use crate::order::{Answer, LINE_BYTES_MAX, Order};
use crate::tree::{self, State};

/// Keeps the sandbox until its program has ended, or until everybody has after the request to end.
///
/// # Errors
/// When the program cannot be started, or the kernel refuses what it has to grant.
pub(crate) fn keep(program: Option<&Program>) -> io::Result<ExitCode> {
    watch_signals()?;
    let mut keeper = Keeper {
        runtime: io::stdin(),
        program: program.map(start).transpose()?,
        ended: None,
        shells: Vec::new(),
        partial: Vec::new(),
        sockets: VecDeque::new(),
    };
    loop {
        keeper.take_note_of_the_ended()?;
        let ending = ASKED_TO_END.load(Ordering::SeqCst);
        match keeper.ended {
            Some(code) if !ending || is_alone()? => return Ok(ExitCode::from(code)),
            None if ending && keeper.program.is_none() && is_alone()? => {
                return Ok(ExitCode::SUCCESS);
            }
            Some(_) | None => (),
        }
        // A signal that comes just before the wait is noticed after it.
        if !keeper.wait(if ending { LOOK_AGAIN } else { TICK })? {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

#[derive(Debug)]
struct Keeper {
    runtime: Stdin,
    program: Option<Child>,
    /// The program's code.
    ended: Option<u8>,
    shells: Vec<Shell>,
    partial: Vec<u8>,
    /// What came along with orders that are not yet read.
    sockets: VecDeque<OwnedFd>,
}

impl Keeper {
    /// Carries over what shells are told and say, and tells of those that have ended.
    fn take_note_of_the_ended(&mut self) -> io::Result<()> {
        let mut left = Vec::new();
        for mut shell in std::mem::take(&mut self.shells) {
            match shell.carry()? {
                Some(status) => say(&Answer::Closed(shell.number, code(status)))?,
                None => left.push(shell),
            }
        }
        self.shells = left;
        if let Some(program) = &mut self.program
            && self.ended.is_none()
        {
            self.ended = program.try_wait()?.map(code);
        }
        Ok(())
    }

    /// Waits for somebody to say something. Tells whether the runtime is still there.
    fn wait(&mut self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut watched = vec![PollFd::new(&self.runtime, PollFlags::IN)];
        watched.extend(self.shells.iter().flat_map(Shell::watched));
        match poll(&mut watched, Some(&patience)) {
            Ok(_) => (),
            Err(Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let said = watched
            .first()
            .is_some_and(|runtime| !runtime.revents().is_empty());
        if said { self.listen() } else { Ok(true) }
    }

    fn listen(&mut self) -> io::Result<bool> {
        let mut bytes = [0; LINE_BYTES_MAX];
        let length = {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = match recvmsg(&self.runtime, &mut slices, &mut control, flags) {
                Ok(received) => received.bytes,
                Err(Errno::INTR | Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    self.sockets.extend(descriptors);
                }
            }
            received
        };
        for byte in &bytes[..length] {
            if *byte != b'\n' {
                self.partial.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.partial).into_owned();
            self.partial.clear();
            // The runtime says nothing else.
            let Ok(order) = line.parse() else {
                return Ok(false);
            };
            self.obey(&order)?;
        }
        Ok(length > 0 && self.partial.len() <= LINE_BYTES_MAX)
    }

    fn obey(&mut self, order: &Order) -> io::Result<()> {
        match order {
            Order::Open { number, size, kind } => {
                let socket = self.sockets.pop_front();
                let socket = socket.ok_or_else(|| io::Error::other("no socket came along"));
                match socket.and_then(|socket| Shell::open(*number, *size, kind, socket)) {
                    Ok(shell) => {
                        self.shells.push(shell);
                        say(&Answer::Opened(*number))
                    }
                    Err(error) => say(&Answer::Refused(*number, error.to_string())),
                }
            }
            Order::Resize { number, size } => {
                match self.shells.iter().find(|shell| shell.number == *number) {
                    Some(shell) => shell.resize(*size),
                    // It has just ended.
                    None => Ok(()),
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the keeper starts programs")]
fn start(program: &Program) -> io::Result<Child> {
    let mut command = Command::new(&program.name);
    command.args(&program.arguments).stdin(Stdio::null());
    command.spawn()
}

/// Says a line to the runtime.
fn say(answer: &Answer) -> io::Result<()> {
    let line = format!("{answer}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(io::stdin(), rest))?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Tells whether nobody but process 1 and this one lives.
fn is_alone() -> io::Result<bool> {
    let own = rustix::process::getpid();
    let look = tree::look(Pid::INIT)?;
    Ok(look.complete
        && look
            .below
            .iter()
            .all(|process| process.identity.pid() == own || process.state == State::Ended))
}

/// A signal's number is told as a shell would.
fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| SIGNAL_BASE + signal);
    let code = status.code().or(signal);
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// Takes note of the request to end, and has waiting broken off when a child ends. Programs that are
/// started do not inherit this.
fn watch_signals() -> io::Result<()> {
    handle(libc::SIGTERM, note_request)?;
    handle(libc::SIGCHLD, note_child)
}

#[expect(unsafe_code, reason = "the call has no safe wrapper")]
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    let action = libc::sigaction {
        sa_sigaction: handler as libc::sighandler_t,
        sa_mask: empty_set(),
        sa_flags: 0,
        sa_restorer: None,
    };
    // SAFETY: the action is whole and lives until the call returns; its handler does nothing but set an
    // atomic variable, which may be done at any time.
    let done = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[expect(unsafe_code, reason = "the call has no safe wrapper")]
fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call writes the whole set, and with a valid pointer it cannot fail.
    let _done: i32 = unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the call above has written it.
    unsafe { set.assume_init() }
}

extern "C" fn note_request(_: libc::c_int) {
    ASKED_TO_END.store(true, Ordering::SeqCst);
}

extern "C" fn note_child(_: libc::c_int) {}

/// Says on standard error why the keeper could not go on.
pub(crate) fn complain(error: &io::Error) {
    // Nobody may be listening; the exit code still tells.
    drop(writeln!(
        io::stderr(),
        "loki-jail: cannot keep the sandbox: {error}"
    ));
}

static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

const SIGNAL_BASE: i32 = 128;

/// How often it is looked whether somebody has ended, beyond the signal that says so.
const TICK: Duration = Duration::from_millis(500);

/// How often it is looked whether everybody has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
