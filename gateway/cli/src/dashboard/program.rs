//! The two programs: where each lies, what it is told, and which process runs it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ::config::home::Home;
use ::config::private;

use super::log;
use crate::failure::Failure;
use crate::private_file;
use crate::process::{Identity, Process};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Who may come in.
    Gateway,
    /// What agents do.
    Runtime,
}

impl Program {
    /// Returns the short name, as in messages and file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Runtime => "runtime",
        }
    }

    /// Returns the program's file, which lies beside this one.
    pub(super) fn file(self) -> Result<PathBuf, Failure> {
        let own = std::env::current_exe().map_err(|error| {
            Failure::failed(format!("cannot tell where this program is: {error}"))
        })?;
        let file = own.with_file_name(format!("loki-{}", self.name()));
        if file.is_file() {
            return Ok(file);
        }
        Err(
            Failure::failed(format!("there is no {}", file.display())).fix(format!(
                "install loki-{} beside {}",
                self.name(),
                own.display()
            )),
        )
    }

    /// Returns where the program's process is noted.
    fn note(self, home: &Home) -> PathBuf {
        home.run().join(format!("{}.pid", self.name()))
    }

    /// Returns the process that was started by this command line, if it still runs.
    pub(crate) fn running(self, home: &Home) -> Result<Option<Process>, Failure> {
        let path = self.note(home);
        let Some(text) = private_file::read(&path)? else {
            return Ok(None);
        };
        let identity: Identity = serde_json::from_str(&text).map_err(|error| {
            Failure::failed(format!("{} names no process: {error}", path.display()))
                .fix("remove the file")
        })?;
        Ok(Process::open(&identity))
    }

    /// Notes a process that was started, for `stop` and `status`.
    pub(super) fn remember(self, home: &Home, child: &Child) -> Result<Process, Failure> {
        let process = Process::of_child(child).map_err(|error| {
            Failure::failed(format!("cannot watch the {}: {error}", self.name()))
        })?;
        let path = self.note(home);
        let text = serde_json::to_vec(process.identity())
            .map_err(|error| Failure::failed(format!("cannot note a process: {error}")))?;
        private::replace_file(&path, &text).map_err(|error| Failure::io("write", &path, &error))?;
        Ok(process)
    }

    /// Forgets the process that was noted.
    pub(super) fn forget(self, home: &Home) -> Result<(), Failure> {
        let path = self.note(home);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::io("remove", &path, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Starts the program in a session of its own, with its output in its log.
    pub(super) fn detach(self, home: &Home, arguments: &[OsString]) -> Result<Child, Failure> {
        let own = std::env::current_exe().map_err(|error| {
            Failure::failed(format!("cannot tell where this program is: {error}"))
        })?;
        let (output, errors) = log::open(self, home)?;
        let mut command = command(&own);
        command
            .arg("run-detached")
            .arg(self.file()?)
            .args(arguments)
            .stdout(output)
            .stderr(errors);
        self.spawn(command)
    }

    /// Starts the program with this terminal's output, but out of reach of its keys.
    pub(super) fn attach(self, arguments: &[OsString]) -> Result<Child, Failure> {
        use std::os::unix::process::CommandExt;
        let mut command = command(&self.file()?);
        command.args(arguments).process_group(0);
        self.spawn(command)
    }

    fn spawn(self, mut command: Command) -> Result<Child, Failure> {
        command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| Failure::failed(format!("cannot start the {}: {error}", self.name())))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this starts the two daemons, no agent's process"
)]
fn command(program: &Path) -> Command {
    Command::new(program)
}
