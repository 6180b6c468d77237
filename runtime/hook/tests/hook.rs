//! The real program against a runtime that answers well, badly, or not at all.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and it starts the program"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use hook::wire::{Answer, KEY, QUESTION_BYTES_MAX, Question, SOCKET, read_line, write_line};
use serde_json::{Value, json};

/// What the runtime does with one question.
type Runtime = fn(Question, &mut UnixStream);

/// Makes a gate at which `runtime` answers the next questions, of this number.
fn gate(folder: &Path, questions: usize, runtime: Runtime) -> JoinHandle<()> {
    fs::write(folder.join(KEY), "secret").unwrap();
    let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
    std::thread::spawn(move || {
        for _ in 0..questions {
            let (mut stream, _) = listener.accept().unwrap();
            let question: Question = read_line(&stream, QUESTION_BYTES_MAX).unwrap();
            assert_eq!(question.key, "secret");
            runtime(question, &mut stream);
        }
    })
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loki-hook"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has refused already reads nothing.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn tool_use() -> String {
    json!({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "t1",
        "cwd": "/app", "tool_input": {"command": "ls"}, "session_id": "s"})
    .to_string()
}

#[track_caller]
fn is_blocked(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(said.contains("blocked"), "{said}");
}

#[test]
fn without_a_gate_or_with_other_words_everything_is_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    is_blocked(&run(&[], &tool_use()));
    is_blocked(&run(&["tool-use"], &tool_use()));
    is_blocked(&run(&["tool-use", "/nowhere"], &tool_use()));
    is_blocked(&run(&["tool-use", place], &tool_use()));
    fs::write(folder.path().join(KEY), "").unwrap();
    is_blocked(&run(&["tool-use", place], &tool_use()));
    fs::write(folder.path().join(KEY), "secret").unwrap();
    is_blocked(&run(&["tool-use", place], &tool_use()));
    is_blocked(&run(&["allow", place], &tool_use()));
    is_blocked(&run(&["tool-use", place, "more"], &tool_use()));
    is_blocked(&run(&["tool-use", place], "not json"));
}

#[test]
fn a_runtime_that_answers_badly_blocks() {
    let ways: [Runtime; 6] = [
        |_, _| (),
        |_, stream| stream.write_all(b"allow\n").unwrap(),
        |_, stream| stream.write_all(b"{\"version\":1,\"allowed\":tr").unwrap(),
        |_, stream| {
            stream
                .write_all(b"{\"version\":1,\"allowed\":true,\"reason\":\"\"}")
                .unwrap();
        },
        |_, stream| {
            let answer = Answer {
                version: 2,
                ..Answer::new(true, "")
            };
            write_line(stream, &answer).unwrap();
        },
        |_, stream| stream.write_all(&[b' '; 80 * 1024]).unwrap_or_default(),
    ];
    for way in ways {
        let folder = tempfile::tempdir().unwrap();
        let runtime = gate(folder.path(), 1, way);
        is_blocked(&run(
            &["tool-use", folder.path().to_str().unwrap()],
            &tool_use(),
        ));
        runtime.join().unwrap();
    }
}

#[test]
fn the_answer_is_passed_on() {
    for allowed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let way: Runtime = if allowed {
            |question, stream| {
                assert_eq!(
                    (question.tool.as_str(), question.call.as_str()),
                    ("Bash", "t1")
                );
                assert_eq!(question.input["command"], "ls");
                write_line(stream, &Answer::new(true, "fine")).unwrap();
            }
        } else {
            |_, stream| write_line(stream, &Answer::new(false, "no")).unwrap()
        };
        let runtime = gate(folder.path(), 1, way);
        let output = run(&["tool-use", folder.path().to_str().unwrap()], &tool_use());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let decision = &said["hookSpecificOutput"]["permissionDecision"];
        assert_eq!(decision, if allowed { "allow" } else { "deny" }, "{said}");
        runtime.join().unwrap();
    }
}

#[test]
fn the_permission_server_answers_each_call_by_itself_and_refuses_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = gate(folder.path(), 2, |question, stream| {
        let allowed = question.input["command"] == "ls";
        write_line(stream, &Answer::new(allowed, "so")).unwrap();
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_loki-hook"))
        .args(["permission", folder.path().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut from = BufReader::new(from);
    let mut ask = |message: Value| -> Value {
        writeln!(to, "{message}").unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let call = |id: u32, name: &str, arguments: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": name, "arguments": arguments}})
    };
    let decision = |answer: &Value| -> Value {
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        serde_json::from_str(text).unwrap()
    };
    let begun = ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18"}}));
    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18");
    let listed = ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}));
    assert_eq!(listed["result"]["tools"][0]["name"], "approve");
    let other = ask(call(3, "other", json!({})));
    assert!(other["error"].is_object(), "{other}");
    let nothing = ask(call(4, "approve", json!({"tool_name": "Bash"})));
    assert_eq!(decision(&nothing)["behavior"], "deny");

    let input = json!({"command": "ls"});
    let asked = json!({"tool_name": "Bash", "input": input, "tool_use_id": "t1"});
    let allowed = decision(&ask(call(5, "approve", asked.clone())));
    assert_eq!(allowed, json!({"behavior": "allow", "updatedInput": input}));
    let denied = json!({"tool_name": "Bash", "input": {"command": "rm x"}});
    let denied = decision(&ask(call(6, "approve", denied)));
    assert_eq!(denied, json!({"behavior": "deny", "message": "so"}));
    runtime.join().unwrap();
    let gone = decision(&ask(call(7, "approve", asked)));
    assert_eq!(gone["behavior"], "deny", "the runtime is gone: {gone}");
    drop(to);
    let mut rest = String::new();
    from.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
