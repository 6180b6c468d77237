//! One running process tree: its output, its requests, its end.
//!
//! Invariant: the tree lives no longer than its [`Tree`], nor than the runtime itself.

use std::time::Duration;

use super::SandboxError;

/// A running process tree. Dropping it kills the tree.
#[derive(Debug)]
pub struct Tree {}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written.
    pub stream: Stream,
    /// What was written; cut anywhere, also within a line or a character.
    pub bytes: Vec<u8>,
}

/// Names one of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Says why the runtime itself ended a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It wrote more than this many bytes.
    Output(u64),
    /// It ran longer than this.
    Time(Duration),
}

/// Tells how a tree ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code of the program; 128 + n after signal n.
    pub code: i32,
    /// What the supervisor reports.
    pub report: jail::Report,
    /// What was enforced.
    pub layers: jail::Layers,
    /// Why the runtime ended it, if it did because of a bound.
    pub cut: Option<Cut>,
}

/// A program that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; 128 + n after signal n.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Tree {
    /// Returns the process id of the tree's supervisor.
    #[must_use]
    pub fn supervisor(&self) -> u32 {
        unimplemented!()
    }

    /// Waits for the next piece of output; `None` after the last one. More output than allowed kills
    /// the tree. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Option<Chunk> {
        unimplemented!()
    }

    /// Asks the whole tree to end, and kills after the grace what is left. Does not wait.
    ///
    /// # Errors
    /// When the supervisor cannot be told; a supervisor that has ended is no error.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), SandboxError> {
        unimplemented!("{grace:?}")
    }

    /// Kills the whole tree. Does not wait.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn kill(&mut self) -> Result<(), SandboxError> {
        unimplemented!()
    }

    /// Waits until the whole tree is gone. Output that was not fetched is dropped.
    ///
    /// # Errors
    /// When the program never started, or the supervisor did not say how the tree ended.
    pub async fn wait(self) -> Result<Ended, SandboxError> {
        unimplemented!()
    }
}
