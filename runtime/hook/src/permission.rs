//! The server that a vendor's program asks where its own rules are silent: MCP, one JSON-RPC message a
//! line, with one tool.
//!
//! Invariant: a call that is not answered by the runtime is answered by a refusal, and calls wait for
//! people independently of one another, up to a bound.

use std::io::{BufRead, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::ask::Gate;
use crate::wire::{Asker, QUESTION_BYTES_MAX, Question, VERSION};

/// The tool's name.
pub(crate) const TOOL: &str = "approve";

/// Serves until the input ends.
///
/// # Errors
/// When the streams cannot be used any more.
pub(crate) fn serve(
    gate: &Gate,
    mut from: impl BufRead,
    to: impl Write + Send,
) -> Result<(), String> {
    let to = Mutex::new(to);
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        loop {
            let mut line = Vec::new();
            let read = from
                .by_ref()
                .take(QUESTION_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .map_err(|error| format!("cannot read what is asked: {error}"))?;
            if read == 0 {
                return Ok(());
            }
            if line.pop() != Some(b'\n') {
                return Err("a message is torn or too long".to_owned());
            }
            let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                say(&to, &refusal(&Value::Null, -32700, "this is not JSON"))?;
                continue;
            };
            let Some(id) = message.get("id").cloned() else {
                // A notification wants no answer.
                continue;
            };
            match message["method"].as_str().unwrap_or_default() {
                "initialize" => say(&to, &result(&id, initialized(&message["params"])))?,
                "ping" => say(&to, &result(&id, json!({})))?,
                "tools/list" => say(&to, &result(&id, tools()))?,
                "tools/call" if message["params"]["name"] != TOOL => {
                    say(&to, &refusal(&id, -32602, "there is no such tool"))?;
                }
                "tools/call" => {
                    if waiting.fetch_add(1, Ordering::SeqCst) >= WAITING_MAX {
                        waiting.fetch_sub(1, Ordering::SeqCst);
                        let full = denied("too many questions wait already");
                        say(&to, &result(&id, content(&full)))?;
                        continue;
                    }
                    let (to, waiting) = (&to, &waiting);
                    scope.spawn(move || {
                        let decision = decide(gate, &message["params"]["arguments"]);
                        waiting.fetch_sub(1, Ordering::SeqCst);
                        // Whoever asked may have gone; then nothing is allowed either.
                        drop(say(to, &result(&id, content(&decision))));
                    });
                }
                _ => say(&to, &refusal(&id, -32601, "there is no such method"))?,
            }
        }
    })
}

/// Decides about one call, in the program's words.
fn decide(gate: &Gate, arguments: &Value) -> Value {
    let (Some(tool), Some(input)) = (arguments["tool_name"].as_str(), arguments.get("input"))
    else {
        return denied("the question names no tool or no input");
    };
    let question = Question {
        version: VERSION,
        key: String::new(),
        asker: Asker::Permission,
        call: arguments["tool_use_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        tool: tool.to_owned(),
        input: input.clone(),
        directory: String::new(),
    };
    match gate.ask(question) {
        Ok(answer) if answer.allowed => json!({ "behavior": "allow", "updatedInput": input }),
        Ok(answer) => denied(&answer.reason),
        Err(error) => denied(&error.to_string()),
    }
}

fn denied(why: &str) -> Value {
    json!({ "behavior": "deny", "message": why })
}

fn content(decision: &Value) -> Value {
    json!({ "content": [{ "type": "text", "text": decision.to_string() }] })
}

fn initialized(asked: &Value) -> Value {
    let version = asked["protocolVersion"].as_str().unwrap_or(PROTOCOL);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "loki", "version": env!("CARGO_PKG_VERSION") },
    })
}

fn tools() -> Value {
    json!({ "tools": [{
        "name": TOOL,
        "description": "Asks whether a tool may be used.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "tool_name": { "type": "string" },
                "input": { "type": "object" },
                "tool_use_id": { "type": "string" },
            },
            "required": ["tool_name", "input"],
        },
    }]})
}

fn result(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn refusal(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

fn say(to: &Mutex<impl Write>, message: &Value) -> Result<(), String> {
    let mut to = to.lock().map_err(|_| "another answer failed".to_owned())?;
    writeln!(to, "{message}")
        .and_then(|()| to.flush())
        .map_err(|error| format!("cannot answer: {error}"))
}

const PROTOCOL: &str = "2025-06-18";

/// Most calls that wait for an answer at once.
const WAITING_MAX: usize = 32;
