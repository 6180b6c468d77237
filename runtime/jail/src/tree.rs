//! The process tree below one process, as `/proc` tells of it.
//!
//! Invariant: a signal goes to exactly the process that was seen, never to another that got its
//! number meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process as it was seen. Two are equal if number and start time are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pid: Pid,
    /// Since the host's start, in clock ticks.
    started: u64,
}

/// One process with what changes in its life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    pub(crate) parent: i32,
    pub(crate) state: State,
}

/// What a process is doing, as far as ending and halting it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, or will as soon as what it waits for comes.
    Running,
    /// It waits inside the kernel. A signal that halts it takes effect before it runs again.
    Uninterruptible,
    /// A signal or a tracer has halted it.
    Halted,
    /// It has ended and waits for its parent to notice.
    Ended,
}

/// Tells whether nothing below `root` (a supervisor's process id) can run, because all of it is halted.
/// A tree that is empty is not frozen.
///
/// # Errors
/// The kernel's error if `/proc` cannot be read.
pub fn is_frozen(root: u32) -> io::Result<bool> {
    let root = i32::try_from(root).ok().and_then(Pid::from_raw);
    let root = root.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let first = all_halted(root)?;
    // Who was halted during the first look may have started somebody just before.
    Ok(first.is_some() && first == all_halted(root)?)
}

/// Tells whether anything below `root` (a supervisor's process id) still lives.
///
/// # Errors
/// The kernel's error if `/proc` cannot be read.
pub fn is_inhabited(root: u32) -> io::Result<bool> {
    let root = i32::try_from(root).ok().and_then(Pid::from_raw);
    let root = root.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let look = look(root)?;
    Ok(!look.complete || look.below.iter().any(|it| it.state != State::Ended))
}

/// Returns who lives below `root` if all of them were seen and halted, and there is at least one.
fn all_halted(root: Pid) -> io::Result<Option<Identities>> {
    let mut look = look(root)?;
    look.below.retain(|process| process.state != State::Ended);
    let halted = look
        .below
        .iter()
        .all(|process| process.state == State::Halted);
    let sure = look.complete && halted && !look.below.is_empty();
    Ok(sure.then(|| {
        look.below
            .into_iter()
            .map(|process| process.identity)
            .collect()
    }))
}

/// What one look at the processes below another one found.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) below: Vec<Process>,
    /// Nobody started or ended meanwhile who might have started somebody unseen.
    pub(crate) complete: bool,
}

/// Looks for every process below `root`, which is itself not among them.
///
/// A process that ends between being listed and being read can have started another that is not
/// listed. So the list is made again until it holds nothing new that matters, but not for ever.
pub(crate) fn look(root: Pid) -> io::Result<Look> {
    let mut listed = HashSet::new();
    let mut all = Vec::new();
    for round in 0..LISTS_MAX {
        let new: Vec<i32> = list()?
            .into_iter()
            .filter(|number| listed.insert(*number))
            .collect();
        let mut vanished = false;
        for number in &new {
            match read_process(*number)? {
                Some(process) => all.push(process),
                None => vanished = true,
            }
        }
        let below = below(root, &all);
        let matters =
            |process: &Process| new.contains(&process.identity.pid.as_raw_nonzero().get());
        if round > 0 && !vanished && !below.iter().any(matters) {
            return Ok(Look {
                below,
                complete: true,
            });
        }
    }
    Ok(Look {
        below: below(root, &all),
        complete: false,
    })
}

/// Picks those below `root`, parents before children.
fn below(root: Pid, all: &[Process]) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut parents = VecDeque::from([root.as_raw_nonzero().get()]);
    while let Some(parent) = parents.pop_front() {
        // Taken out, so that numbers which were used twice cannot lead in a circle.
        for process in children.remove(&parent).unwrap_or_default() {
            parents.push_back(process.identity.pid.as_raw_nonzero().get());
            found.push(process);
        }
    }
    found
}

impl Identity {
    /// Sends a signal to this very process. `None`: it is gone.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<Option<OwnedFd>> {
        let Some(handle) = self.open()? else {
            return Ok(None);
        };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(Some(handle)),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a handle of this very process, which is readable once the process has ended. `None`: it
    /// is gone.
    pub(crate) fn open(self) -> io::Result<Option<OwnedFd>> {
        let handle = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            // EINVAL: the number now belongs to a thread.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The handle pins the number: if start times agree now, it is the process that was seen.
        let same =
            read_process(self.pid.as_raw_nonzero().get())?.is_some_and(|now| now.identity == self);
        Ok(same.then_some(handle))
    }

    pub(crate) fn pid(self) -> Pid {
        self.pid
    }
}

impl State {
    fn parse(letter: &str) -> Self {
        match letter {
            "T" | "t" => Self::Halted,
            "D" => Self::Uninterruptible,
            "Z" | "X" | "x" => Self::Ended,
            _ => Self::Running,
        }
    }

    /// Tells whether a process in this state, which has got a halting signal, runs no more.
    pub(crate) fn cannot_run_once_signalled(self) -> bool {
        match self {
            Self::Running => false,
            Self::Uninterruptible | Self::Halted | Self::Ended => true,
        }
    }
}

fn list() -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        numbers.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok()),
        );
    }
    Ok(numbers)
}

/// Reads what the kernel tells of one process. `None`: there is no such process for us.
fn read_process(number: i32) -> io::Result<Option<Process>> {
    let line = match std::fs::read(format!("/proc/{number}/stat")) {
        Ok(line) => line,
        Err(error) if is_gone_or_hidden(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let process = Pid::from_raw(number).and_then(|pid| parse(pid, &line));
    process
        .map(Some)
        .ok_or_else(|| io::Error::other(format!("/proc/{number}/stat is malformed")))
}

fn is_gone_or_hidden(error: &io::Error) -> bool {
    // Where `/proc` hides what belongs to others, a process that cannot be looked at is not below us.
    let hidden = error.kind() == io::ErrorKind::PermissionDenied;
    hidden
        || error.kind() == io::ErrorKind::NotFound
        || Errno::from_io_error(error) == Some(Errno::SRCH)
}

fn parse(pid: Pid, line: &[u8]) -> Option<Process> {
    let fields = fields(line)?;
    let field = |number: usize| fields.get(number.checked_sub(FIRST_FIELD)?).copied();
    Some(Process {
        identity: Identity {
            pid,
            started: field(FIELD_STARTED)?.parse().ok()?,
        },
        parent: field(FIELD_PARENT)?.parse().ok()?,
        state: State::parse(field(FIELD_STATE)?),
    })
}

/// Returns the fields of a `stat` line from the third on. The second is the program's name in
/// brackets, in which the program itself can have put anything, brackets and spaces included.
pub(crate) fn fields(line: &[u8]) -> Option<Vec<&str>> {
    let bracket = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(bracket + 1..)?).ok()?;
    Some(rest.split_ascii_whitespace().collect())
}

/// The set of processes that were dealt with.
pub(crate) type Identities = HashSet<Identity>;

/// How often the processes are listed before a look is called incomplete.
const LISTS_MAX: usize = 16;

/// The number, in the kernel's manual, of the first field that [`fields`] returns.
pub(crate) const FIRST_FIELD: usize = 3;
const FIELD_STATE: usize = 3;
const FIELD_PARENT: usize = 4;
const FIELD_STARTED: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(i32, State, u64)>) {
        let found = parse(Pid::INIT, line.as_bytes());
        assert_eq!(
            found.map(|it| (it.parent, it.state, it.identity.started)),
            expected
        );
    }

    #[test]
    fn a_program_cannot_disguise_its_parent_by_its_name() {
        let rest = "7 9 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        check("", None);
        check("1 (sh S 7", None);
        check("1 (sh) S", None);
        check(&format!("1 (sh) S {rest}"), Some((7, State::Running, 4711)));
        check(
            &format!("1 (a) T 1 1) T {rest}"),
            Some((7, State::Halted, 4711)),
        );
        check(
            &format!("1 (a b) D {rest}"),
            Some((7, State::Uninterruptible, 4711)),
        );
        check(&format!("1 () Z {rest}"), Some((7, State::Ended, 4711)));
    }

    #[test]
    fn a_process_that_is_gone_gets_no_signal() {
        let myself = rustix::process::getpid();
        let now = read_process(myself.as_raw_nonzero().get())
            .unwrap()
            .unwrap();
        let earlier = Identity {
            started: now.identity.started - 1,
            ..now.identity
        };
        assert!(earlier.signal(Signal::KILL).unwrap().is_none());
    }
}
