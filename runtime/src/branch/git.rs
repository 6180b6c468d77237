//! Git: started here and nowhere else, always inside the jail, always in the same environment.
//!
//! Invariant: of what a repository's own settings can start (hooks, filters, monitors, editors, pagers,
//! helpers, transports), nothing is started; and were it started after all, it would be in the jail
//! that the one call was given.

mod environment;
mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::BranchError;
use crate::sandbox::{Confined, Finished, Sandbox};

pub(super) use environment::{EMAIL, NAME};

/// Starts git for one session.
#[derive(Clone, Debug)]
pub(super) struct Git {
    sandbox: Sandbox,
    /// The `HOME` of git.
    home: PathBuf,
    /// The permission bits that new files in a project do not get: those of the runtime itself.
    umask: u32,
}

/// A repository, with the place that has to be readable for it.
///
/// The jail opens the places that a call lists before it narrows itself, links followed. So a place
/// must never lie where an agent can put a link: for a clone it is the workspace, not the `.git` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    git_directory: PathBuf,
    place: PathBuf,
}

/// One call of git.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// What is being done, to follow "cannot".
    what: &'static str,
    repository: Repository,
    work_tree: Option<PathBuf>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    input: Option<PathBuf>,
    settings: Vec<(String, String)>,
    arguments: Vec<OsString>,
    /// Whether it may reach the network: HTTPS alone.
    online: bool,
}

/// What a call left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer(Finished);

impl Repository {
    /// Names a repository which no agent can write.
    pub(super) fn own(path: &Path) -> Self {
        Self {
            git_directory: path.to_owned(),
            place: path.to_owned(),
        }
    }

    /// Names the repository of a clone in which an agent works.
    pub(super) fn of_workspace(workspace: &Path) -> Self {
        Self {
            git_directory: workspace.join(".git"),
            place: workspace.to_owned(),
        }
    }
}

impl Call {
    /// Describes a call on a repository, which it may read.
    pub(super) fn new(what: &'static str, repository: &Repository) -> Self {
        Self {
            what,
            read: vec![repository.place.clone()],
            repository: repository.clone(),
            work_tree: None,
            write: Vec::new(),
            input: None,
            settings: Vec::new(),
            arguments: Vec::new(),
            online: false,
        }
    }

    /// Lets the call reach hosts by HTTPS, and nothing else.
    pub(super) const fn online(mut self) -> Self {
        self.online = true;
        self
    }

    /// Names the work tree, which the call may read.
    pub(super) fn work_tree(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.read.push(path.clone());
        self.work_tree = Some(path);
        self
    }

    /// Lets the call read one more place.
    pub(super) fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.read.push(path.into());
        self
    }

    /// Lets the call write a place.
    pub(super) fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.write.push(path.into());
        self
    }

    /// Names the file that git reads as standard input.
    pub(super) fn input(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Some(path.into());
        self
    }

    /// Adds settings which win over the repository's own.
    pub(super) fn settings(mut self, settings: impl IntoIterator<Item = (String, String)>) -> Self {
        self.settings.extend(settings);
        self
    }

    /// Adds arguments.
    pub(super) fn arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

impl Git {
    /// Prepares git's home, in which nothing lies but the settings that the runtime writes.
    pub(super) fn new(
        sandbox: &Sandbox,
        home: PathBuf,
        repositories: &[&Path],
    ) -> Result<Self, BranchError> {
        settings::write_global(&home, repositories)?;
        Ok(Self {
            sandbox: sandbox.clone(),
            home,
            umask: environment::own_umask(),
        })
    }

    /// Runs git; anything but success is an error.
    pub(super) async fn run(&self, call: Call) -> Result<Answer, BranchError> {
        let what = call.what;
        let answer = self.ask(call).await?;
        if answer.0.succeeded() {
            Ok(answer)
        } else {
            Err(answer.error(what))
        }
    }

    /// Runs git where the exit code 1 is an answer, too: `None`.
    pub(super) async fn query(&self, call: Call) -> Result<Option<Answer>, BranchError> {
        let what = call.what;
        let answer = self.ask(call).await?;
        match answer.0.code {
            1 if answer.0.cut.is_none() => Ok(None),
            _ if answer.0.succeeded() => Ok(Some(answer)),
            _ => Err(answer.error(what)),
        }
    }

    /// Returns the commit to which a name leads, if it leads to one.
    pub(super) async fn commit(
        &self,
        repository: &Repository,
        name: &str,
    ) -> Result<Option<String>, BranchError> {
        let call = Call::new("look up a commit", repository)
            .arguments(["rev-parse", "--verify", "--quiet", "--end-of-options"])
            .arguments([format!("{name}^{{commit}}")]);
        Ok(self.query(call).await?.map(|answer| answer.line()))
    }

    /// Returns whether one commit descends from another, or is it.
    pub(super) async fn descends(
        &self,
        repository: &Repository,
        commit: &str,
        from: &str,
    ) -> Result<bool, BranchError> {
        let call = Call::new("compare two commits", repository)
            .arguments(["merge-base", "--is-ancestor", "--end-of-options"])
            .arguments([from, commit]);
        Ok(self.query(call).await?.is_some())
    }

    /// Returns the branch that is checked out, as a whole reference; `None` if none is.
    pub(super) async fn head(
        &self,
        repository: &Repository,
    ) -> Result<Option<String>, BranchError> {
        let call = Call::new("tell which branch is checked out", repository).arguments([
            "symbolic-ref",
            "--quiet",
            "HEAD",
        ]);
        Ok(self.query(call).await?.map(|answer| answer.line()))
    }

    /// Returns the number of files that differ between two commits.
    pub(super) async fn files_changed(
        &self,
        repository: &Repository,
        from: &str,
        to: &str,
    ) -> Result<u32, BranchError> {
        let call = Call::new("compare two commits", repository)
            .arguments(["diff-tree", "-r", "--name-only", "--no-renames", "-z"])
            .arguments(["--end-of-options", from, to]);
        Ok(self.run(call).await?.items())
    }

    /// Returns settings which switch off every filter that the repository's own settings name.
    pub(super) async fn without_filters(
        &self,
        repository: &Repository,
    ) -> Result<Vec<(String, String)>, BranchError> {
        let call = Call::new("read the repository's settings", repository).arguments([
            "config",
            "--list",
            "--name-only",
            "-z",
        ]);
        Ok(settings::without_filters(&self.run(call).await?.0.stdout))
    }

    /// Removes a file by a program in the jail, which can write below `folder` alone. Returns whether
    /// it was there.
    pub(super) async fn remove(&self, folder: &Path, file: &Path) -> Result<bool, BranchError> {
        if file.symlink_metadata().is_err() {
            return Ok(false);
        }
        let confined = Confined {
            program_and_arguments: vec!["rm".into(), "-f".into(), "--".into(), file.into()],
            directory: folder.to_owned(),
            read: Vec::new(),
            write: vec![folder.to_owned()],
            environment: environment::plain(),
            input: None,
            connect_ports: Vec::new(),
            memory_bytes_max: Some(self.sandbox.git_memory_bytes_max()),
            umask: self.umask,
            room: None,
        };
        let finished = self
            .sandbox
            .run(confined, OUTPUT_BYTES_MAX, TIME_MAX)
            .await?;
        if finished.succeeded() {
            Ok(true)
        } else {
            Err(Answer(finished).error("remove a stale lock"))
        }
    }

    async fn ask(&self, call: Call) -> Result<Answer, BranchError> {
        let environment = environment::build(&call, &self.home);
        let mut read = call.read;
        read.push(self.home.clone());
        let mut program_and_arguments = vec![OsString::from("git")];
        program_and_arguments.extend(call.arguments);
        let confined = Confined {
            program_and_arguments,
            directory: call.repository.place,
            read,
            write: call.write,
            environment,
            input: call.input,
            connect_ports: if call.online { vec![443] } else { Vec::new() },
            memory_bytes_max: Some(self.sandbox.git_memory_bytes_max()),
            umask: self.umask,
            room: None,
        };
        let finished = self
            .sandbox
            .run(confined, OUTPUT_BYTES_MAX, TIME_MAX)
            .await?;
        Ok(Answer(finished))
    }
}

impl Answer {
    /// Returns the answer of one line.
    pub(super) fn line(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout)
            .trim_end()
            .to_owned()
    }

    /// Returns the answer as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.stdout
    }

    /// Returns the whole answer.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Returns the answer's lines.
    pub(super) fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.0.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Returns the number of items, each of which ends with NUL.
    pub(super) fn items(&self) -> u32 {
        let count = self.0.stdout.iter().filter(|byte| **byte == 0).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn error(self, what: &'static str) -> BranchError {
        let said = match self.0.cut {
            Some(cut) => cut.to_string(),
            None => one_line(&self.0.stderr),
        };
        BranchError::Git { what, said }
    }
}

/// Makes one short line of what git said. Names in it come from the agent, so nothing in it may
/// control a terminal.
fn one_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<String> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("hint:"))
        .map(|line| line.replace(char::is_control, "\u{fffd}"))
        .collect();
    let line = lines.join("; ");
    match line.char_indices().nth(SAID_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "git said nothing".to_owned(),
        None => line,
    }
}

const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

const TIME_MAX: Duration = Duration::from_secs(900);

const SAID_CHARACTERS_MAX: usize = 600;
