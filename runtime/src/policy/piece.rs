//! One command within a text: what it runs, on what, where, and where its output goes.

use super::path::Place;
use super::word::Word;

/// One command, after everything around it was taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The program's name, without its folder.
    pub(super) name: String,
    /// What it is given.
    pub(super) arguments: Vec<Word>,
    /// The working directory, if it is known.
    pub(super) directory: Option<String>,
    /// Files that its output is written to.
    pub(super) writes: Vec<Word>,
}

impl Piece {
    /// Returns where it runs.
    pub(super) fn place<'a>(&'a self, home: &'a str) -> Place<'a> {
        Place {
            directory: self.directory.as_deref(),
            home,
        }
    }

    /// Returns the command for people.
    #[must_use]
    pub(super) fn shown(&self) -> String {
        let mut text = self.name.clone();
        for word in &self.arguments {
            text.push(' ');
            text.push_str(&word.shown());
        }
        for word in &self.writes {
            text.push_str(" >");
            text.push_str(&word.shown());
        }
        text.chars().take(SHOWN_MAX).collect()
    }
}

const SHOWN_MAX: usize = 400;
