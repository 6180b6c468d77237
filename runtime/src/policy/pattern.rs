//! Command patterns: how an entry such as `rm -rf /`, `dd if=` or `mkfs` names commands.
//!
//! The first word names the program and covers `NAME.*` too; flags are a set, combined or not, in any
//! order; a word with a slash is a path; a word that ends with `=` is the beginning of one. Pure: no
//! I/O, no clock.

use std::collections::BTreeSet;

use super::path::{Fit, Place, base_name, canonical};
use super::piece::Piece;
use super::word::{HOLE, Word};

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    program: String,
    flags: BTreeSet<String>,
    operands: Vec<String>,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPattern {
    /// It has no program.
    #[error("names no program")]
    Empty,
    /// Its program is a flag or an assignment.
    #[error("begins with {0:?}, which is no program")]
    NoProgram(String),
    /// It is more than one simple command.
    #[error("holds {0:?}: write the words of one simple command")]
    NotSimple(char),
}

impl Pattern {
    /// Reads a pattern: words of one simple command.
    pub(super) fn read(text: &str) -> Result<Self, BadPattern> {
        if let Some(sign) = text
            .chars()
            .find(|sign| ";|&<>(){}$`'\"\\\n".contains(*sign))
        {
            return Err(BadPattern::NotSimple(sign));
        }
        let mut words = text.split_whitespace();
        let program = words.next().ok_or(BadPattern::Empty)?;
        if program.starts_with('-') || program.contains('=') {
            return Err(BadPattern::NoProgram(program.to_owned()));
        }
        let program = base_name(program).to_owned();
        let words: Vec<Word> = words.map(Word::known).collect();
        let given = Given::of(&program, &words);
        // A cluster stands for its letters, unless it is a word as in `find -delete`.
        let is_cluster =
            |flag: &str| !flag.starts_with("--") && (3..=CLUSTER_MAX).contains(&flag.len());
        let in_word = |flag: &str| {
            flag.len() == 2
                && given.flags.iter().any(|other| {
                    !other.starts_with("--")
                        && other.len() > CLUSTER_MAX
                        && other.contains(&flag[1..])
                })
        };
        let flags = given
            .flags
            .iter()
            .filter(|flag| !is_cluster(flag) && !in_word(flag))
            .cloned()
            .collect();
        Ok(Self {
            flags,
            operands: given
                .operands
                .iter()
                .map(|word| word.text.clone())
                .collect(),
            program,
        })
    }

    /// Returns the program's name.
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// Returns whether the pattern names a program alone.
    pub(super) fn is_bare(&self) -> bool {
        self.flags.is_empty() && self.operands.is_empty()
    }

    /// Returns whether a command is one that the pattern names.
    pub(super) fn fit(&self, piece: &Piece, home: &str) -> Fit {
        if !covers(&self.program, &piece.name) {
            return Fit::No;
        }
        let given = Given::of(&piece.name, &piece.arguments);
        let place = piece.place(home);
        let mut fit = Fit::Yes;
        for flag in &self.flags {
            fit = fit.min(given.has(flag));
        }
        for (position, operand) in self.operands.iter().enumerate() {
            fit = fit.min(given.names(operand, position, place));
        }
        fit
    }
}

/// Returns whether a pattern's program covers a program's name.
pub(super) fn covers(pattern: &str, name: &str) -> bool {
    name.strip_prefix(pattern)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The arguments of a command, told apart.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) flags: BTreeSet<String>,
    pub(super) operands: Vec<&'a Word>,
    /// Whether something is there of which only the command's run tells what it is.
    pub(super) uncertain: bool,
}

impl<'a> Given<'a> {
    pub(super) fn of(program: &str, arguments: &'a [Word]) -> Self {
        let mut given = Self {
            flags: BTreeSet::new(),
            operands: Vec::new(),
            uncertain: false,
        };
        let mut arguments = arguments.iter();
        let mut only_operands = false;
        while let Some(word) = arguments.next() {
            let text = word.text.as_str();
            if word.text.starts_with(HOLE) && !only_operands {
                given.uncertain = true;
            }
            if only_operands || !text.starts_with('-') || text == "-" {
                given.operands.push(word);
            } else if text == "--" {
                only_operands = true;
            } else if let Some(long) = text.strip_prefix("--") {
                let name = long.split('=').next().unwrap_or(long);
                given.flags.insert(same(program, &format!("--{name}")));
            } else if takes_value(program, text) {
                arguments.next();
            } else {
                given.flags.insert(text.to_owned());
                let letters = text.chars().skip(1);
                given
                    .flags
                    .extend(letters.map(|letter| same(program, &format!("-{letter}"))));
            }
        }
        given
    }

    pub(super) fn has(&self, flag: &str) -> Fit {
        let has = self.flags.iter().any(|given| {
            // GNU programs take the beginning of a long flag for the flag.
            given == flag || (given.len() > 4 && given.starts_with("--") && flag.starts_with(given))
        });
        match (has, self.uncertain) {
            (true, _) => Fit::Yes,
            (false, true) => Fit::Maybe,
            (false, false) => Fit::No,
        }
    }

    /// Returns whether an operand is there: a word at its place, a path or a beginning anywhere.
    fn names(&self, wanted: &str, position: usize, place: Place<'_>) -> Fit {
        let anywhere = position > 0
            || wanted.contains('/')
            || wanted.ends_with('=')
            || wanted.starts_with('~');
        let candidates = if anywhere {
            self.operands.as_slice()
        } else {
            &self.operands[..self.operands.len().min(1)]
        };
        let found = candidates
            .iter()
            .map(|word| fits_operand(wanted, word, place))
            .max()
            .unwrap_or(Fit::No);
        if self.uncertain {
            found.max(Fit::Maybe)
        } else {
            found
        }
    }
}

fn fits_operand(wanted: &str, word: &Word, place: Place<'_>) -> Fit {
    if wanted == "/" {
        return super::path::is_root(word, place);
    }
    if wanted.ends_with('=') {
        let starts = word.text.starts_with(wanted);
        return if starts || word.is_known() {
            Fit::sure(starts)
        } else {
            Fit::Maybe
        };
    }
    if !word.is_known() {
        return Fit::Maybe;
    }
    if wanted.contains('/') || wanted.starts_with('~') {
        let wanted = canonical(wanted, true, place);
        let found = canonical(&word.text, word.tilde, place);
        return match (wanted, found) {
            (Some(wanted), Some(found)) => Fit::sure(like(&wanted, &found)),
            (None, _) | (_, None) => Fit::Maybe,
        };
    }
    Fit::sure(like(wanted, &word.text))
}

/// Matches a text with a pattern in which `*` stands for anything.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.any(|at| like(rest, &text[at..]))
}

/// Longest text that is taken for several flags in one, such as `-rfv`.
const CLUSTER_MAX: usize = 5;

/// Gives flags of the same meaning one name.
fn same(program: &str, flag: &str) -> String {
    let names: &[(&str, &str)] = match program {
        "rm" | "cp" | "chmod" | "chown" | "chgrp" | "grep" => {
            &[("-R", "-r"), ("--recursive", "-r"), ("--force", "-f")]
        }
        "git" => &[("-f", "--force")],
        _ => &[],
    };
    let long = |name: &str| flag.len() > 3 && flag.starts_with("--") && name.starts_with(flag);
    names
        .iter()
        .find(|(name, _)| *name == flag || long(name))
        .map_or(flag, |(_, same)| same)
        .to_owned()
}

/// Returns whether a flag is followed by a value that is no operand.
fn takes_value(program: &str, flag: &str) -> bool {
    match program {
        "git" => matches!(flag, "-C" | "-c"),
        "docker" | "podman" => matches!(flag, "-H" | "-c" | "-l"),
        "kubectl" => matches!(flag, "-n" | "-s"),
        "make" => matches!(flag, "-C" | "-f" | "-j"),
        _ => false,
    }
}
