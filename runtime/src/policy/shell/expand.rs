//! Words and variables: what a shell makes of quotes, `$`, braces and substitutions.

use tree_sitter::Node;

use super::super::word::{self, HOLE, Letter, Word};
use super::{Input, Shell, named, part};

impl Shell {
    /// Returns the words that a node becomes.
    pub(super) fn words(&mut self, node: Node<'_>, source: &str) -> Vec<Word> {
        if node.kind() == "process_substitution" {
            let content = self.node(node, source, &Input::Inherited);
            return vec![Word {
                content,
                ..Word::hole()
            }];
        }
        if matches!(part(node, source), "$@" | "\"$@\"" | "$*" | "\"${@}\"") {
            return self.positional.clone();
        }
        let mut letters = Vec::new();
        self.letters(node, source, &mut letters, false);
        let quotes = matches!(
            node.kind(),
            "string" | "raw_string" | "ansi_c_string" | "translated_string"
        );
        let words = word::words(&letters);
        if words.is_empty() && quotes {
            return vec![Word::default()];
        }
        words
    }

    /// Returns the one text that a node becomes, as in an assignment.
    fn text(&mut self, node: Node<'_>, source: &str) -> String {
        let mut letters = Vec::new();
        self.letters(node, source, &mut letters, false);
        letters.iter().map(|letter| letter.value).collect()
    }

    fn letters(&mut self, node: Node<'_>, source: &str, letters: &mut Vec<Letter>, quoted: bool) {
        let text = part(node, source);
        self.steps += 1;
        match node.kind() {
            _ if self.depth > super::NODES_DEEP_MAX => word::push(letters, &HOLE.to_string(), true),
            "string" => self.double_quoted(node, source, letters),
            "raw_string" => word::push(letters, text.trim_matches('\''), true),
            "ansi_c_string" => {
                let inner = text
                    .strip_prefix("$'")
                    .and_then(|rest| rest.strip_suffix('\''));
                word::push(letters, &word::ansi_c(inner.unwrap_or(text)), true);
            }
            "simple_expansion" | "expansion" => self.expansion(node, source, letters, quoted),
            "command_substitution" => {
                let printed = self.node(node, source, &Input::Inherited);
                let printed = printed.map_or_else(
                    || HOLE.to_string(),
                    |printed| printed.trim_end_matches('\n').to_owned(),
                );
                word::push(letters, &printed, quoted);
            }
            "process_substitution" => {
                self.node(node, source, &Input::Inherited);
                word::push(letters, &HOLE.to_string(), true);
            }
            "arithmetic_expansion" => {
                self.children(node, source, &Input::Inherited);
                word::push(letters, "1", true);
            }
            "array" => {
                self.children(node, source, &Input::Inherited);
                word::push(letters, &HOLE.to_string(), true);
            }
            "concatenation" | "translated_string" | "command_name" => {
                self.depth += 1;
                let mut cursor = node.walk();
                let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
                for child in children {
                    if child.is_named() {
                        self.letters(child, source, letters, quoted);
                    } else if part(child, source) != "$" {
                        word::push(letters, part(child, source), quoted);
                    }
                }
                self.depth -= 1;
            }
            _ => word::push_unquoted(letters, text),
        }
    }

    /// Reads `"…"`: what lies between the grammar's nodes is text as well.
    fn double_quoted(&mut self, node: Node<'_>, source: &str, letters: &mut Vec<Letter>) {
        self.depth += 1;
        let mut at = node.start_byte() + 1;
        let end = node.end_byte().saturating_sub(1).max(at);
        for child in named(node) {
            if child.kind() == "string_content" {
                continue;
            }
            let between = source.get(at..child.start_byte()).unwrap_or("");
            word::push_double_quoted(letters, between);
            self.letters(child, source, letters, true);
            at = child.end_byte();
        }
        word::push_double_quoted(letters, source.get(at..end).unwrap_or(""));
        self.depth -= 1;
    }

    /// Reads `$name`, `${name}`, `${name:-other}` and their like.
    fn expansion(&mut self, node: Node<'_>, source: &str, letters: &mut Vec<Letter>, quoted: bool) {
        let text = part(node, source).trim_start_matches('$');
        let braced = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        if braced.is_none() && text.starts_with(|sign: char| sign.is_ascii_digit()) {
            // `$12` is `$1` and a 2.
            let value = self.value(&text[..1]).unwrap_or_default();
            word::push(letters, &value, quoted);
            word::push(letters, &text[1..], quoted);
            return;
        }
        let inner = braced.unwrap_or(text);
        let name: String = inner
            .chars()
            .take_while(|sign| sign.is_ascii_alphanumeric() || *sign == '_')
            .collect();
        let rest = inner.get(name.len()..).unwrap_or("");
        self.children(node, source, &Input::Inherited);
        let value = match (name.as_str(), rest) {
            ("", "@" | "*") if self.positional.is_empty() => Some(String::new()),
            ("", "@" | "*") => Some(joined(&self.positional)),
            ("", _) => None,
            (name, "") => self.value(name),
            (name, rest) => {
                let other = rest
                    .strip_prefix(":-")
                    .or_else(|| rest.strip_prefix('-'))
                    .or_else(|| rest.strip_prefix(":="))
                    .or_else(|| rest.strip_prefix('='));
                match (self.variables.get(name), other) {
                    (None, Some(other)) => Some(plain(other)),
                    (Some(_), Some(_)) => self.value(name),
                    (_, None) => None,
                }
            }
        };
        let value = value.unwrap_or_else(|| HOLE.to_string());
        word::push(letters, &value, quoted);
    }

    fn value(&self, name: &str) -> Option<String> {
        if let Some(value) = self.variables.get(name) {
            return value.clone();
        }
        if let Ok(number) = name.parse::<usize>() {
            let index = number.checked_sub(1)?;
            // Outside a function there are no arguments, and then this is nothing.
            let argument = self.positional.get(index).map(|word| word.text.clone());
            return Some(argument.unwrap_or_default());
        }
        match name {
            "HOME" => Some(self.home.clone()),
            "PWD" => self.directory.clone(),
            "IFS" => Some(" ".to_owned()),
            _ => None,
        }
    }

    /// Takes an assignment in.
    pub(super) fn assign(&mut self, node: Node<'_>, source: &str) {
        let Some(name) = node.child_by_field_name("name") else {
            return;
        };
        let name = part(name, source).to_owned();
        let value = match node.child_by_field_name("value") {
            Some(value) => self.text(value, source),
            None => String::new(),
        };
        let appended = part(node, source)
            .get(name.len()..)
            .is_some_and(|rest| rest.starts_with("+="));
        let value = if appended {
            let before = self.variables.get(&name).cloned().flatten();
            before.map(|before| before + &value)
        } else {
            Some(value)
        };
        let known = value.filter(|value| !value.contains(HOLE));
        self.variables.insert(name, known);
    }

    /// Looks at an assignment before a command: some make programs run others.
    pub(super) fn prefix(&mut self, node: Node<'_>, source: &str) {
        let name = node
            .child_by_field_name("name")
            .map_or("", |name| part(name, source));
        if let Some(value) = node.child_by_field_name("value") {
            let value = self.text(value, source);
            if RUN_BY_OTHERS.contains(&name) {
                self.script(&value);
            }
        }
        if CHANGES_PROGRAMS.contains(&name) {
            self.doubt(part(node, source), "it changes what programs are or do");
        }
    }
}

fn joined(words: &[Word]) -> String {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    texts.join(" ")
}

fn plain(text: &str) -> String {
    text.trim_matches(['"', '\'']).to_owned()
}

/// Variables whose value other programs run as a command.
const RUN_BY_OTHERS: &[&str] = &[
    "EDITOR",
    "GIT_EDITOR",
    "GIT_EXTERNAL_DIFF",
    "GIT_PAGER",
    "GIT_SSH_COMMAND",
    "MANPAGER",
    "PAGER",
    "PROMPT_COMMAND",
    "VISUAL",
];

/// Variables that change which program a name means, or what it does.
const CHANGES_PROGRAMS: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PATH",
];
