//! The events of `claude --print --output-format stream-json --verbose`. Pure.

use serde_json::{Value, json};

use super::{Outcome, Said, dollars, small, text};

/// Reads one event.
pub(super) fn read(event: &Value, outcome: &mut Outcome) -> Vec<Said> {
    match event["type"].as_str() {
        Some("system") => system(event),
        Some("assistant") => {
            on_the_way(&event["message"], outcome);
            content(event, assistant)
        }
        Some("user") => content(event, user),
        Some("result") => vec![result(event, outcome)],
        Some(kind) => vec![Said::other(kind)],
        None => vec![Said::other(&event.to_string())],
    }
}

fn system(event: &Value) -> Vec<Said> {
    if event["subtype"] != "init" {
        return vec![Said::other(text(event, "subtype"))];
    }
    let data = json!({
        "agent_session": text(event, "session_id"),
        "model": text(event, "model"),
        "permission_mode": text(event, "permissionMode"),
    });
    vec![Said::new("started", data)]
}

/// Reads the blocks of a message.
fn content(event: &Value, read: fn(&Value) -> Option<Said>) -> Vec<Said> {
    let blocks = event["message"]["content"].as_array();
    blocks.into_iter().flatten().filter_map(read).collect()
}

fn assistant(block: &Value) -> Option<Said> {
    match block["type"].as_str()? {
        "text" => Some(Said::new("message", json!({ "text": text(block, "text") }))),
        "thinking" => {
            let data = json!({ "text": text(block, "thinking") });
            Some(Said::new("reasoning", data))
        }
        "tool_use" => {
            let data = json!({
                "id": text(block, "id"),
                "tool": text(block, "name"),
                "input": small(&block["input"]),
            });
            Some(Said::new("tool_call", data))
        }
        _ => None,
    }
}

fn user(block: &Value) -> Option<Said> {
    if block["type"] != "tool_result" {
        return None;
    }
    let data = json!({
        "id": text(block, "tool_use_id"),
        "is_error": block["is_error"].as_bool().unwrap_or(false),
        "output": small(&block["content"]),
    });
    Some(Said::new("tool_result", data))
}

/// Adds what a message of the model used, until the result tells the whole: several events come of one
/// message, one for each of its blocks.
fn on_the_way(message: &Value, outcome: &mut Outcome) {
    let Some(name) = message["id"].as_str() else {
        return;
    };
    if outcome.last_message.as_deref() == Some(name) {
        return;
    }
    outcome.last_message = Some(name.to_owned());
    let usage = &message["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let cached = count("cache_read_input_tokens");
    let spent = &mut outcome.spent;
    spent.cached_input_tokens = spent.cached_input_tokens.saturating_add(cached);
    spent.input_tokens = spent
        .input_tokens
        .saturating_add(count("input_tokens"))
        .saturating_add(count("cache_creation_input_tokens"))
        .saturating_add(cached);
    spent.output_tokens = spent.output_tokens.saturating_add(count("output_tokens"));
}

/// The figures of a result are those of the whole process, so the last one counts.
fn result(event: &Value, outcome: &mut Outcome) -> Said {
    let usage = &event["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let cached = count("cache_read_input_tokens");
    outcome.spent.cached_input_tokens = cached;
    outcome.spent.input_tokens = count("input_tokens")
        .saturating_add(count("cache_creation_input_tokens"))
        .saturating_add(cached);
    outcome.spent.output_tokens = count("output_tokens");
    outcome.spent.usd = dollars(&event["total_cost_usd"]).or(outcome.spent.usd);
    let is_error = event["is_error"].as_bool().unwrap_or(false);
    let subtype = text(event, "subtype");
    if is_error || subtype != "success" {
        let said = text(event, "result");
        outcome.fail(if said.is_empty() { subtype } else { said });
    } else {
        outcome.is_done = true;
        outcome.trouble = None;
        outcome.is_transient = false;
    }
    let data = json!({
        "result": if outcome.is_done { "success" } else { "error" },
        "reason": subtype,
        "text": text(event, "result"),
        "turns": event["num_turns"],
        "cost_usd": outcome.spent.usd,
        "input_tokens": outcome.spent.input_tokens,
        "cached_input_tokens": cached,
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
            json!({"type": "system", "subtype": "init", "session_id": "s", "model": "m"}),
            json!({"type": "assistant", "message": {"content": [
                {"type": "text", "text": "I write."},
                {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": "a"}},
            ]}}),
            json!({"type": "user", "message": {"content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "ok"},
            ]}}),
            json!({"type": "result", "subtype": "success", "is_error": false, "num_turns": 2,
                "total_cost_usd": 0.25, "result": "Done.", "usage": {"input_tokens": 10,
                "cache_creation_input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 7}}),
        ];
        let mut reader = Reader::new(Dialect::Claude);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let kinds: Vec<_> = reader
            .take(text.as_bytes())
            .iter()
            .map(|it| it.kind)
            .collect();
        assert_eq!(
            kinds,
            ["started", "message", "tool_call", "tool_result", "finished"]
        );
        let (_, outcome) = reader.finish();
        let spent = Spent {
            input_tokens: 18,
            cached_input_tokens: 3,
            output_tokens: 7,
            usd: Some(0.25),
        };
        assert_eq!((outcome.spent, outcome.tool_calls), (spent, 1));
        assert!(outcome.is_done);
    }

    #[test]
    fn what_is_used_on_the_way_is_told_and_the_result_tells_the_whole() {
        let message = |id: &str, block: &str| {
            json!({"type": "assistant", "message": {"id": id, "content": [
                {"type": block, "text": "x"}], "usage": {"input_tokens": 10, "output_tokens": 2}}})
        };
        let mut reader = Reader::new(Dialect::Claude);
        let lines = [
            message("a", "thinking"),
            message("a", "text"),
            message("b", "text"),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        reader.take(text.as_bytes());
        let spent = reader.spent();
        assert_eq!((spent.input_tokens, spent.output_tokens), (20, 4));
        let result = json!({"type": "result", "subtype": "success",
            "usage": {"input_tokens": 25, "output_tokens": 9}});
        reader.take(format!("{result}\n").as_bytes());
        let spent = reader.finish().1.spent;
        assert_eq!((spent.input_tokens, spent.output_tokens), (25, 9));
    }

    #[test]
    fn a_cost_that_nothing_can_have_is_unknown() {
        for cost in [json!(-0.5), json!(1e300), json!("1"), json!(null)] {
            let event = json!({"type": "result", "subtype": "success", "total_cost_usd": cost});
            let mut reader = Reader::new(Dialect::Claude);
            reader.take(format!("{event}\n").as_bytes());
            assert_eq!(reader.finish().1.spent.usd, None, "{event}");
        }
    }

    #[test]
    fn an_error_is_not_done_and_a_rate_limit_passes() {
        let check = |subtype: &str, is_error: bool, said: &str, transient: bool| {
            let event = json!({"type": "result", "subtype": subtype, "is_error": is_error,
                "result": said});
            let mut reader = Reader::new(Dialect::Claude);
            reader.take(format!("{event}\n").as_bytes());
            let (_, outcome) = reader.finish();
            assert!(!outcome.is_done, "{event}");
            assert_eq!(outcome.is_transient, transient, "{event}");
            assert_eq!(outcome.spent.usd, None, "unknown is not zero");
        };
        check("error_max_turns", false, "", false);
        check("success", true, "API Error: 401 invalid key", false);
        check("success", true, "API Error: 429 rate_limit_error", true);
        check(
            "error_during_execution",
            true,
            "API Error: 529 Overloaded",
            true,
        );
    }
}
