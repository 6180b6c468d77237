//! Speaking with a vendor's program that asks by its own streams: JSON-RPC, one message a line.
//!
//! Invariant: what is not understood is refused, never granted; and a dialogue that ended otherwise than
//! by the program's own word is not done. Pure: no I/O, no async, no clock.

mod acp;
mod app_server;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::dialect::{Outcome, Said};
use crate::operation::Operation;

/// Which language a program speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// That of `codex app-server`.
    AppServer,
    /// The Agent Client Protocol, version 1.
    Acp,
}

/// What a program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The prompt.
    pub prompt: String,
    /// Where it works, as it sees it.
    pub directory: String,
    /// The model, if one was chosen.
    pub model: Option<String>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send a message.
    Send(Value),
    /// Record what the program said.
    Said(Said),
    /// Ask whether it may, and answer.
    Ask(Demand),
    /// End the conversation.
    End,
}

/// A question of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// What it would do.
    pub operation: Operation,
    yes: Value,
    no: Value,
}

/// A conversation from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Dialogue {
    language: Language,
    brief: Brief,
    /// The program's name of the conversation, once it gave one.
    thread: String,
    /// What it is about to do or does, by its own names.
    items: BTreeMap<String, Value>,
    /// Which of these were recorded.
    told: BTreeSet<String>,
    /// Words of which the end has not come yet.
    words: String,
    outcome: Outcome,
    ended: bool,
}

impl Demand {
    /// Returns the message that answers.
    #[must_use]
    pub fn answer(self, allowed: bool) -> Value {
        if allowed { self.yes } else { self.no }
    }
}

impl Dialogue {
    /// Begins a dialogue, and returns it with its first message.
    #[must_use]
    pub fn new(language: Language, brief: Brief) -> (Self, Value) {
        let first = match language {
            Language::AppServer => app_server::first(),
            Language::Acp => acp::first(),
        };
        let dialogue = Self {
            language,
            brief,
            thread: String::new(),
            items: BTreeMap::new(),
            told: BTreeSet::new(),
            words: String::new(),
            outcome: Outcome::default(),
            ended: false,
        };
        (dialogue, first)
    }

    /// Hears a line, and returns what is to be done.
    pub fn hear(&mut self, line: &[u8]) -> Vec<Step> {
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            let text = String::from_utf8_lossy(line);
            return vec![Step::Said(Said::other(&text))];
        };
        let mut steps = match (message["method"].as_str(), message.get("id")) {
            (Some(method), Some(id)) => self.request(method, id, &message["params"]),
            (Some(method), None) => self.notice(method, &message["params"]),
            (None, Some(id)) => match message.get("error") {
                Some(error) => {
                    let why = error["message"].as_str().unwrap_or("it gave an error");
                    self.outcome.fail(why);
                    vec![Step::End]
                }
                None => self.result(id, &message["result"]),
            },
            (None, None) => vec![Step::Said(Said::other(&message.to_string()))],
        };
        self.count(&steps);
        steps.iter_mut().filter_map(said).for_each(Said::bound);
        self.ended |= steps.contains(&Step::End);
        if line.len() <= RAW_BYTES_MAX
            && let Some(said) = steps.iter_mut().find_map(said)
        {
            said.data["raw"] = message;
        }
        steps
    }

    /// Returns whether it has come to its end.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ended
    }

    /// Returns what became of the work.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Returns which languages' program this speaks with.
    #[must_use]
    pub const fn language(&self) -> Language {
        self.language
    }

    fn request(&mut self, method: &str, id: &Value, params: &Value) -> Vec<Step> {
        let asked = match self.language {
            Language::AppServer => {
                app_server::request(self, method, id, params).map(|step| vec![step])
            }
            Language::Acp => acp::request(self, method, id, params),
        };
        asked.unwrap_or_else(|| {
            let error = json!({ "code": -32601, "message": "the runtime does not do this" });
            let refusal = json!({ "jsonrpc": "2.0", "id": id, "error": error });
            vec![Step::Send(refusal)]
        })
    }

    fn notice(&mut self, method: &str, params: &Value) -> Vec<Step> {
        match self.language {
            Language::AppServer => app_server::notice(self, method, params),
            Language::Acp => acp::notice(self, method, params),
        }
    }

    fn result(&mut self, id: &Value, result: &Value) -> Vec<Step> {
        match self.language {
            Language::AppServer => app_server::result(self, id, result),
            Language::Acp => acp::result(self, id, result),
        }
    }

    /// Ends the conversation: the work is not done, and why.
    fn give_up(&mut self, why: &str) -> Vec<Step> {
        self.outcome.fail(why);
        vec![Step::End]
    }

    /// Ends the conversation: the work is done.
    fn conclude(&mut self) -> Step {
        self.outcome.is_done = true;
        self.outcome.trouble = None;
        self.outcome.is_transient = false;
        Step::End
    }

    /// Keeps what is known of an item; of too many the rest is not known.
    fn remember(&mut self, name: &str, item: &Value) {
        if self.items.len() < ITEMS_MAX || self.items.contains_key(name) {
            self.items.insert(name.to_owned(), item.clone());
        }
    }

    fn count(&mut self, steps: &[Step]) {
        let calls = steps.iter().filter(|step| match step {
            Step::Said(said) => matches!(said.kind, "tool_call" | "command"),
            Step::Send(_) | Step::Ask(_) | Step::End => false,
        });
        let calls = u32::try_from(calls.count()).unwrap_or(u32::MAX);
        self.outcome.tool_calls = self.outcome.tool_calls.saturating_add(calls);
    }
}

fn said(step: &mut Step) -> Option<&mut Said> {
    match step {
        Step::Said(said) => Some(said),
        Step::Send(_) | Step::Ask(_) | Step::End => None,
    }
}

/// Returns a member as text; empty if it is none.
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Returns a command as a shell text: given as one, or as a list of words.
fn command(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => {
            let words: Option<Vec<String>> = words
                .iter()
                .map(|word| Some(format!("'{}'", word.as_str()?.replace('\'', "'\\''"))))
                .collect();
            Some(words?.join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

const RAW_BYTES_MAX: usize = 8 * 1024;
const ITEMS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Brief, Dialogue, Language, Step};

    proptest! {
        #[test]
        fn nothing_is_granted_and_nothing_is_done_by_noise(lines: Vec<Vec<u8>>) {
            for language in [Language::AppServer, Language::Acp] {
                let brief = Brief {
                    prompt: "work".to_owned(),
                    directory: "/app".to_owned(),
                    model: None,
                };
                let (mut dialogue, _) = Dialogue::new(language, brief);
                for line in &lines {
                    let steps = dialogue.hear(line);
                    prop_assert!(!steps.iter().any(|step| matches!(step, Step::Ask(_))));
                }
                prop_assert!(!dialogue.outcome().is_done);
            }
        }
    }
}
