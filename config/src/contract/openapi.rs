//! The OpenAPI 3.1 document, made from the operation table.
//!
//! Invariant: every operation of the table is in it, and nothing else; what is demanded here is what
//! the gateway demands.

pub mod markdown;

mod parameters;

use serde_json::{Map, Value, json};

use crate::contract::operation::{Access, Method, OPERATIONS, Operation};
use crate::contract::problem;

/// Returns the document for a version of the program.
#[must_use]
pub fn document(version: &str) -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(path) = path {
            path.insert(verb(operation.method).to_owned(), described(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Loki Gateway",
            "summary": "A security gateway in front of an agent runtime.",
            "version": version,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of loki enterprise token generate, or a JSON Web Token \
                                    of a configured issuer.",
                },
            },
            "schemas": { "Problem": problem_schema() },
            "responses": {
                "Refused": {
                    "description": "Why it was not done (RFC 9457).",
                    "content": {
                        (problem::MEDIA_TYPE): { "schema": { "$ref": "#/components/schemas/Problem" } },
                    },
                },
            },
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut described = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.name.split('.').next().unwrap_or_default()],
        "responses": {
            "2XX": answer(operation),
            "4XX": { "$ref": "#/components/responses/Refused" },
            "5XX": { "$ref": "#/components/responses/Refused" },
        },
    });
    described["x-loki-action"] = Value::String(operation.action.to_owned());
    if let Access::Scoped(scope) = operation.access {
        described["x-loki-scope"] = Value::String(scope.to_string());
    }
    described["security"] = match operation.access {
        Access::Public => json!([]),
        Access::Scoped(scope) => {
            described["description"] = Value::String(format!("Demands the scope `{scope}`."));
            json!([{ "bearer": [] }])
        }
    };
    let parameters: Vec<Value> = names_in(operation.path)
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": { "type": "string", "pattern": ID_PATTERN },
            })
        })
        .chain(parameters::of(operation.name))
        .collect();
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(schema) = parameters::body_of(operation.name) {
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema } },
        });
    }
    described
}

fn answer(operation: &Operation) -> Value {
    if operation.method == Method::Delete {
        return json!({ "description": "It is done." });
    }
    let text = || json!({ "schema": { "type": "string" } });
    let content = match operation.name {
        "landing.show" | "metrics.show" | "session.log" | "log.show" => {
            json!({ "text/plain": text() })
        }
        "session.diff" => json!({ "text/x-diff": text() }),
        "audit.export" => json!({ "application/x-ndjson": text(), "text/csv": text() }),
        "agent.list" | "board.list" => {
            json!({ "application/json": { "schema": { "type": "array" } } })
        }
        _ => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    json!({ "description": operation.summary, "content": content })
}

/// What names a thing in a path: ids and aliases.
const ID_PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

/// Returns the names in braces.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

const fn verb(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Delete => "delete",
    }
}

fn problem_schema() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": text("Names the kind of problem; stable, for programs."),
            "title": text("What happened, the same for every problem of this kind."),
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": text("What could not be done, to what, and why."),
            "fix": text("What to do next."),
            "scope": text("The scope that was missing."),
            "request_id": text("Names the request in the audit trail."),
            "candidates": { "type": "array", "items": { "type": "string" } },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{document, names_in, parameters, verb};
    use crate::contract::operation::{Access, OPERATIONS, named};
    use crate::contract::problem::Problem;

    #[test]
    fn parameters_are_of_operations_that_exist() {
        for name in parameters::named() {
            assert!(named(name).is_some(), "{name} is no operation");
        }
    }

    #[test]
    fn the_document_holds_every_operation_and_nothing_else() {
        let document = document("1.2.3");
        let paths = document["paths"].as_object().expect("paths");
        let mut seen = BTreeSet::new();
        for path in paths.values() {
            for operation in path.as_object().expect("operations").values() {
                let name = operation["operationId"].as_str().expect("a name");
                assert!(seen.insert(name.to_owned()), "{name} stands twice");
            }
        }
        let names: BTreeSet<String> = OPERATIONS.iter().map(|it| it.name.to_owned()).collect();
        assert_eq!(seen, names);
        for operation in OPERATIONS {
            let described = &paths[operation.path][verb(operation.method)];
            let is_open = described["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(is_open, operation.access == Access::Public, "{operation}");
            let given: Vec<&str> = described["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|it| it["in"] == "path")
                .filter_map(|it| it["name"].as_str())
                .collect();
            assert_eq!(given, names_in(operation.path).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        found.push(target.clone());
                    }
                    members.values().for_each(|it| references(it, found));
                }
                Value::Array(items) => items.iter().for_each(|it| references(it, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document("1.2.3");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let pointer = target.strip_prefix('#').expect("a place in the document");
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn the_problem_has_the_members_that_are_sent() {
        let mut problem = Problem::new("kind", "title", 409);
        problem.detail = Some(String::new());
        problem.fix = Some(String::new());
        problem.scope = Some(String::new());
        problem.request_id = Some(String::new());
        problem.candidates = vec![String::new()];
        let sent = serde_json::to_value(problem).expect("JSON");
        let document = document("1.2.3");
        let described = document["components"]["schemas"]["Problem"]["properties"]
            .as_object()
            .expect("members");
        let sent: BTreeSet<_> = sent.as_object().expect("an object").keys().collect();
        assert_eq!(sent, described.keys().collect());
    }
}
