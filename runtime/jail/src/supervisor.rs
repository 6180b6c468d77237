//! The supervisor: holds one process tree together and ends it when the runtime asks, or when it
//! hears nothing more of the runtime.
//!
//! It is the tree's reaper: a process whose parent ends becomes its child, however it detached itself.
//! So the kernel's "no children" proves that the tree is gone. It installs no signal handlers; a signal
//! that kills the supervisor also kills the program, which is bound to it, but not what the program
//! started. Nobody inside the jail can send one where Landlock scopes signals.
//!
//! Invariant: it ends only when its tree is gone, or says in its report how much of it is left.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open};

use crate::cgroup::{Groups, Usage};
use crate::enter::Program;
use crate::lifeline::{Heard, Lifeline};
use crate::policy::{Policy, PolicyError};
use crate::report::{Exit, Report, StoppedBy};
use crate::request::Request;
use crate::tree::{self, Identities, Process, State};
use crate::{descriptors, private_file};

/// Says why a tree could not be supervised to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperviseError {
    /// The policy cannot be used. Nothing was started.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The report cannot be created or written.
    #[error("cannot write report {path}: {source}; fix: name a new file in a folder of one's own", path = .path.display())]
    Report {
        /// The policy's `report`.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused something that it has to grant.
    #[error("cannot {what}: {source}; fix: mount /proc and run on Linux 5.4 or newer")]
    Step {
        /// The step.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Processes withstood being killed.
    #[error("cannot end all processes: {0} withstood for {seconds} s; fix: end them by hand, and look at the disks they wait for", seconds = KILL_TIME_MAX.as_secs())]
    Survivors(usize),
}

/// Starts `enter` with the same policy and program, and holds its tree together to the end.
pub(crate) fn supervise(policy_path: &Path, program: &Program) -> Result<Exit, SuperviseError> {
    step(
        "mark inherited descriptors",
        descriptors::close_on_execute_above_two(),
    )?;
    let policy = Policy::read(policy_path)?;
    let failed = |source| SuperviseError::Report {
        path: policy.report.clone(),
        source,
    };
    let mut report_file = private_file::create(&policy.report).map_err(failed)?;

    let myself = rustix::process::getpid();
    leave_terminal()?;
    step(
        "become the reaper of orphans",
        rustix::process::set_child_subreaper(Some(myself)),
    )?;
    step("read /proc", std::fs::read("/proc/self/stat"))?;
    let main = step("start itself anew", start(policy_path, myself, program))?;

    let mut supervisor = Supervisor {
        myself,
        runtime: rustix::process::getppid(),
        main,
        exit: None,
        stopped_by: StoppedBy::Itself,
        deadline: None,
        killed: Identities::new(),
        groups: policy
            .sandbox
            .as_ref()
            .map(|sandbox| Groups::find(&sandbox.group)),
    };
    let watched = supervisor.watch(&mut Lifeline::new(io::stdin()));
    // Whatever went wrong, the tree is ended before anything is said about it.
    let survivors = step("kill the processes", supervisor.kill_all())?;
    let groups = supervisor.groups.take();
    let usage = groups.as_ref().map(Groups::usage).unwrap_or_default();
    write_report(&mut report_file, &supervisor.report(survivors, usage)).map_err(failed)?;
    if let Some(groups) = groups.filter(|_| survivors == 0) {
        step("remove the control groups", groups.remove())?;
    }
    watched?;
    match supervisor.exit {
        Some(exit) if survivors == 0 => Ok(exit),
        Some(_) | None => Err(SuperviseError::Survivors(survivors)),
    }
}

#[derive(Debug)]
struct Supervisor {
    myself: Pid,
    runtime: Option<Pid>,
    main: Pid,
    exit: Option<Exit>,
    stopped_by: StoppedBy,
    /// Set by the request `stop`: when the grace is over.
    deadline: Option<Instant>,
    killed: Identities,
    groups: Option<Groups>,
}

/// Tells whether to go on watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Watch,
    KillAll,
}

impl Supervisor {
    /// Waits until there is nothing to do but to kill what is left.
    fn watch(&mut self, lifeline: &mut Lifeline) -> Result<(), SuperviseError> {
        let main = step(
            "open a handle of the program",
            pidfd_open(self.main, PidfdFlags::empty()),
        )?;
        loop {
            let children = step("wait for processes", self.reap())?;
            let grace_left = self
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // After a stop the others have as long as the program to end by themselves.
            let ended = self.exit.is_some() && (!children || grace_left.is_none());
            if ended || grace_left == Some(Duration::ZERO) {
                return Ok(());
            }
            if rustix::process::getppid() != self.runtime {
                self.stopped_by = StoppedBy::Lifeline;
                return Ok(());
            }
            let timeout = grace_left.map_or(TICK, |left| left.min(TICK));
            if step("wait for a request", self.wait(lifeline, &main, timeout))? {
                step("read the lifeline", lifeline.listen())?;
            }
            while let Some(heard) = lifeline.next() {
                match step("signal the processes", self.obey(heard))? {
                    Next::Watch => (),
                    Next::KillAll => return Ok(()),
                }
            }
        }
    }

    fn obey(&mut self, heard: Heard) -> io::Result<Next> {
        match heard {
            Heard::End => {
                self.stopped_by = StoppedBy::Lifeline;
                return Ok(Next::KillAll);
            }
            Heard::Request(Request::Kill) => {
                self.stopped_by = StoppedBy::Kill;
                return Ok(Next::KillAll);
            }
            Heard::Request(Request::Stop { grace }) => {
                let deadline = Instant::now() + grace;
                self.stopped_by = StoppedBy::Stop;
                self.deadline = Some(
                    self.deadline
                        .map_or(deadline, |earlier| earlier.min(deadline)),
                );
                self.signal_all(Signal::TERM)?;
                self.signal_all(Signal::CONT)?;
            }
            // A tree that is to end must be able to run.
            Heard::Request(Request::Freeze) if self.deadline.is_some() => (),
            Heard::Request(Request::Freeze) => self.freeze()?,
            Heard::Request(Request::Thaw) => self.signal_all(Signal::CONT)?,
        }
        Ok(Next::Watch)
    }

    /// Waits for the lifeline, for the end of the program, or of any child once the program has ended,
    /// or for the timeout. Tells whether the lifeline has something to say.
    fn wait(&self, lifeline: &Lifeline, main: &OwnedFd, timeout: Duration) -> io::Result<bool> {
        let other = if self.exit.is_some() {
            self.any_child()?
        } else {
            None
        };
        let child = if self.exit.is_some() {
            other.as_ref()
        } else {
            Some(main)
        };
        let mut watched = vec![PollFd::new(lifeline, PollFlags::IN)];
        watched.extend(child.map(|child| PollFd::new(child, PollFlags::IN)));
        wait_for(&mut watched, timeout)?;
        Ok(watched
            .first()
            .is_some_and(|lifeline| !lifeline.revents().is_empty()))
    }

    /// Returns a handle of one child. The end of any other descendant would stay visible until its own
    /// parent takes note of it, and waiting for it would not wait.
    fn any_child(&self) -> io::Result<Option<OwnedFd>> {
        let is_ours = |process: &&Process| process.parent == self.myself.as_raw_nonzero().get();
        match tree::look(self.myself)?.below.iter().find(is_ours) {
            Some(process) => process.identity.open(),
            None => Ok(None),
        }
    }

    /// Takes note of all children that have ended. Tells whether there are others.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.exit = exit(status),
                Ok(Some(_)) | Err(Errno::INTR) => (),
                Ok(None) => return Ok(true),
                Err(Errno::CHILD) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn signal_all(&self, signal: Signal) -> io::Result<()> {
        for process in tree::look(self.myself)?.below {
            process.identity.signal(signal)?;
        }
        Ok(())
    }

    /// Halts the tree: again and again, until two looks in a row found nobody new and nobody running.
    fn freeze(&self) -> io::Result<()> {
        // Held still for as long as it takes to tell everybody, nobody can start anybody meanwhile.
        if let Some(freezer) = self.groups.as_ref().and_then(Groups::freezer) {
            let _held = freezer.hold();
            self.signal_all(Signal::STOP)?;
        }
        let give_up = Instant::now() + FREEZE_TIME_MAX;
        let mut seen = Identities::new();
        let mut quiet_looks = 0;
        while quiet_looks < 2 && Instant::now() < give_up {
            let look = tree::look(self.myself)?;
            let mut nobody_new = look.complete;
            let mut nobody_runs = true;
            for process in look.below {
                nobody_new &= !seen.insert(process.identity);
                nobody_runs &= process.state.cannot_run_once_signalled();
                if process.state != State::Halted {
                    process.identity.signal(Signal::STOP)?;
                }
            }
            quiet_looks = if nobody_new && nobody_runs {
                quiet_looks + 1
            } else {
                0
            };
            // Those who keep starting others are chased without a pause.
            if nobody_new {
                wait_for(&mut [], LOOK_AGAIN)?;
            }
        }
        Ok(())
    }

    /// Kills everything below this process until the kernel knows of no more children. Returns how many
    /// withstood [`KILL_TIME_MAX`].
    fn kill_all(&mut self) -> io::Result<usize> {
        let give_up = Instant::now() + KILL_TIME_MAX;
        loop {
            if !self.reap()? {
                return Ok(0);
            }
            let found = tree::look(self.myself)?.below;
            let mut handle = None;
            for process in &found {
                if process.state != State::Ended && process.identity.pid() != self.main {
                    self.killed.insert(process.identity);
                }
                // One that cannot be killed must not save the others. It is counted below.
                if let Ok(Some(opened)) = process.identity.signal(Signal::KILL) {
                    handle = Some(opened);
                }
            }
            if Instant::now() >= give_up {
                return Ok(found.len().max(1));
            }
            let mut watched: Vec<_> = handle
                .iter()
                .map(|handle| PollFd::new(handle, PollFlags::IN))
                .collect();
            wait_for(&mut watched, LOOK_AGAIN)?;
        }
    }

    fn report(&self, survivors: usize, usage: Usage) -> Report {
        let [user_cpu_ms, system_cpu_ms] = children_cpu_ms();
        Report {
            exit: self.exit,
            stopped_by: self.stopped_by,
            killed_descendants: self.killed.len(),
            survivors,
            user_cpu_ms,
            system_cpu_ms,
            memory_peak_bytes: usage.memory_peak_bytes,
            out_of_memory_kills: usage.out_of_memory_kills,
        }
    }
}

/// Leaves the terminal's session, so that its signals do not come here. The leader of a process group
/// cannot; then the one who started it has already chosen a group for it.
fn leave_terminal() -> Result<(), SuperviseError> {
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(error) => step("start a new session", Err(error)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor starts the tree that it holds"
)]
fn start(policy: &Path, myself: Pid, program: &Program) -> io::Result<Pid> {
    let child = Command::new("/proc/self/exe")
        .arg0("loki-jail")
        .args([
            "enter",
            "--supervisor",
            &myself.as_raw_nonzero().to_string(),
            "--policy",
        ])
        .arg(policy)
        .arg("--")
        .arg(&program.name)
        .args(&program.arguments)
        .env_clear()
        .stdin(Stdio::null())
        .spawn()?;
    Ok(Pid::from_child(&child))
}

fn exit(status: WaitStatus) -> Option<Exit> {
    let code = status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok())
        .map(Exit::Code);
    let signal = || {
        status
            .terminating_signal()
            .and_then(|signal| u8::try_from(signal).ok())
            .map(Exit::Signal)
    };
    code.or_else(signal)
}

/// Returns user and system time of all reaped processes, in milliseconds.
fn children_cpu_ms() -> [Option<u64>; 2] {
    let line = std::fs::read("/proc/self/stat").unwrap_or_default();
    let fields = tree::fields(&line).unwrap_or_default();
    FIELDS_CHILDREN_CPU.map(|number| {
        let ticks: u64 = fields.get(number - tree::FIRST_FIELD)?.parse().ok()?;
        Some(ticks * MILLISECONDS_PER_TICK)
    })
}

fn write_report(file: &mut File, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    file.write_all(&line)
}

fn wait_for(watched: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(watched, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn step<T, E: Into<io::Error>>(
    what: &'static str,
    done: Result<T, E>,
) -> Result<T, SuperviseError> {
    done.map_err(|error| SuperviseError::Step {
        what,
        source: error.into(),
    })
}

/// How long withstanding processes are killed again and again.
const KILL_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a tree that keeps starting processes is halted again and again.
const FREEZE_TIME_MAX: Duration = Duration::from_secs(2);

/// Between two looks at a tree that is being killed or frozen.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often orphans that have ended are reaped, and the runtime's life is checked beyond the lifeline.
const TICK: Duration = Duration::from_secs(1);

/// User and system time of reaped children, by number in the kernel's manual.
const FIELDS_CHILDREN_CPU: [usize; 2] = [16, 17];

/// The kernel counts these in hundredths of a second on every architecture that Landlock and Rust share.
const MILLISECONDS_PER_TICK: u64 = 10;
