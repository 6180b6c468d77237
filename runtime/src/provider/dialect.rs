//! One schema for what agents say of themselves, whoever made them; the raw event is kept beside it.
//!
//! Invariant: whatever a program writes, a line is bounded, and what is not understood becomes a
//! remark, never an error of the runtime.

mod claude;
mod codex;

use config::runtime::Dialect;
use serde_json::{Value, json};

/// Longest line that is read as an event; a longer one is left out and that is said.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// One thing that an agent says, in the common schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// `started`, `message`, `reasoning`, `tool_call`, `tool_result`, `command`, `file_change`,
    /// `usage`, `finished`, `error` or `other`.
    pub kind: &'static str,
    /// The facts.
    pub data: Value,
}

/// Tokens and dollars, as a program counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Those of them that were cached.
    pub cached_input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Dollars, if the program says.
    pub usd: Option<f64>,
}

/// What a program says of the end of its work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What was spent.
    pub spent: Spent,
    /// Calls of tools and commands.
    pub tool_calls: u32,
    /// Whether it says that it is done.
    pub is_done: bool,
    /// Why it is not.
    pub trouble: Option<String>,
    /// Whether trying again later may help.
    pub is_transient: bool,
    /// The message of the model that was counted last.
    pub last_message: Option<String>,
}

/// Reads the lines of one run of a program.
#[derive(Debug)]
pub struct Reader {
    dialect: Dialect,
    line: Vec<u8>,
    left_out: usize,
    outcome: Outcome,
}

impl Reader {
    /// Begins to read a run.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            line: Vec::new(),
            left_out: 0,
            outcome: Outcome::default(),
        }
    }

    /// Takes a piece of output and returns what was said in the lines that it ends.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let fits = piece.len().min(LINE_BYTES_MAX - self.line.len());
            self.line.extend_from_slice(&piece[..fits]);
            self.left_out += piece.len() - fits;
            if pieces.peek().is_some() {
                said.extend(self.end_line());
            }
        }
        said
    }

    /// Ends the run: returns what an unfinished line says, and what became of the work.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Said>, Outcome) {
        let said = self.end_line();
        (said, self.outcome)
    }

    /// Returns what was spent so far.
    #[must_use]
    pub const fn spent(&self) -> Spent {
        self.outcome.spent
    }

    fn end_line(&mut self) -> Vec<Said> {
        let line = std::mem::take(&mut self.line);
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            let bytes = line.len() + left_out;
            return vec![Said::other(&format!(
                "a line of {bytes} bytes was left out"
            ))];
        }
        if line.trim_ascii().is_empty() {
            return Vec::new();
        }
        let Ok(event) = serde_json::from_slice::<Value>(&line) else {
            let text = String::from_utf8_lossy(&line);
            return vec![Said::other(&text)];
        };
        let mut said = match self.dialect {
            Dialect::Text => Vec::new(),
            Dialect::Claude => claude::read(&event, &mut self.outcome),
            Dialect::Codex => codex::read(&event, &mut self.outcome),
        };
        if line.len() <= RAW_BYTES_MAX {
            // One raw event can say several things; it is kept with the first.
            if let Some(first) = said.first_mut() {
                first.data["raw"] = event;
            }
        }
        for one in &said {
            let is_call = matches!(one.kind, "tool_call" | "command");
            self.outcome.tool_calls = self.outcome.tool_calls.saturating_add(is_call.into());
        }
        said
    }
}

impl Outcome {
    /// Notes why the work is not done.
    pub(super) fn fail(&mut self, why: &str) {
        self.is_done = false;
        self.is_transient = is_transient(why);
        self.trouble = Some(bounded(why).to_owned());
    }
}

impl Said {
    pub(super) fn new(kind: &'static str, data: Value) -> Self {
        Self { kind, data }
    }

    /// Cuts what is longer than events keep.
    pub(super) fn bound(&mut self) {
        for value in self
            .data
            .as_object_mut()
            .into_iter()
            .flat_map(|data| data.values_mut())
        {
            if let Value::String(text) = value {
                text.truncate(bounded(text).len());
            } else {
                *value = small(value);
            }
        }
    }

    /// A line that is no event of the dialect.
    pub(super) fn other(text: &str) -> Self {
        Self::new("other", json!({ "text": bounded(text) }))
    }
}

/// Returns whether a failure is one that passes: too many requests, or too much load.
fn is_transient(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    [
        "429",
        "529",
        "503",
        "rate limit",
        "rate_limit",
        "overloaded",
        "too many requests",
    ]
    .iter()
    .any(|sign| why.contains(sign))
}

/// Returns the beginning of a text, as long as events keep.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Returns a member as text, bounded; empty if it is none.
fn text<'event>(event: &'event Value, name: &str) -> &'event str {
    bounded(event[name].as_str().unwrap_or_default())
}

/// Returns what a program says that it cost; nothing if no run can have cost that. Less than nothing
/// would give back a budget that is used up.
pub(super) fn dollars(value: &Value) -> Option<f64> {
    let dollars = value.as_f64()?;
    (0.0..=DOLLARS_MAX).contains(&dollars).then_some(dollars)
}

/// Returns a member as a value that events can keep.
pub(super) fn small(value: &Value) -> Value {
    let written = value.to_string();
    if written.len() <= TEXT_BYTES_MAX {
        value.clone()
    } else {
        json!({ "cut": bounded(&written) })
    }
}

/// Most US dollars of one run.
const DOLLARS_MAX: f64 = 1e6;
const TEXT_BYTES_MAX: usize = 8 * 1024;
const RAW_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use config::runtime::Dialect;
    use proptest::prelude::*;

    use super::{LINE_BYTES_MAX, Outcome, Reader};

    #[test]
    fn a_huge_line_is_left_out_and_the_next_one_is_read() {
        let mut reader = Reader::new(Dialect::Claude);
        let mut text = vec![b'x'; LINE_BYTES_MAX + 10];
        text.extend(b"\n{\"type\":\"result\",\"subtype\":\"success\",\"total_cost_usd\":0.5}\n");
        let said = reader.take(&text);
        assert_eq!(said[0].kind, "other");
        assert_eq!(said[1].kind, "finished");
        let (_, outcome) = reader.finish();
        assert!(outcome.is_done);
        assert_eq!(outcome.spent.usd, Some(0.5));
    }

    #[test]
    fn output_without_an_end_is_not_done() {
        for dialect in [Dialect::Claude, Dialect::Codex] {
            let mut reader = Reader::new(dialect);
            let said = reader.take(b"{\"type\":\"system\"\nnot json\n[1]\n\"x\"\n{\"type\":7}\n");
            assert!(said.iter().all(|said| said.kind == "other"), "{said:?}");
            assert_eq!(reader.finish().1, Outcome::default());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_in_any_pieces(bytes: Vec<u8>, at in 0_usize..64) {
            for dialect in [Dialect::Claude, Dialect::Codex] {
                let mut whole = Reader::new(dialect);
                let mut one = whole.take(&bytes);
                one.extend(whole.finish().0);
                let mut pieces = Reader::new(dialect);
                let (head, tail) = bytes.split_at(at.min(bytes.len()));
                let mut two = pieces.take(head);
                two.extend(pieces.take(tail));
                two.extend(pieces.finish().0);
                prop_assert_eq!(one, two);
            }
        }
    }
}
