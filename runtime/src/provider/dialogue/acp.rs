//! The Agent Client Protocol, version 1, from the client's side. The program works by itself: no file and no
//! terminal of the runtime is offered to it. Pure.

use serde_json::{Value, json};

use super::{Demand, Dialogue, ITEMS_MAX, Step, command, text};
use crate::operation::Operation;
use crate::provider::dialect::{Said, dollars, small};

/// Returns the first message.
pub(super) fn first() -> Value {
    call(
        0,
        "initialize",
        json!({
            "protocolVersion": VERSION,
            "clientCapabilities": {
                "fs": { "readTextFile": false, "writeTextFile": false },
                "terminal": false,
            },
            "clientInfo": { "name": "loki", "version": env!("CARGO_PKG_VERSION") },
        }),
    )
}

/// Hears an answer to one of the three messages that are sent.
pub(super) fn result(dialogue: &mut Dialogue, id: &Value, result: &Value) -> Vec<Step> {
    match id.as_u64() {
        Some(0) if result["protocolVersion"] != VERSION => {
            let why = format!("it speaks version {} of ACP", result["protocolVersion"]);
            dialogue.give_up(&why)
        }
        Some(0) => {
            let params = json!({ "cwd": dialogue.brief.directory, "mcpServers": [] });
            vec![Step::Send(call(1, "session/new", params))]
        }
        Some(1) => {
            dialogue.thread = text(result, "sessionId");
            if dialogue.thread.is_empty() {
                return dialogue.give_up("it began no session");
            }
            let data = json!({
                "agent_session": dialogue.thread,
                "permission_mode": result["modes"]["currentModeId"],
            });
            let params = json!({
                "sessionId": dialogue.thread,
                "prompt": [{ "type": "text", "text": dialogue.brief.prompt }],
            });
            vec![
                Step::Said(Said::new("started", data)),
                Step::Send(call(2, "session/prompt", params)),
            ]
        }
        Some(2) => ended(dialogue, result),
        Some(_) | None => Vec::new(),
    }
}

/// Hears a question.
pub(super) fn request(
    dialogue: &mut Dialogue,
    method: &str,
    id: &Value,
    params: &Value,
) -> Option<Vec<Step>> {
    if method != "session/request_permission" {
        return None;
    }
    let asked = &params["toolCall"];
    let name = text(asked, "toolCallId");
    merge(dialogue, &name, asked);
    // Some programs tell of what they ask for, others ask at once.
    let mut steps = tell(dialogue, &name);
    let call = dialogue.items.get(&name).unwrap_or(asked);
    let option = |kind: &str| {
        let options = params["options"].as_array()?;
        let found = options.iter().find(|option| option["kind"] == kind)?;
        let id = found["optionId"].as_str()?;
        Some(json!({ "outcome": "selected", "optionId": id }))
    };
    let answer = |outcome: Option<Value>| {
        let outcome = outcome.unwrap_or_else(|| json!({ "outcome": "cancelled" }));
        json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } })
    };
    let demand = Demand {
        operation: operation(&name, call, &dialogue.brief.directory),
        // Never "always": each use is asked for.
        yes: answer(option("allow_once")),
        no: answer(option("reject_once")),
    };
    steps.push(Step::Ask(demand));
    Some(steps)
}

/// Hears what happens.
pub(super) fn notice(dialogue: &mut Dialogue, method: &str, params: &Value) -> Vec<Step> {
    if method != "session/update" {
        return Vec::new();
    }
    let update = &params["update"];
    match update["sessionUpdate"].as_str().unwrap_or_default() {
        "agent_message_chunk" => {
            let room = WORDS_BYTES_MAX.saturating_sub(dialogue.words.len());
            let words = update["content"]["text"].as_str().unwrap_or_default();
            let end = words.floor_char_boundary(room);
            dialogue.words.push_str(&words[..end]);
            Vec::new()
        }
        "tool_call" => {
            let name = text(update, "toolCallId");
            dialogue.remember(&name, update);
            if is_begun(update) {
                tell(dialogue, &name)
            } else {
                Vec::new()
            }
        }
        "tool_call_update" => {
            let name = text(update, "toolCallId");
            merge(dialogue, &name, update);
            let mut steps = Vec::new();
            if is_begun(update) {
                steps.extend(tell(dialogue, &name));
            }
            let status = text(update, "status");
            if !matches!(status.as_str(), "completed" | "failed") {
                return steps;
            }
            dialogue.items.remove(&name);
            let data = json!({
                "id": name,
                "is_error": status == "failed",
                "output": small(&update["content"]),
            });
            steps.push(Step::Said(Said::new("tool_result", data)));
            steps
        }
        "usage_update" => {
            let cost = &update["cost"];
            if cost["currency"] == "USD" {
                // Of the whole conversation so far.
                let spent = &mut dialogue.outcome.spent;
                spent.usd = dollars(&cost["amount"]).or(spent.usd);
            }
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Returns whether a use of a tool has begun: before that some programs do not know all of its input.
fn is_begun(call: &Value) -> bool {
    !matches!(call["status"].as_str(), Some("pending") | None)
}

/// Tells of a use of a tool, once.
fn tell(dialogue: &mut Dialogue, name: &str) -> Vec<Step> {
    if dialogue.told.contains(name) {
        return Vec::new();
    }
    // Of too many some are told twice rather than not at all.
    if dialogue.told.len() < ITEMS_MAX {
        dialogue.told.insert(name.to_owned());
    }
    let mut steps = spoken(dialogue);
    let call = dialogue.items.get(name).unwrap_or(&Value::Null);
    let data = json!({
        "id": name,
        "tool": text(call, "kind"),
        "title": text(call, "title"),
        "input": small(&call["rawInput"]),
    });
    steps.push(Step::Said(Said::new("tool_call", data)));
    steps
}

/// Reads what a turn used: where the protocol has it, else where `gemini` tells it.
fn usage(dialogue: &mut Dialogue, result: &Value) {
    let count = |values: &Value, name: &str| values[name].as_u64().unwrap_or(0);
    let spent = &mut dialogue.outcome.spent;
    let usage = &result["usage"];
    if usage.is_object() {
        spent.input_tokens = count(usage, "inputTokens");
        spent.cached_input_tokens = count(usage, "cachedReadTokens");
        spent.output_tokens = count(usage, "outputTokens");
    } else {
        let usage = &result["_meta"]["quota"]["token_count"];
        spent.input_tokens = count(usage, "input_tokens");
        spent.output_tokens = count(usage, "output_tokens");
    }
}

fn ended(dialogue: &mut Dialogue, result: &Value) -> Vec<Step> {
    let announced: Vec<String> = dialogue.items.keys().cloned().collect();
    let mut steps: Vec<Step> = announced
        .iter()
        .flat_map(|name| tell(dialogue, name))
        .collect();
    steps.extend(spoken(dialogue));
    usage(dialogue, result);
    let reason = text(result, "stopReason");
    let end = if reason == "end_turn" {
        dialogue.conclude()
    } else {
        dialogue.outcome.fail(&format!("it stopped: {reason}"));
        Step::End
    };
    let data = json!({
        "result": if dialogue.outcome.is_done { "success" } else { "error" },
        "reason": reason,
        "cost_usd": dialogue.outcome.spent.usd,
        "input_tokens": dialogue.outcome.spent.input_tokens,
        "output_tokens": dialogue.outcome.spent.output_tokens,
    });
    steps.push(Step::Said(Said::new("finished", data)));
    steps.push(end);
    steps
}

/// Returns the words that came piece by piece.
fn spoken(dialogue: &mut Dialogue) -> Vec<Step> {
    let words = std::mem::take(&mut dialogue.words);
    if words.is_empty() {
        return Vec::new();
    }
    vec![Step::Said(Said::new("message", json!({ "text": words })))]
}

/// Adds what an update says to what is known of a call.
fn merge(dialogue: &mut Dialogue, name: &str, update: &Value) {
    let mut known = dialogue
        .items
        .get(name)
        .cloned()
        .unwrap_or_else(|| json!({}));
    if let (Some(known), Some(update)) = (known.as_object_mut(), update.as_object()) {
        for (member, value) in update {
            if !value.is_null() {
                known.insert(member.clone(), value.clone());
            }
        }
    }
    dialogue.remember(name, &known);
}

fn operation(name: &str, call: &Value, directory: &str) -> Operation {
    let kind = text(call, "kind");
    let raw = &call["rawInput"];
    let mut input = json!({
        "title": call["title"],
        "content": call["content"],
        "locations": call["locations"],
        "raw": raw,
    });
    let runs = ["command", "cmd", "script"]
        .iter()
        .find_map(|member| command(&raw[*member]));
    // What runs a command has to say which; its title is the last place where it may.
    let titled = || (kind == "execute").then(|| text(call, "title"));
    if let Some(text) = runs.or_else(titled) {
        input["command"] = json!(text);
    }
    Operation {
        call: name.to_owned(),
        tool: kind,
        input,
        directory: raw["cwd"]
            .as_str()
            .filter(|cwd| cwd.starts_with('/'))
            .unwrap_or(directory)
            .to_owned(),
        again: false,
    }
}

fn call(id: u32, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

const VERSION: u64 = 1;

/// Longest message that is kept in one piece.
const WORDS_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Brief, Dialogue, Language, Step};

    fn new() -> Dialogue {
        let brief = Brief {
            prompt: "work".to_owned(),
            directory: "/app".to_owned(),
            model: None,
        };
        Dialogue::new(Language::Acp, brief).0
    }

    fn begun() -> Dialogue {
        let mut dialogue = new();
        let steps = hear(
            &mut dialogue,
            json!({"id": 0, "result": {"protocolVersion": 1}}),
        );
        let [Step::Send(session)] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(session["params"]["cwd"], "/app");
        let steps = hear(
            &mut dialogue,
            json!({"id": 1, "result": {"sessionId": "s"}}),
        );
        let [Step::Said(_), Step::Send(prompt)] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(prompt["params"]["prompt"][0]["text"], "work");
        dialogue
    }

    fn hear(dialogue: &mut Dialogue, message: Value) -> Vec<Step> {
        dialogue.hear(message.to_string().as_bytes())
    }

    fn update(dialogue: &mut Dialogue, update: Value) -> Vec<Step> {
        let params = json!({"sessionId": "s", "update": update});
        hear(
            dialogue,
            json!({"method": "session/update", "params": params}),
        )
    }

    fn ask(dialogue: &mut Dialogue, call: Value, options: Value) -> super::Demand {
        let params = json!({"sessionId": "s", "toolCall": call, "options": options});
        let asked = json!({"id": 5, "method": "session/request_permission", "params": params});
        let mut steps = hear(dialogue, asked);
        match steps.pop() {
            Some(Step::Ask(demand)) => demand,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_version_and_files_and_terminals_are_refused() {
        let mut dialogue = new();
        let steps = hear(
            &mut dialogue,
            json!({"id": 0, "result": {"protocolVersion": 2}}),
        );
        assert_eq!(steps, [Step::End]);
        assert!(!dialogue.outcome().is_done);
        let mut dialogue = begun();
        for method in ["fs/write_text_file", "terminal/create", "other"] {
            let steps = hear(
                &mut dialogue,
                json!({"id": 9, "method": method, "params": {}}),
            );
            let [Step::Send(answer)] = steps.as_slice() else {
                panic!("{steps:?}");
            };
            assert!(answer["error"].is_object(), "{answer}");
        }
    }

    #[test]
    fn a_permission_is_given_once_and_never_for_always() {
        let mut dialogue = begun();
        update(
            &mut dialogue,
            json!({"sessionUpdate": "tool_call", "toolCallId": "c",
            "kind": "execute", "title": "run it", "rawInput": {"command": "rm -r build"}}),
        );
        let always = json!([{"optionId": "a", "kind": "allow_always"}]);
        let demand = ask(&mut dialogue, json!({"toolCallId": "c"}), always);
        assert_eq!(demand.operation.command(), Some("rm -r build"));
        assert_eq!(
            demand.answer(true)["result"]["outcome"]["outcome"],
            "cancelled"
        );
        let options = json!([{"optionId": "a", "kind": "allow_always"},
            {"optionId": "o", "kind": "allow_once"}, {"optionId": "r", "kind": "reject_once"}]);
        let demand = ask(&mut dialogue, json!({"toolCallId": "c"}), options);
        let no = demand.clone().answer(false);
        assert_eq!(no["result"]["outcome"]["optionId"], "r");
        assert_eq!(demand.answer(true)["result"]["outcome"]["optionId"], "o");
    }

    #[test]
    fn what_executes_without_saying_what_is_judged_by_its_title() {
        let mut dialogue = begun();
        let options = json!([]);
        let words =
            json!({"toolCallId": "c", "kind": "execute", "rawInput": {"command": ["a", "b c"]}});
        let demand = ask(&mut dialogue, words, options.clone());
        assert_eq!(demand.operation.command(), Some("'a' 'b c'"));
        let titled = json!({"toolCallId": "d", "kind": "execute", "title": "mkfs x"});
        let demand = ask(&mut dialogue, titled, options.clone());
        assert_eq!(demand.operation.command(), Some("mkfs x"));
        let edit = json!({"toolCallId": "e", "kind": "edit", "title": "a.txt"});
        assert_eq!(ask(&mut dialogue, edit, options).operation.command(), None);
    }

    fn kinds(steps: &[Step]) -> Vec<&str> {
        let said = steps.iter().map(|step| match step {
            Step::Said(said) => said.kind,
            Step::Ask(_) => "ask",
            Step::Send(_) => "send",
            Step::End => "end",
        });
        said.collect()
    }

    #[test]
    fn each_use_of_a_tool_is_told_once_and_with_its_input() {
        let mut dialogue = begun();
        let mut told = |call: Value| {
            let steps = update(&mut dialogue, call);
            kinds(&steps).join(" ")
        };
        let call = |kind: &str, id: &str, status: &str, input: Value| json!({"sessionUpdate": kind, "toolCallId": id, "status": status, "rawInput": input});
        // Pending, and not all of its input is known yet.
        let cwd = json!({"cwd": "/app"});
        assert_eq!(told(call("tool_call", "a", "pending", cwd)), "");
        let input = json!({"command": "ls"});
        let begins = call("tool_call_update", "a", "in_progress", input.clone());
        assert_eq!(told(begins.clone()), "tool_call");
        assert_eq!(told(begins), "");
        let ends = call("tool_call_update", "a", "completed", json!({}));
        assert_eq!(told(ends), "tool_result");
        // Begun when it is told of.
        assert_eq!(
            told(call("tool_call", "b", "in_progress", input)),
            "tool_call"
        );
        let ends = call("tool_call_update", "b", "failed", json!(null));
        assert_eq!(told(ends), "tool_result");
        // Told of when it is over, and never before.
        let ends = call("tool_call_update", "c", "completed", json!(null));
        assert_eq!(told(ends), "tool_call tool_result");
        let params = json!({"sessionId": "s", "toolCall": {"toolCallId": "d", "kind": "execute",
            "title": "touch made"}, "options": []});
        let asked = json!({"id": 5, "method": "session/request_permission", "params": params});
        let steps = hear(&mut dialogue, asked.clone());
        assert_eq!(kinds(&steps), ["tool_call", "ask"]);
        assert_eq!(kinds(&hear(&mut dialogue, asked)), ["ask"]);
        // Announced, and then nothing more is heard of it.
        let announced = json!({"sessionUpdate": "tool_call", "toolCallId": "e"});
        assert_eq!(kinds(&update(&mut dialogue, announced)), [""; 0]);
        let over = json!({"id": 2, "result": {"stopReason": "end_turn"}});
        assert_eq!(
            kinds(&hear(&mut dialogue, over)),
            ["tool_call", "finished", "end"]
        );
        assert_eq!(dialogue.outcome().tool_calls, 5);
    }

    #[test]
    fn what_was_used_is_read_wherever_a_program_tells_it() {
        for result in [
            json!({"stopReason": "end_turn", "usage": {"inputTokens": 7, "outputTokens": 2,
                "cachedReadTokens": 3}}),
            json!({"stopReason": "end_turn", "_meta": {"quota": {"token_count":
                {"input_tokens": 7, "output_tokens": 2}}}}),
        ] {
            let mut dialogue = begun();
            hear(&mut dialogue, json!({"id": 2, "result": result}));
            let spent = dialogue.outcome().spent;
            assert_eq!((spent.input_tokens, spent.output_tokens), (7, 2));
            assert_eq!(spent.usd, None, "unknown is not zero");
        }
        let mut dialogue = begun();
        for (amount, currency) in [(0.25, "USD"), (0.5, "USD"), (9.0, "EUR")] {
            let cost = json!({"amount": amount, "currency": currency});
            let told = json!({"sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": cost});
            update(&mut dialogue, told);
        }
        assert_eq!(dialogue.outcome().spent.usd, Some(0.5));
    }

    #[test]
    fn the_end_of_the_turn_ends_the_conversation() {
        let mut dialogue = begun();
        for words in ["It is ", "done."] {
            update(
                &mut dialogue,
                json!({"sessionUpdate": "agent_message_chunk",
                "content": {"type": "text", "text": words}}),
            );
        }
        let mut stopped = dialogue.clone();
        hear(
            &mut stopped,
            json!({"id": 2, "result": {"stopReason": "max_tokens"}}),
        );
        assert!(stopped.is_over() && !stopped.outcome().is_done);
        let steps = hear(
            &mut dialogue,
            json!({"id": 2, "result": {"stopReason": "end_turn"}}),
        );
        let Some(Step::Said(said)) = steps.first() else {
            panic!("{steps:?}");
        };
        assert_eq!(said.data["text"], "It is done.");
        assert!(dialogue.is_over() && dialogue.outcome().is_done);
    }
}
