//! The handler before each tool: reads what a vendor's program is about to do, asks, and says what
//! became of it in that program's words.
//!
//! Invariant: it never leaves the decision to the program's own rules.

use std::io::{Read, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ask::Gate;
use crate::wire::{Answer, Asker, QUESTION_BYTES_MAX, Question, VERSION};

/// What the program says before it uses a tool; what else it says is not needed.
#[derive(Debug, Deserialize)]
struct ToolUse {
    hook_event_name: String,
    tool_name: String,
    tool_input: Value,
    #[serde(default)]
    tool_use_id: String,
    #[serde(default)]
    cwd: String,
}

/// Handles one use of a tool.
///
/// # Errors
/// Why it has to be blocked.
pub(crate) fn handle(gate: &Gate, from: impl Read, mut to: impl Write) -> Result<(), String> {
    let question = read(from)?;
    let answer = gate.ask(question).map_err(|error| error.to_string())?;
    writeln!(to, "{}", said(&answer))
        .and_then(|()| to.flush())
        .map_err(|error| format!("cannot pass the answer on: {error}"))
}

fn read(from: impl Read) -> Result<Question, String> {
    let mut text = Vec::new();
    from.take(QUESTION_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot read what is to be done: {error}"))?;
    let used: ToolUse = serde_json::from_slice(&text)
        .map_err(|error| format!("cannot understand what is to be done: {error}"))?;
    if used.hook_event_name != EVENT {
        return Err(format!("cannot judge {:?}", used.hook_event_name));
    }
    Ok(Question {
        version: VERSION,
        key: String::new(),
        asker: Asker::ToolUse,
        call: used.tool_use_id,
        tool: used.tool_name,
        input: used.tool_input,
        directory: used.cwd,
    })
}

fn said(answer: &Answer) -> Value {
    json!({
        "hookSpecificOutput": {
            "hookEventName": EVENT,
            "permissionDecision": if answer.allowed { "allow" } else { "deny" },
            "permissionDecisionReason": answer.reason,
        }
    })
}

const EVENT: &str = "PreToolUse";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{read, said};
    use crate::wire::Answer;

    #[test]
    fn what_is_not_the_use_of_a_tool_is_blocked() {
        for text in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            json!({"hook_event_name": "PreToolUse", "tool_name": "Bash"}).to_string(),
            json!({"hook_event_name": "PreToolUse", "tool_input": {}}).to_string(),
            json!({"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": {}})
                .to_string(),
            json!({"hook_event_name": "PreToolUse", "tool_name": 7, "tool_input": {}}).to_string(),
            "{\"hook_event_name\": \"PreToolUse\", \"tool_name\": \"Bash\", \"tool_inp".to_owned(),
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_asked_is_blocked() {
        let text = json!({"hook_event_name": "PreToolUse", "tool_name": "Write",
            "tool_input": {"content": "x".repeat(9 * 1024 * 1024)}});
        assert!(read(text.to_string().as_bytes()).is_err());
    }

    #[test]
    fn the_answer_is_said_in_the_programs_words() {
        let output = &said(&Answer::new(false, "no"))["hookSpecificOutput"];
        assert_eq!(output["hookEventName"], "PreToolUse");
        assert_eq!(output["permissionDecision"], "deny");
        assert_eq!(output["permissionDecisionReason"], "no");
        let output = &said(&Answer::new(true, ""))["hookSpecificOutput"];
        assert_eq!(output["permissionDecision"], "allow");
    }
}
