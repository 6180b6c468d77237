//! Reads a shell text by its grammar and lists every command that it would run.
//!
//! Invariant: whatever cannot be read or told in advance becomes a doubt; nothing is left out
//! silently. Pure: nothing is run or looked up; every walk has a bound.

mod expand;
mod fold;
mod run;

use std::collections::BTreeMap;

use tree_sitter::{Node, Parser};

use super::piece::Piece;
use super::word::{self, Word};

/// What a text would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Its commands, unwrapped, in the order in which they are met.
    pub(super) pieces: Vec<Piece>,
    /// What cannot be told in advance, and why.
    pub(super) doubts: Vec<Doubt>,
    /// Functions that start themselves again and again.
    pub(super) bombs: Vec<String>,
}

/// Something that cannot be told before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The part of the text.
    pub(super) what: String,
    /// Why.
    pub(super) why: &'static str,
}

/// What a command reads on standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Whatever the caller has.
    Inherited,
    /// This text.
    Text(String),
    /// Something that is known only when it runs.
    Unknown,
}

/// Reads a text that runs in a folder.
pub(super) fn read(text: &str, directory: &str, home: &str) -> Reading {
    let mut shell = Shell {
        reading: Reading::default(),
        home: home.to_owned(),
        directory: Some(directory.to_owned()),
        variables: BTreeMap::new(),
        functions: BTreeMap::new(),
        renamed: BTreeMap::new(),
        positional: Vec::new(),
        depth: 0,
        steps: 0,
    };
    shell.script(text);
    shell.reading
}

/// The state of a shell, as far as it matters for what is run.
#[derive(Clone, Debug)]
struct Shell {
    reading: Reading,
    home: String,
    directory: Option<String>,
    /// Values that the text itself sets; none if only its run tells.
    variables: BTreeMap<String, Option<String>>,
    functions: BTreeMap<String, String>,
    /// Programs that were copied or linked to another name.
    renamed: BTreeMap<String, String>,
    positional: Vec<Word>,
    depth: usize,
    steps: usize,
}

/// Where the output and input of a command go.
#[derive(Clone, Debug)]
struct Streams {
    input: Input,
    writes: Vec<Word>,
    /// Words that the grammar takes for further targets but a shell takes for arguments.
    arguments: Vec<Word>,
}

impl Shell {
    /// Reads a text as one script and returns what it prints, if that is known.
    fn script(&mut self, text: &str) -> Option<String> {
        if self.depth >= DEPTH_MAX || text.len() > TEXT_BYTES_MAX {
            self.doubt(text, "it is too long or too deeply nested to be read");
            return None;
        }
        let mut parser = Parser::new();
        if parser
            .set_language(&tree_sitter_bash::LANGUAGE.into())
            .is_err()
        {
            self.doubt(text, "the grammar cannot be used");
            return None;
        }
        let folded = fold::fold(text);
        if let Some(why) = folded.doubt {
            self.doubt(text, why);
        }
        let Some(tree) = parser.parse(folded.text.as_bytes(), None) else {
            self.doubt(text, "it cannot be parsed");
            return None;
        };
        if tree.root_node().has_error() {
            self.doubt(text, "it is not whole shell grammar");
        }
        self.depth += 1;
        let printed = self.node(tree.root_node(), text, &Input::Inherited);
        self.depth -= 1;
        printed
    }

    fn doubt(&mut self, what: &str, why: &'static str) {
        let what: String = what.chars().take(SHOWN_MAX).collect();
        let doubt = Doubt {
            what: what.replace(word::HOLE, "…"),
            why,
        };
        if self.reading.doubts.len() < DOUBTS_MAX && !self.reading.doubts.contains(&doubt) {
            self.reading.doubts.push(doubt);
        }
    }

    /// Reads one node and returns what it prints, if that is known.
    fn node(&mut self, node: Node<'_>, source: &str, input: &Input) -> Option<String> {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth > NODES_DEEP_MAX {
            self.doubt(source, "it is too long or too deeply nested to be read");
            return None;
        }
        self.depth += 1;
        let printed = self.statement(node, source, input);
        self.depth -= 1;
        printed
    }

    fn statement(&mut self, node: Node<'_>, source: &str, input: &Input) -> Option<String> {
        match node.kind() {
            "comment" | "heredoc_start" | "heredoc_end" => Some(String::new()),
            "command" => self.command(node, source, input.clone(), None),
            "redirected_statement" => self.redirected(node, source, input),
            "pipeline" => self.pipeline(node, source, input),
            "subshell" | "command_substitution" | "process_substitution" => {
                let (directory, variables) = (self.directory.clone(), self.variables.clone());
                let printed = self.children(node, source, input);
                (self.directory, self.variables) = (directory, variables);
                printed
            }
            "program" | "compound_statement" | "do_group" => self.children(node, source, input),
            "function_definition" => self.function(node, source),
            "variable_assignment" => {
                self.assign(node, source);
                Some(String::new())
            }
            "for_statement" => self.for_each(node, source, input),
            "ERROR" => {
                self.children(node, source, input);
                // What the grammar does not know may still be a command, as `{rm,-rf,/}` is.
                let mut letters = Vec::new();
                word::push_unquoted(&mut letters, part(node, source));
                self.run(word::words(&letters), input, Vec::new());
                None
            }
            _ => {
                self.children(node, source, input);
                None
            }
        }
    }

    fn children(&mut self, node: Node<'_>, source: &str, input: &Input) -> Option<String> {
        let mut printed = Some(String::new());
        for child in named(node) {
            let part = self.node(child, source, input);
            printed = printed.zip(part).map(|(before, after)| before + &after);
        }
        printed
    }

    fn pipeline(&mut self, node: Node<'_>, source: &str, input: &Input) -> Option<String> {
        let mut input = input.clone();
        let mut printed = None;
        for stage in named(node) {
            printed = self.node(stage, source, &input);
            input = printed.clone().map_or(Input::Unknown, Input::Text);
        }
        printed
    }

    /// Reads a statement with redirections around it.
    fn redirected(&mut self, node: Node<'_>, source: &str, input: &Input) -> Option<String> {
        let body = node.child_by_field_name("body");
        let mut streams = Streams {
            input: input.clone(),
            writes: Vec::new(),
            arguments: Vec::new(),
        };
        let mut after = Vec::new();
        for child in named(node) {
            if Some(child) != body {
                self.redirect(child, source, &mut streams, &mut after);
            }
        }
        let printed = match body {
            Some(body) if body.kind() == "command" => {
                let input = streams.input.clone();
                self.command(body, source, input, Some(streams))
            }
            Some(body) => {
                let printed = self.node(body, source, &streams.input);
                self.run(streams.arguments, &Input::Inherited, streams.writes);
                printed
            }
            None => self.run(streams.arguments, &streams.input, streams.writes),
        };
        let mut printed = printed;
        for stage in after {
            let input = printed.clone().map_or(Input::Unknown, Input::Text);
            printed = self.node(stage, source, &input);
        }
        printed
    }

    /// Takes one redirection in; stages that the grammar puts below a here-document go into `after`.
    fn redirect<'tree>(
        &mut self,
        node: Node<'tree>,
        source: &str,
        streams: &mut Streams,
        after: &mut Vec<Node<'tree>>,
    ) {
        match node.kind() {
            "file_redirect" => {
                let mut targets = Vec::new();
                for child in named(node) {
                    if child.kind() != "file_descriptor" {
                        targets.extend(self.words(child, source));
                    }
                }
                let mut targets = targets.into_iter();
                let target = targets.next();
                streams.arguments.extend(targets);
                let operator = operator(node, source);
                match target {
                    Some(target) if operator.contains('>') => {
                        let copies = operator.ends_with('&')
                            && target
                                .text
                                .chars()
                                .all(|sign| sign.is_ascii_digit() || sign == '-');
                        if !copies {
                            streams.writes.push(target);
                        }
                    }
                    Some(Word {
                        content: Some(text),
                        ..
                    }) => streams.input = Input::Text(text),
                    Some(_) | None => streams.input = Input::Unknown,
                }
            }
            "herestring_redirect" => {
                let mut text = String::new();
                for child in named(node) {
                    for word in self.words(child, source) {
                        text.push_str(&word.text);
                    }
                }
                streams.input = text_or_unknown(text);
            }
            "heredoc_redirect" => {
                for child in named(node) {
                    match child.kind() {
                        "heredoc_start" | "heredoc_end" => {}
                        "heredoc_body" => {
                            self.children(child, source, &Input::Inherited);
                            streams.input = Input::Text(part(child, source).to_owned());
                        }
                        "file_redirect" | "herestring_redirect" | "heredoc_redirect" => {
                            let input = streams.input.clone();
                            self.redirect(child, source, streams, after);
                            streams.input = input;
                        }
                        "pipeline" => after.extend(named(child)),
                        "word"
                        | "string"
                        | "raw_string"
                        | "concatenation"
                        | "expansion"
                        | "simple_expansion"
                        | "command_substitution" => {
                            let words = self.words(child, source);
                            streams.arguments.extend(words);
                        }
                        _ => after.push(child),
                    }
                }
            }
            _ => after.push(node),
        }
    }

    /// Reads a simple command.
    fn command(
        &mut self,
        node: Node<'_>,
        source: &str,
        input: Input,
        streams: Option<Streams>,
    ) -> Option<String> {
        let mut streams = streams.unwrap_or(Streams {
            input,
            writes: Vec::new(),
            arguments: Vec::new(),
        });
        let mut words = Vec::new();
        let mut after = Vec::new();
        for child in named(node) {
            match child.kind() {
                "variable_assignment" => self.prefix(child, source),
                "file_redirect" | "herestring_redirect" | "heredoc_redirect" => {
                    self.redirect(child, source, &mut streams, &mut after);
                }
                "command_name" => {
                    for part in named(child) {
                        words.extend(self.words(part, source));
                    }
                }
                "subshell" | "compound_statement" => {
                    self.node(child, source, &streams.input);
                }
                _ => words.extend(self.words(child, source)),
            }
        }
        words.append(&mut streams.arguments);
        let printed = self.run(words, &streams.input, streams.writes);
        for stage in after {
            self.node(stage, source, &Input::Unknown);
        }
        printed
    }

    fn function(&mut self, node: Node<'_>, source: &str) -> Option<String> {
        let name = node
            .child_by_field_name("name")
            .map(|name| part(name, source));
        let (Some(name), Some(body)) = (name, node.child_by_field_name("body")) else {
            return None;
        };
        if starts_itself(body, source, name, 0) {
            let shown: String = part(node, source).chars().take(SHOWN_MAX).collect();
            self.reading.bombs.push(shown);
        }
        let (variables, directory) = (self.variables.clone(), self.directory.clone());
        let positional = std::mem::replace(&mut self.positional, vec![Word::hole(); 9]);
        self.node(body, source, &Input::Inherited);
        (self.variables, self.directory) = (variables, directory);
        self.positional = positional;
        self.functions
            .insert(name.to_owned(), part(body, source).to_owned());
        Some(String::new())
    }

    fn for_each(&mut self, node: Node<'_>, source: &str, input: &Input) -> Option<String> {
        let variable = node.child_by_field_name("variable");
        let name = variable.map_or("", |name| part(name, source)).to_owned();
        let mut values = Vec::new();
        let mut cursor = node.walk();
        let nodes: Vec<Node<'_>> = node.children_by_field_name("value", &mut cursor).collect();
        for value in nodes {
            values.extend(self.words(value, source));
        }
        let known = !values.is_empty()
            && values.len() <= VALUES_MAX
            && values.iter().all(|value| value.is_known() && !value.glob);
        let values: Vec<Option<String>> = if known {
            values.into_iter().map(|value| Some(value.text)).collect()
        } else {
            vec![None]
        };
        for value in values {
            self.variables.insert(name.clone(), value);
            if let Some(body) = node.child_by_field_name("body") {
                self.node(body, source, input);
            }
        }
        None
    }
}

/// Returns whether a function's body starts the function more than once, or in the background.
fn starts_itself(node: Node<'_>, source: &str, name: &str, depth: usize) -> bool {
    fn calls(node: Node<'_>, source: &str, name: &str, depth: usize) -> usize {
        if depth > NODES_DEEP_MAX {
            return 0;
        }
        let own = node.kind() == "command_name" && part(node, source) == name;
        let below: usize = named(node)
            .into_iter()
            .map(|child| calls(child, source, name, depth + 1))
            .sum();
        usize::from(own) + below
    }
    let found = calls(node, source, name, depth);
    found > 1 || (found == 1 && part(node, source).replace("&&", "").contains('&'))
}

fn named(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

/// Returns the text of a node.
fn part<'text>(node: Node<'_>, source: &'text str) -> &'text str {
    source.get(node.byte_range()).unwrap_or("")
}

/// Returns the sign of a redirection.
fn operator<'text>(node: Node<'_>, source: &'text str) -> &'text str {
    let mut cursor = node.walk();
    node.children(&mut cursor)
        .find(|child| !child.is_named())
        .map_or("", |child| part(child, source))
}

fn text_or_unknown(text: String) -> Input {
    if text.contains(word::HOLE) {
        Input::Unknown
    } else {
        Input::Text(text)
    }
}

const TEXT_BYTES_MAX: usize = 64 * 1024;
const DEPTH_MAX: usize = 120;
const NODES_DEEP_MAX: usize = 160;
const STEPS_MAX: usize = 20_000;
const DOUBTS_MAX: usize = 16;
const VALUES_MAX: usize = 16;
const SHOWN_MAX: usize = 200;
