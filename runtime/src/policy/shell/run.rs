//! Carries one command out in thought: takes wrappers off, follows what changes the shell itself.

use super::super::embedded::{self, Code};
use super::super::path::{base_name, canonical};
use super::super::piece::Piece;
use super::super::word::{HOLE, Word, ansi_c};
use super::super::wrapper::{self, Inside};
use super::{Input, Shell};

impl Shell {
    /// Takes a command in and returns what it prints, if that is known.
    pub(super) fn run(
        &mut self,
        words: Vec<Word>,
        input: &Input,
        writes: Vec<Word>,
    ) -> Option<String> {
        let Some((first, arguments)) = words.split_first() else {
            if !writes.is_empty() {
                self.push(String::new(), Vec::new(), writes);
            }
            return Some(String::new());
        };
        if self.depth >= super::DEPTH_MAX {
            self.doubt(&first.text, "it is too deeply nested to be read");
            return None;
        }
        if !first.is_known() {
            self.doubt(
                &shown(&words),
                "which program it runs is known only when it runs",
            );
            self.push(HOLE.to_string(), arguments.to_vec(), writes);
            return None;
        }
        if first.glob && first.text != "[" && first.text != "[[" {
            self.doubt(
                &shown(&words),
                "which program it runs depends on the names of files",
            );
            self.push(first.text.clone(), arguments.to_vec(), writes);
            return None;
        }
        let name = base_name(&first.text).to_owned();
        let name = self.renamed.get(&name).cloned().unwrap_or(name);
        self.push(name.clone(), arguments.to_vec(), writes);
        self.depth += 1;
        let printed = self.follow(&name, arguments, input);
        self.depth -= 1;
        printed
    }

    fn push(&mut self, name: String, arguments: Vec<Word>, writes: Vec<Word>) {
        if self.reading.pieces.len() >= PIECES_MAX {
            self.doubt(&name, "it is too long or too deeply nested to be read");
            return;
        }
        self.reading.pieces.push(Piece {
            name,
            arguments,
            directory: self.directory.clone(),
            writes,
        });
    }

    fn follow(&mut self, name: &str, arguments: &[Word], input: &Input) -> Option<String> {
        if let Some(body) = self.functions.get(name).cloned() {
            return self.call(&body, arguments);
        }
        if let Some(printed) = self.builtin(name, arguments, input) {
            return printed;
        }
        for inside in wrapper::inside(name, arguments, input) {
            self.take(inside, input);
        }
        for code in embedded::code(name, arguments, input) {
            match code {
                Code::Shell(text) => self.inner_script(&text),
                Code::Foreign(text) => {
                    self.foreign(&text);
                    self.doubt(
                        &format!("{name} {}", shown(arguments)),
                        "it runs code of another language",
                    );
                }
                Code::Unknown(why) => self.doubt(&format!("{name} {}", shown(arguments)), why),
            }
        }
        None
    }

    fn take(&mut self, inside: Inside, input: &Input) {
        match inside {
            Inside::Command { words, directory } => {
                let before = self.directory.clone();
                if let Some(directory) = directory {
                    self.change_directory(&directory);
                }
                self.run(words, input, Vec::new());
                self.directory = before;
            }
            Inside::Script { text, positional } => {
                let before = std::mem::replace(&mut self.positional, positional);
                self.inner_script(&text);
                self.positional = before;
            }
            Inside::Unknown(what, why) => self.doubt(&what, why),
        }
    }

    /// Reads a text that another shell runs: what it changes ends with it.
    fn inner_script(&mut self, text: &str) {
        if text.contains(HOLE) {
            self.doubt(text, "a shell runs what is known only when it runs");
        }
        let (directory, variables) = (self.directory.clone(), self.variables.clone());
        self.script(text);
        (self.directory, self.variables) = (directory, variables);
    }

    /// Looks for shell texts within code of another language; only what they hold counts, not what
    /// of them cannot be told.
    fn foreign(&mut self, code: &str) {
        let doubts = self.reading.doubts.len();
        for text in embedded::quoted(code) {
            self.inner_script(&text);
        }
        self.reading.doubts.truncate(doubts);
    }

    fn call(&mut self, body: &str, arguments: &[Word]) -> Option<String> {
        if self.depth > CALLS_DEEP_MAX {
            return None;
        }
        let positional = std::mem::replace(&mut self.positional, arguments.to_vec());
        let printed = self.script(body);
        self.positional = positional;
        printed
    }

    /// Follows what a shell does itself; nothing if the program is none of its own.
    fn builtin(&mut self, name: &str, arguments: &[Word], input: &Input) -> Option<Option<String>> {
        match name {
            "cd" | "pushd" => {
                let home = Word::known(self.home.clone());
                let target = arguments.iter().find(|word| !word.text.starts_with('-'));
                self.change_directory(target.unwrap_or(&home));
            }
            "popd" => self.directory = None,
            "read" | "mapfile" | "readarray" | "getopts" => {
                for word in arguments {
                    self.variables.insert(word.text.clone(), None);
                }
            }
            "set" => {
                if let Some(at) = arguments.iter().position(|word| word.text == "--") {
                    self.positional = arguments[at + 1..].to_vec();
                }
            }
            "shift" => self.positional = vec![Word::hole(); 9],
            "export" | "declare" | "local" | "readonly" | "typeset" => {
                for word in arguments {
                    if let Some((name, value)) = word.text.split_once('=') {
                        let value = word.is_known().then(|| value.to_owned());
                        self.variables.insert(name.to_owned(), value);
                    }
                }
            }
            "eval" => {
                let text = joined(arguments);
                if text.contains(HOLE) {
                    self.doubt(&text, "it runs what is known only when it runs");
                }
                self.script(&text);
            }
            "source" | "." => self.source(arguments, input),
            "alias" => {
                for word in arguments {
                    if let Some((name, value)) = word.text.split_once('=') {
                        self.inner_script(value);
                        self.functions
                            .insert(name.to_owned(), format!("{value} \"$@\""));
                    }
                }
            }
            "trap" => {
                if let Some(word) = arguments.iter().find(|word| !word.text.starts_with('-')) {
                    let text = word.text.clone();
                    self.inner_script(&text);
                }
            }
            "cp" | "mv" | "ln" | "install" => {
                self.rename(arguments);
                return None;
            }
            "echo" => return Some(echoed(arguments)),
            "printf" => return Some(printed(arguments)),
            "cat" if arguments.is_empty() => {
                return Some(match input {
                    Input::Text(text) => Some(text.clone()),
                    Input::Inherited | Input::Unknown => None,
                });
            }
            _ => return None,
        }
        Some(Some(String::new()))
    }

    fn source(&mut self, arguments: &[Word], input: &Input) {
        let Some(file) = arguments.first() else {
            return;
        };
        match (&file.content, input) {
            (Some(text), _) => {
                let text = text.clone();
                self.script(&text);
            }
            (None, Input::Text(text)) if file.text == "/dev/stdin" => {
                self.script(text);
            }
            (None, _) if !file.is_known() || file.text == "/dev/stdin" => {
                self.doubt(&file.text, "it runs what is known only when it runs");
            }
            (None, _) => {}
        }
    }

    fn change_directory(&mut self, word: &Word) {
        let place = super::super::path::Place {
            directory: self.directory.as_deref(),
            home: &self.home,
        };
        self.directory = if word.is_known() && !word.glob && word.text != "-" {
            canonical(&word.text, word.tilde, place)
        } else {
            None
        };
    }

    /// Remembers under which other name a program can be called now.
    fn rename(&mut self, arguments: &[Word]) {
        let operands: Vec<&Word> = arguments
            .iter()
            .filter(|word| !word.text.starts_with('-'))
            .collect();
        if let [from, to] = operands.as_slice() {
            let from = base_name(&from.text).to_owned();
            let from = self.renamed.get(&from).cloned().unwrap_or(from);
            let to = base_name(&to.text).to_owned();
            if to != from && self.renamed.len() < RENAMED_MAX {
                self.renamed.insert(to, from);
            }
        }
    }
}

fn joined(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}

fn shown(words: &[Word]) -> String {
    joined(words)
}

fn echoed(arguments: &[Word]) -> Option<String> {
    let mut escapes = false;
    let mut rest = arguments;
    while let Some((first, after)) = rest.split_first() {
        match first.text.as_str() {
            "-e" | "-ne" | "-en" => escapes = true,
            "-n" | "-E" => {}
            _ => break,
        }
        rest = after;
    }
    let text = joined(rest);
    if text.contains(HOLE) || rest.iter().any(|word| word.glob) {
        return None;
    }
    let text = if escapes { ansi_c(&text) } else { text };
    Some(text + "\n")
}

fn printed(arguments: &[Word]) -> Option<String> {
    let (format, values) = arguments.split_first()?;
    let text = match format.text.as_str() {
        "%s" | "%b" | "%s\\n" | "%b\\n" | "%s " => joined(values),
        text if !text.contains('%') => ansi_c(text),
        _ => return None,
    };
    let text = if format.text.contains("%b") {
        ansi_c(&text)
    } else {
        text
    };
    (!text.contains(HOLE)).then_some(text)
}

const PIECES_MAX: usize = 2_000;
const RENAMED_MAX: usize = 64;
const CALLS_DEEP_MAX: usize = 40;
