//! Why a command ends without having done what it should: what, why, the fix, and the exit code.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use ::config::load::Mistakes;
use gateway::tokens::change::ChangeError;
use gateway::tokens::select::NotSelected;
use gateway::tokens::store::StoreError;

use crate::output;

/// The exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nobody reads the output any more: nothing to complain about.
    Quiet = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// The command was not understood.
    Usage = 2,
    /// The gateway said no.
    Refused = 3,
    /// There is no gateway, or no runtime behind it.
    Unreachable = 4,
    /// The settings have mistakes.
    Settings = 64,
}

/// What could not be done, to what, why, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    fix: Option<String>,
}

impl Failure {
    /// Builds a failure from its exit code and from what could not be done, to what, and why.
    pub(crate) fn new(exit: Exit, what: impl Display) -> Self {
        Self {
            exit,
            what: what.to_string(),
            fix: None,
        }
    }

    /// Builds a failure of something that was tried.
    pub(crate) fn failed(what: impl Display) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// Builds a failure of a command that was not understood.
    pub(crate) fn usage(what: impl Display) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Builds a failure of the system.
    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot {action} {}: {error}", path.display()))
    }

    /// Builds an ending after everything was said already.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Adds what to do next.
    pub(crate) fn fix(mut self, fix: impl Display) -> Self {
        self.fix = Some(fix.to_string());
        self
    }

    /// Returns the exit code.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what could not be done.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Tells the person and returns the process's exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.what.is_empty() {
            output::error(&format!("error: {}", self.what));
        }
        if let Some(fix) = &self.fix {
            output::error(&format!("fix: {fix}"));
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error)
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::NotSelected(NotSelected::Several { .. }) => Self::usage(error),
            ChangeError::NotSelected(NotSelected::Nothing(_))
            | ChangeError::Store(_)
            | ChangeError::NameTaken { .. }
            | ChangeError::NotRotatable { .. }
            | ChangeError::TooMany
            | ChangeError::TooManyExchanged
            | ChangeError::NoRandomness(_) => Self::failed(error),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::new(
            Exit::Settings,
            format!("the settings have mistakes:\n{mistakes}"),
        )
    }
}
