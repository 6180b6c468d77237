//! A model provider's API with a script: one tool call, then an end, in the words of three vendors. It
//! stands in for what costs money and cannot be repeated; the programs that speak with it are real.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Tokens that the script counts for the two answers of the work itself.
pub const INPUT_TOKENS: [u64; 2] = [100, 150];

/// Output tokens of the same.
pub const OUTPUT_TOKENS: [u64; 2] = [20, 30];

/// A running API on loopback.
#[derive(Debug)]
pub struct ModelApi {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    held: Arc<Held>,
}

/// Whether answers are held back.
#[derive(Debug, Default)]
struct Held {
    holds: Mutex<bool>,
    changed: Condvar,
}

impl Held {
    fn pass(&self) {
        let holds = self.holds.lock().expect("no thread broke");
        let passed = self.changed.wait_while(holds, |holds| *holds);
        drop(passed.expect("no thread broke"));
    }

    fn set(&self, holds: bool) {
        *self.holds.lock().expect("no thread broke") = holds;
        self.changed.notify_all();
    }
}

impl ModelApi {
    /// Starts an API whose model runs `command` once and then says that it is done.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn running(command: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let held = Arc::new(Held::default());
        let (command, log) = (command.to_owned(), Arc::clone(&asked));
        let gate = Arc::clone(&held);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (command, log) = (command.clone(), Arc::clone(&log));
                let gate = Arc::clone(&gate);
                thread::spawn(move || serve(stream, &command, &log, &gate));
            }
        });
        Self { port, asked, held }
    }

    /// Holds every answer back, or lets them go.
    ///
    /// # Panics
    /// Never, unless another test thread broke.
    pub fn hold(&self, holds: bool) {
        self.held.set(holds);
    }

    /// Returns its port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns what was asked so far: method and path of each request.
    ///
    /// # Panics
    /// Never, unless another test thread broke.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread broke").clone()
    }
}

fn serve(mut stream: TcpStream, command: &str, log: &Mutex<Vec<String>>, held: &Held) {
    let Some((line, body)) = read(&mut stream) else {
        return;
    };
    log.lock().expect("no thread broke").push(line.clone());
    held.pass();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = if line.starts_with("POST") && line.contains("/messages/count_tokens") {
        plain(200, &json!({ "input_tokens": 1 }))
    } else if line.starts_with("POST") && line.contains("/messages") {
        stream_of(&messages(&request, command))
    } else if line.starts_with("POST") && line.contains("/responses") {
        stream_of(&responses(&request, command))
    } else if line.starts_with("POST") && line.contains("eamGenerateContent") {
        stream_of(&[content(&request, command)])
    } else if line.starts_with("POST") && line.contains(":generateContent") {
        plain(200, &content(&request, command))
    } else if line.starts_with("POST") && line.contains(":countTokens") {
        plain(200, &json!({ "totalTokens": 1 }))
    } else {
        plain(404, &json!({ "error": { "message": "not in the script" } }))
    };
    // A client that has gone away misses the answer; the test sees what it makes of that.
    drop(stream.write_all(answer.as_bytes()));
}

fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut piece).ok()? {
            0 => return None,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    while bytes.len() < head_end + length {
        match stream.read(&mut piece).ok()? {
            0 => return None,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
    let line = head.lines().next()?.to_owned();
    Some((line, bytes.split_off(head_end)))
}

fn plain(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn stream_of(events: &[Value]) -> String {
    let body: String = events
        .iter()
        .map(|event| {
            let name = event["type"].as_str();
            let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
            format!("{name}data: {event}\n\n")
        })
        .collect();
    format!(
        "HTTP/1.1 200 Scripted\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Answers as Anthropic's Messages API streams. What is asked beside the work has no tools.
fn messages(request: &Value, command: &str) -> Vec<Value> {
    let tools = request["tools"].as_array().map_or(0, Vec::len);
    let is_done = request["messages"].to_string().contains("\"tool_result\"");
    let works = tools > 0 && !is_done;
    let (input, output) = match (tools > 0, is_done) {
        (true, false) => (INPUT_TOKENS[0], OUTPUT_TOKENS[0]),
        (true, true) => (INPUT_TOKENS[1], OUTPUT_TOKENS[1]),
        (false, _) => (0, 0),
    };
    let (block, delta) = if works {
        let input = json!({ "command": command, "description": "work" }).to_string();
        // Two programs' names of the same tool.
        let name = if request["tools"].to_string().contains("\"Bash\"") {
            "Bash"
        } else {
            "bash"
        };
        (
            json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input}),
        )
    } else {
        (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": "It is done."}),
        )
    };
    let stop = if works { "tool_use" } else { "end_turn" };
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
            "role": "assistant", "model": request["model"], "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": {"input_tokens": input, "output_tokens": 0}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
            "usage": {"output_tokens": output}}),
        json!({"type": "message_stop"}),
    ]
}

/// Answers as OpenAI's Responses API streams.
fn responses(request: &Value, command: &str) -> Vec<Value> {
    let is_done = request["input"]
        .to_string()
        .contains("function_call_output");
    let at = usize::from(is_done);
    let item = if is_done {
        json!({"type": "message", "id": "msg_1", "role": "assistant",
            "content": [{"type": "output_text", "text": "It is done."}]})
    } else {
        let tools = request["tools"].to_string();
        let (name, arguments) = if tools.contains("\"exec_command\"") {
            ("exec_command", json!({ "cmd": command }))
        } else if tools.contains("\"shell_command\"") {
            ("shell_command", json!({ "command": command }))
        } else {
            ("shell", json!({ "command": ["sh", "-c", command] }))
        };
        json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name,
            "arguments": arguments.to_string()})
    };
    let (input, output) = (INPUT_TOKENS[at], OUTPUT_TOKENS[at]);
    vec![
        json!({"type": "response.created", "response": {"id": format!("resp_{at}")}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"id": format!("resp_{at}"),
            "usage": {"input_tokens": input, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": input + output}}}),
    ]
}

/// Answers as Google's Gemini API does, in one piece.
fn content(request: &Value, command: &str) -> Value {
    let has_tools = request["tools"].to_string().contains("run_shell_command");
    let is_done = request["contents"].to_string().contains("functionResponse");
    let part = if has_tools && !is_done {
        let arguments = json!({ "command": command, "description": "work" });
        json!({"functionCall": {"name": "run_shell_command", "args": arguments}})
    } else if request["generationConfig"]["responseMimeType"] == "application/json" {
        // Which model is to work, and whose turn it is.
        let choice = json!({"reasoning": "It is plain.", "model_choice": "flash",
            "complexity_reasoning": "It is plain.", "complexity_score": 1, "next_speaker": "user"});
        json!({"text": choice.to_string()})
    } else {
        json!({"text": "It is done."})
    };
    let (input, output) = if has_tools {
        let at = usize::from(is_done);
        (INPUT_TOKENS[at], OUTPUT_TOKENS[at])
    } else {
        (0, 0)
    };
    json!({
        "candidates": [{"index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [part]}}],
        "usageMetadata": {"promptTokenCount": input, "candidatesTokenCount": output,
            "totalTokenCount": input + output},
        "modelVersion": "scripted",
    })
}
