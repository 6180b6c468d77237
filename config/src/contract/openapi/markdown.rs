//! The OpenAPI document as two Markdown tables, for people: what can be asked, and with what.
//!
//! Invariant: nothing is told here but what the document says.

use std::fmt::Write;

use serde_json::Value;

/// Returns the tables of a document.
#[must_use]
pub fn tables(document: &Value) -> String {
    let mut operations = String::from(OPERATIONS);
    let mut members = String::from(MEMBERS);
    let paths = document["paths"].as_object();
    for (path, verbs) in paths.into_iter().flatten() {
        for (verb, operation) in verbs.as_object().into_iter().flatten() {
            let name = format!("`{} {path}`", verb.to_ascii_uppercase());
            let scope = match operation["x-loki-scope"].as_str() {
                Some(scope) => format!("`{scope}`"),
                None => "none".to_owned(),
            };
            line(
                &mut operations,
                &[
                    &name,
                    &scope,
                    &format!("`{}`", text(&operation["x-loki-action"])),
                    text(&operation["summary"]),
                ],
            );
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "query" {
                    let about = text(&parameter["description"]);
                    let row = member(&name, parameter, &parameter["schema"], "query", about);
                    members.push_str(&row);
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            for (member_name, schema) in body["properties"].as_object().into_iter().flatten() {
                let required = body["required"].as_array().into_iter().flatten();
                let place = if required.into_iter().any(|it| it == member_name) {
                    "body, required"
                } else {
                    "body"
                };
                let named = serde_json::json!({ "name": member_name });
                let about = text(&schema["description"]);
                members.push_str(&member(&name, &named, schema, place, about));
            }
        }
    }
    format!("{operations}\n{members}")
}

fn member(operation: &str, named: &Value, schema: &Value, place: &str, about: &str) -> String {
    let mut row = String::new();
    let name = format!("`{}`", text(&named["name"]));
    line(&mut row, &[operation, &name, place, &kind(schema), about]);
    row
}

/// Says in a few words what a value may be.
fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|it| format!("`{}`", text(it))).collect();
        return values.join(", ");
    }
    let mut kind = text(&schema["type"]).to_owned();
    for (name, word) in [
        ("minimum", "from"),
        ("maximum", "to"),
        ("minLength", "at least"),
        ("maxLength", "at most"),
        ("maxItems", "at most"),
    ] {
        if let Some(bound) = schema[name].as_u64() {
            // Writing into a String cannot fail.
            write!(kind, " {word} {bound}").unwrap_or_default();
        }
    }
    kind
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn line(out: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    out.push_str(&format!("| {} |\n", cells.join(" | ")));
}

const OPERATIONS: &str = "| operation | scope | action | what it does |\n|---|---|---|---|\n";

const MEMBERS: &str = "| operation | member | where | what it may be | what it is |\n\
                       |---|---|---|---|---|\n";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::tables;

    #[test]
    fn what_the_document_says_is_told_and_nothing_else() {
        let document = json!({ "paths": { "/x/{id}": { "post": {
            "x-loki-scope": "control",
            "x-loki-action": "x.do",
            "summary": "Does a|b.",
            "parameters": [
                { "name": "id", "in": "path", "schema": { "type": "string" } },
                { "name": "limit", "in": "query", "description": "Most.",
                  "schema": { "type": "integer", "minimum": 1, "maximum": 9 } },
            ],
            "requestBody": { "content": { "application/json": { "schema": {
                "required": ["kind"],
                "properties": { "kind": { "enum": ["a", "b"] }, "text": { "type": "string" } },
            } } } },
        } } } });
        let told = tables(&document);
        let rows: Vec<&str> = told.lines().filter(|it| it.contains("/x/")).collect();
        assert_eq!(
            rows,
            [
                "| `POST /x/{id}` | `control` | `x.do` | Does a\\|b. |",
                "| `POST /x/{id}` | `limit` | query | integer from 1 to 9 | Most. |",
                "| `POST /x/{id}` | `kind` | body, required | `a`, `b` |  |",
                "| `POST /x/{id}` | `text` | body | string |  |",
            ]
        );
    }
}
