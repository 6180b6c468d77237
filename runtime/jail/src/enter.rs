//! The way in: this process narrows itself, step by step, and then becomes the program.
//!
//! Invariant: the program runs only after every step has succeeded; a step that fails ends this
//! process.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::landlock::{self, LandlockError};
use crate::policy::{Policy, PolicyError};
use crate::room::{self, Entered, RoomError};
use crate::{allow_list, capabilities, descriptors, limits, private_file, seccomp};

/// What is to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// Says which step failed, so that the program did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file that the policy names cannot be opened or created.
    #[error("cannot open {what} {path}: {source}; fix: correct the policy's field `{what}`", path = .path.display())]
    File {
        /// The policy's field.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step that always works on a sound host did not.
    #[error("cannot {what}: {source}; fix: {fix}")]
    Step {
        /// The step.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        fix: &'static str,
    },
    /// The supervisor ended before this process was bound to it.
    #[error("cannot go on without a supervisor: it has ended; fix: start the program anew")]
    Orphaned,
    /// The system-call filter could not be set.
    #[error(
        "cannot close the ways around the port list: {0}; fix: use a kernel built with CONFIG_SECCOMP_FILTER"
    )]
    Detours(#[from] seccompiler::Error),
    /// Landlock could not be enforced.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// The sandbox could not be entered.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// There is no such program.
    #[error("cannot find program {}: {source}; fix: correct its name or the PATH in the policy's environment", .program.display())]
    NotFound {
        /// The program.
        program: OsString,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("cannot execute program {}: {source}; fix: make it executable, and list it and its interpreter in the policy's list `read`", .program.display())]
    NotExecutable {
        /// The program.
        program: OsString,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Narrows this process to the policy and becomes the program. Returns only if that failed, or, with
/// the sandbox, in the processes that wait for the program: then the program's exit code.
///
/// `supervisor` is the process whose end is to kill this one.
pub(crate) fn enter(
    policy: &Path,
    supervisor: Option<Pid>,
    program: &Program,
) -> Result<ExitCode, EnterError> {
    // Everything that lies outside the jail is opened first: afterwards it is out of reach.
    let policy = Policy::read(policy)?;
    let stdin = open_stdin(&policy)?;
    let layers_file = create_layers(&policy)?;

    // A session of its own takes away the terminal, and keeps `kill 0` from reaching the supervisor.
    step(
        "start a new session",
        "start it through `loki-jail supervise`",
        new_session(),
    )?;
    // Descriptors carry the rights of whoever opened them. Landlock does not look at them again.
    step(
        "close inherited descriptors",
        "mount /proc",
        descriptors::close_on_execute_above_two(),
    )?;

    if let Some(sandbox) = &policy.sandbox {
        // Everything that is still outside ends with the supervisor.
        bind_to(supervisor)?;
        return match room::enter(&policy, sandbox)? {
            Entered::Waited(code) => Ok(code),
            Entered::Program(layers, control) => {
                write_layers(layers_file, &policy, &layers)?;
                let stdin = control.map_or(stdin, File::from);
                execute(program, &policy, stdin).map(|never| match never {})
            }
        };
    }
    rustix::process::umask(Mode::from_bits_truncate(policy.umask));
    std::env::set_current_dir(&policy.working_directory).map_err(|source| EnterError::File {
        what: "working_directory",
        path: policy.working_directory.clone(),
        source,
    })?;
    step(
        "lower resource limits",
        "raise the values in the policy's limits",
        limits::lower(&policy.limits),
    )?;

    // Root's powers go before Landlock comes, for they reach around it. From here on no file mode is
    // overridden either, so that a rule is only made for what the program could open itself.
    step(
        "drop capabilities",
        "run the runtime as an ordinary user",
        capabilities::drop_all(),
    )?;
    // Without this a set-user-id program would bring powers back, and Landlock would be refused.
    step(
        "set no new privileges",
        "use a kernel newer than Linux 3.5",
        rustix::thread::set_no_new_privs(true),
    )?;
    // The kernel forgets this whenever powers change, so it comes after all such changes.
    bind_to(supervisor)?;

    // While the sockets' names are still to be reached.
    let contained = policy.contained.as_ref();
    let control = contained.map(room::open_ways).transpose()?.flatten();
    let stdin = control.map_or(stdin, File::from);
    let layers = landlock::narrow(&policy)?;
    // After Landlock, whose own calls then need no thought.
    if contained.is_some() {
        allow_list::enforce()?;
    } else if policy.connect_ports.is_some() {
        seccomp::close_detours()?;
    }
    // Last, so that the file tells only of what is in force. It was opened before.
    write_layers(layers_file, &policy, &layers)?;
    execute(program, &policy, stdin).map(|never| match never {})
}

fn open_stdin(policy: &Policy) -> Result<File, EnterError> {
    let path = policy.stdin.as_deref().unwrap_or(Path::new("/dev/null"));
    private_file::open(path).map_err(|source| EnterError::File {
        what: "stdin",
        path: path.to_owned(),
        source,
    })
}

fn create_layers(policy: &Policy) -> Result<Option<File>, EnterError> {
    let Some(path) = &policy.layers else {
        return Ok(None);
    };
    let failed = |source| EnterError::File {
        what: "layers",
        path: path.clone(),
        source,
    };
    private_file::create(path).map(Some).map_err(failed)
}

fn write_layers(
    file: Option<File>,
    policy: &Policy,
    layers: &crate::Layers,
) -> Result<(), EnterError> {
    let (Some(mut file), Some(path)) = (file, &policy.layers) else {
        return Ok(());
    };
    let written = serde_json::to_vec(layers)
        .map_err(io::Error::from)
        .and_then(|mut line| {
            line.push(b'\n');
            file.write_all(&line)
        });
    written.map_err(|source| EnterError::File {
        what: "layers",
        path: path.clone(),
        source,
    })
}

fn new_session() -> Result<(), Errno> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        // Refused to the leader of a process group; one that leads its session has what it needs.
        Err(Errno::PERM) if rustix::process::getsid(None)? == rustix::process::getpid() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has the kernel kill this process when its supervisor ends.
fn bind_to(supervisor: Option<Pid>) -> Result<(), EnterError> {
    let bound = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    step("bind itself to its parent", "use a Linux kernel", bound)?;
    // A supervisor that ended before the binding would never be noticed.
    if supervisor.is_some() && rustix::process::getppid() != supervisor {
        return Err(EnterError::Orphaned);
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this process becomes the program"
)]
fn execute(program: &Program, policy: &Policy, stdin: File) -> Result<Infallible, EnterError> {
    let source = Command::new(&program.name)
        .args(&program.arguments)
        .env_clear()
        .envs(&policy.environment)
        .stdin(stdin)
        .exec();
    let program = program.name.clone();
    if source.kind() == io::ErrorKind::NotFound {
        Err(EnterError::NotFound { program, source })
    } else {
        Err(EnterError::NotExecutable { program, source })
    }
}

fn step<E: Into<io::Error>>(
    what: &'static str,
    fix: &'static str,
    done: Result<(), E>,
) -> Result<(), EnterError> {
    done.map_err(|error| EnterError::Step {
        what,
        source: error.into(),
        fix,
    })
}
