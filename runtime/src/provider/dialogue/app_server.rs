//! The language of `codex app-server`. It is asked to ask before every command that it does not hold for
//! harmless and before every change of a file. Pure.

use serde_json::{Value, json};

use super::{Demand, Dialogue, Step, command, text};
use crate::operation::Operation;
use crate::provider::dialect::{Said, small};

/// Returns the first message.
pub(super) fn first() -> Value {
    json!({ "id": 0, "method": "initialize", "params": { "clientInfo": {
        "name": "loki", "title": "Loki", "version": env!("CARGO_PKG_VERSION"),
    }}})
}

/// Hears an answer to one of the three messages that are sent.
pub(super) fn result(dialogue: &mut Dialogue, id: &Value, result: &Value) -> Vec<Step> {
    match id.as_u64() {
        Some(0) => {
            // No folder is named: the program is in it, and does not take it for a trusted one then.
            let mut params = json!({
                "approvalPolicy": "untrusted",
                "sandbox": "danger-full-access",
            });
            if let Some(model) = &dialogue.brief.model {
                params["model"] = json!(model);
            }
            vec![
                Step::Send(json!({ "method": "initialized" })),
                Step::Send(json!({ "id": 1, "method": "thread/start", "params": params })),
            ]
        }
        Some(1) => {
            dialogue.thread = text(&result["thread"], "id");
            if dialogue.thread.is_empty() {
                return dialogue.give_up("it began no thread");
            }
            let data = json!({
                "agent_session": dialogue.thread,
                "model": text(result, "model"),
                "permission_mode": result["approvalPolicy"],
            });
            let params = json!({
                "threadId": dialogue.thread,
                "input": [{ "type": "text", "text": dialogue.brief.prompt }],
                "approvalPolicy": "untrusted",
            });
            vec![
                Step::Said(Said::new("started", data)),
                Step::Send(json!({ "id": 2, "method": "turn/start", "params": params })),
            ]
        }
        Some(_) | None => Vec::new(),
    }
}

/// Hears a question.
pub(super) fn request(
    dialogue: &mut Dialogue,
    method: &str,
    id: &Value,
    params: &Value,
) -> Option<Step> {
    let item = dialogue
        .items
        .get(params["itemId"].as_str().unwrap_or_default());
    let item = item.unwrap_or(&Value::Null);
    let answer = |result: Value| json!({ "id": id, "result": result });
    let (tool, input) = match method {
        "item/commandExecution/requestApproval" => {
            let asked = command(&params["command"]).or_else(|| command(&item["command"]));
            let mut input = json!({ "reason": params["reason"] });
            match (asked, params.get("networkApprovalContext")) {
                (Some(command), _) => input["command"] = json!(command),
                (None, Some(context)) => input["network"] = context.clone(),
                (None, None) => return Some(Step::Send(answer(json!({ "decision": "decline" })))),
            }
            ("Shell", input)
        }
        "item/fileChange/requestApproval" => (
            "apply_patch",
            json!({ "changes": item["changes"], "reason": params["reason"],
                "root": params["grantRoot"] }),
        ),
        "item/permissions/requestApproval" => {
            return Some(Step::Send(answer(json!({ "permissions": {} }))));
        }
        "mcpServer/elicitation/request" => {
            let declined = json!({ "action": "decline", "content": null });
            return Some(Step::Send(answer(declined)));
        }
        _ => return None,
    };
    let tool = if input.get("network").is_some() {
        "network"
    } else {
        tool
    };
    let operation = Operation {
        call: text(params, "itemId"),
        tool: tool.to_owned(),
        input,
        directory: params["cwd"]
            .as_str()
            .or(item["cwd"].as_str())
            .unwrap_or_default()
            .to_owned(),
        again: false,
    };
    Some(Step::Ask(Demand {
        operation,
        yes: answer(json!({ "decision": "accept" })),
        no: answer(json!({ "decision": "decline" })),
    }))
}

/// Hears what happens.
pub(super) fn notice(dialogue: &mut Dialogue, method: &str, params: &Value) -> Vec<Step> {
    match method {
        "item/started" => {
            let item = &params["item"];
            dialogue.remember(&text(item, "id"), item);
            Vec::new()
        }
        "item/completed" => {
            let item = &params["item"];
            dialogue.items.remove(&text(item, "id"));
            completed(item).map(Step::Said).into_iter().collect()
        }
        "thread/tokenUsage/updated" => {
            let total = &params["tokenUsage"]["total"];
            let count = |name: &str| total[name].as_u64().unwrap_or(0);
            let spent = &mut dialogue.outcome.spent;
            spent.input_tokens = count("inputTokens");
            spent.cached_input_tokens = count("cachedInputTokens");
            spent.output_tokens = count("outputTokens");
            Vec::new()
        }
        "error" => {
            let why = text(&params["error"], "message");
            vec![Step::Said(Said::new("error", json!({ "text": why })))]
        }
        "turn/completed" => turn_completed(dialogue, &params["turn"]),
        _ => Vec::new(),
    }
}

fn turn_completed(dialogue: &mut Dialogue, turn: &Value) -> Vec<Step> {
    let status = text(turn, "status");
    let end = if status == "completed" {
        dialogue.conclude()
    } else {
        let why = text(&turn["error"], "message");
        let why = if why.is_empty() { status } else { why };
        dialogue.outcome.fail(&why);
        Step::End
    };
    let outcome = &dialogue.outcome;
    let data = json!({
        "result": if outcome.is_done { "success" } else { "error" },
        "text": outcome.trouble,
        "cost_usd": null,
        "input_tokens": outcome.spent.input_tokens,
        "cached_input_tokens": outcome.spent.cached_input_tokens,
        "output_tokens": outcome.spent.output_tokens,
    });
    vec![Step::Said(Said::new("finished", data)), end]
}

fn completed(item: &Value) -> Option<Said> {
    let id = text(item, "id");
    Some(match item["type"].as_str()? {
        "agentMessage" => Said::new("message", json!({ "text": text(item, "text") })),
        "reasoning" => Said::new("reasoning", json!({ "text": small(&item["summary"]) })),
        "commandExecution" => {
            let data = json!({
                "id": id,
                "command": command(&item["command"]),
                "exit_code": item["exitCode"],
                "status": text(item, "status"),
                "output": small(&item["aggregatedOutput"]),
            });
            Said::new("command", data)
        }
        "fileChange" => {
            let data = json!({
                "id": id,
                "changes": small(&item["changes"]),
                "status": text(item, "status"),
            });
            Said::new("file_change", data)
        }
        "userMessage" => return None,
        other => {
            let data = json!({ "id": id, "tool": other, "input": small(item) });
            Said::new("tool_call", data)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Brief, Dialogue, Language, Step};

    fn begun() -> Dialogue {
        let brief = Brief {
            prompt: "work".to_owned(),
            directory: "/app".to_owned(),
            model: Some("large".to_owned()),
        };
        let (mut dialogue, first) = Dialogue::new(Language::AppServer, brief);
        assert_eq!(first["method"], "initialize");
        let steps = hear(&mut dialogue, json!({"id": 0, "result": {}}));
        let [Step::Send(ready), Step::Send(start)] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(ready, &json!({"method": "initialized"}));
        assert_eq!(start["params"]["model"], "large");
        assert_eq!(start["params"]["approvalPolicy"], "untrusted");
        let steps = hear(
            &mut dialogue,
            json!({"id": 1, "result": {"thread": {"id": "t"}}}),
        );
        let [Step::Said(_), Step::Send(turn)] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(turn["params"]["input"][0]["text"], "work");
        dialogue
    }

    fn hear(dialogue: &mut Dialogue, message: Value) -> Vec<Step> {
        dialogue.hear(message.to_string().as_bytes())
    }

    #[test]
    fn what_is_not_understood_is_declined() {
        let mut dialogue = begun();
        for (method, expected) in [
            (
                "item/commandExecution/requestApproval",
                json!({"decision": "decline"}),
            ),
            (
                "item/permissions/requestApproval",
                json!({"permissions": {}}),
            ),
            (
                "mcpServer/elicitation/request",
                json!({"action": "decline", "content": null}),
            ),
        ] {
            let asked = json!({"id": 7, "method": method, "params": {"itemId": "nobody"}});
            let steps = hear(&mut dialogue, asked);
            assert_eq!(steps, [Step::Send(json!({"id": 7, "result": expected}))]);
        }
        let steps = hear(
            &mut dialogue,
            json!({"id": 8, "method": "other/thing", "params": {}}),
        );
        let [Step::Send(answer)] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert!(answer["error"].is_object(), "{answer}");
    }

    #[test]
    fn a_command_and_a_change_are_asked_for_with_what_was_told_before() {
        let mut dialogue = begun();
        let item = json!({"type": "commandExecution", "id": "i", "command": "rm -rf build",
            "cwd": "/app"});
        hear(
            &mut dialogue,
            json!({"method": "item/started", "params": {"item": item}}),
        );
        let asked = json!({"id": 5, "method": "item/commandExecution/requestApproval",
            "params": {"itemId": "i", "threadId": "t", "turnId": "u"}});
        let mut steps = hear(&mut dialogue, asked);
        let Some(Step::Ask(demand)) = steps.pop() else {
            panic!("{steps:?}");
        };
        assert_eq!(demand.operation.command(), Some("rm -rf build"));
        assert_eq!(demand.operation.directory, "/app");
        let no = demand.clone().answer(false);
        assert_eq!(no, json!({"id": 5, "result": {"decision": "decline"}}));
        let yes = demand.answer(true);
        assert_eq!(yes, json!({"id": 5, "result": {"decision": "accept"}}));

        let item = json!({"type": "fileChange", "id": "j", "changes": [{"path": "a"}]});
        hear(
            &mut dialogue,
            json!({"method": "item/started", "params": {"item": item}}),
        );
        let asked = json!({"id": 6, "method": "item/fileChange/requestApproval",
            "params": {"itemId": "j"}});
        let mut steps = hear(&mut dialogue, asked);
        let Some(Step::Ask(demand)) = steps.pop() else {
            panic!("{steps:?}");
        };
        assert_eq!(demand.operation.input["changes"][0]["path"], "a");
        assert_eq!(demand.operation.command(), None);
    }

    #[test]
    fn a_turn_ends_the_conversation_and_tells_what_it_used() {
        let mut dialogue = begun();
        let usage =
            json!({"total": {"inputTokens": 10, "cachedInputTokens": 4, "outputTokens": 3}});
        hear(
            &mut dialogue,
            json!({"method": "thread/tokenUsage/updated",
            "params": {"tokenUsage": usage}}),
        );
        let item = json!({"type": "commandExecution", "id": "i", "command": "ls", "exitCode": 0});
        hear(
            &mut dialogue,
            json!({"method": "item/completed", "params": {"item": item}}),
        );
        let mut failed = dialogue.clone();
        let turn = json!({"status": "failed", "error": {"message": "429 Too Many Requests"}});
        hear(
            &mut failed,
            json!({"method": "turn/completed", "params": {"turn": turn}}),
        );
        assert!(failed.is_over() && failed.outcome().is_transient);
        assert!(!failed.outcome().is_done);
        let turn = json!({"status": "completed"});
        let steps = hear(
            &mut dialogue,
            json!({"method": "turn/completed", "params": {"turn": turn}}),
        );
        assert_eq!(steps.last(), Some(&Step::End));
        let outcome = dialogue.outcome();
        assert!(outcome.is_done);
        assert_eq!((outcome.spent.input_tokens, outcome.tool_calls), (10, 1));
    }

    #[test]
    fn an_error_ends_it_and_is_told() {
        let mut dialogue = begun();
        let steps = hear(
            &mut dialogue,
            json!({"id": 2, "error": {"message": "no model"}}),
        );
        assert_eq!(steps, [Step::End]);
        assert_eq!(dialogue.outcome().trouble.as_deref(), Some("no model"));
    }
}
