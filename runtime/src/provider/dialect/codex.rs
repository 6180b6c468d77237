//! The events of `codex exec --json`. Pure.

use serde_json::{Value, json};

use super::{Outcome, Said, small, text};

/// Reads one event.
pub(super) fn read(event: &Value, outcome: &mut Outcome) -> Vec<Said> {
    let said = match event["type"].as_str() {
        Some("thread.started") => {
            let data = json!({ "agent_session": text(event, "thread_id") });
            Some(Said::new("started", data))
        }
        Some("item.completed") => item(&event["item"]),
        Some("turn.completed") => Some(completed(event, outcome)),
        Some("turn.failed") => {
            let why = text(&event["error"], "message");
            outcome.fail(why);
            let data = json!({ "result": "error", "text": why });
            Some(Said::new("finished", data))
        }
        Some("error") => {
            let why = text(event, "message");
            outcome.fail(why);
            Some(Said::new("error", json!({ "text": why })))
        }
        // What begins or goes on is told when it is complete.
        Some("turn.started" | "item.started" | "item.updated") => None,
        Some(kind) => Some(Said::other(kind)),
        None => Some(Said::other(&event.to_string())),
    };
    said.into_iter().collect()
}

fn item(item: &Value) -> Option<Said> {
    let kind = item["type"].as_str()?;
    let said = match kind {
        "agent_message" => Said::new("message", json!({ "text": text(item, "text") })),
        "reasoning" => Said::new("reasoning", json!({ "text": text(item, "text") })),
        "command_execution" => {
            let data = json!({
                "id": text(item, "id"),
                "command": text(item, "command"),
                "exit_code": item["exit_code"],
                "status": text(item, "status"),
                "output": text(item, "aggregated_output"),
            });
            Said::new("command", data)
        }
        "file_change" => {
            let data = json!({
                "id": text(item, "id"),
                "changes": small(&item["changes"]),
                "status": text(item, "status"),
            });
            Said::new("file_change", data)
        }
        "mcp_tool_call" | "web_search" | "collab_tool_call" => {
            let data = json!({ "id": text(item, "id"), "tool": kind, "input": small(item) });
            Said::new("tool_call", data)
        }
        "error" => Said::new("error", json!({ "text": text(item, "message") })),
        other => Said::other(other),
    };
    Some(said)
}

/// Each turn tells its own figures.
fn completed(event: &Value, outcome: &mut Outcome) -> Said {
    let usage = &event["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let spent = &mut outcome.spent;
    spent.input_tokens = spent.input_tokens.saturating_add(count("input_tokens"));
    spent.cached_input_tokens = spent
        .cached_input_tokens
        .saturating_add(count("cached_input_tokens"));
    spent.output_tokens = spent.output_tokens.saturating_add(count("output_tokens"));
    outcome.is_done = true;
    outcome.trouble = None;
    outcome.is_transient = false;
    let data = json!({
        "result": "success",
        "cost_usd": null,
        "input_tokens": outcome.spent.input_tokens,
        "cached_input_tokens": outcome.spent.cached_input_tokens,
        "output_tokens": outcome.spent.output_tokens,
    });
    Said::new("finished", data)
}

#[cfg(test)]
mod tests {
    use config::runtime::Dialect;
    use serde_json::json;

    use super::super::{Reader, Spent};

    #[test]
    fn a_run_is_read_from_its_beginning_to_its_end() {
        let lines = [
            json!({"type": "thread.started", "thread_id": "t"}),
            json!({"type": "turn.started"}),
            json!({"type": "item.started", "item": {"id": "i", "type": "command_execution"}}),
            json!({"type": "item.completed", "item": {"id": "i", "type": "command_execution",
                "command": "ls", "aggregated_output": "a\n", "exit_code": 0, "status": "completed"}}),
            json!({"type": "item.completed", "item": {"id": "j", "type": "file_change",
                "changes": [{"path": "a", "kind": "add"}], "status": "completed"}}),
            json!({"type": "item.completed", "item": {"id": "k", "type": "agent_message",
                "text": "Done."}}),
            json!({"type": "turn.completed", "usage": {"input_tokens": 100,
                "cached_input_tokens": 40, "output_tokens": 9}}),
        ];
        let mut reader = Reader::new(Dialect::Codex);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let kinds: Vec<_> = reader
            .take(text.as_bytes())
            .iter()
            .map(|it| it.kind)
            .collect();
        assert_eq!(
            kinds,
            ["started", "command", "file_change", "message", "finished"]
        );
        let (_, outcome) = reader.finish();
        let spent = Spent {
            input_tokens: 100,
            cached_input_tokens: 40,
            output_tokens: 9,
            usd: None,
        };
        assert_eq!((outcome.spent, outcome.tool_calls), (spent, 1));
        assert!(outcome.is_done);
    }

    #[test]
    fn a_failed_turn_is_not_done() {
        let event = json!({"type": "turn.failed", "error": {"message": "429 Too Many Requests"}});
        let mut reader = Reader::new(Dialect::Codex);
        reader.take(format!("{event}\n").as_bytes());
        let (_, outcome) = reader.finish();
        assert!(!outcome.is_done && outcome.is_transient);
    }
}
