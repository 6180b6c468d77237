//! What operations are asked with: query parameters and bodies, as callers write them.

use serde_json::{Value, json};

use crate::contract::learning::{IMPORT_MAX, LearningKind, TEXT_BYTES_MAX, Trust};
use crate::contract::registry::{DISCOVER_DEPTH_MAX, TaskStatus};
use crate::contract::sandbox::COMMAND_BYTES_MAX;

/// One query parameter: its name, its kind, what it does.
type Parameter = (&'static str, Kind, &'static str);

/// What a parameter's value may be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Limit,
    Number,
    Day,
    Depth,
    Status,
    Learning,
    Trust,
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Limit => json!({ "type": "integer", "minimum": 1, "maximum": 1_000 }),
            Self::Number => json!({ "type": "integer", "minimum": 0 }),
            Self::Day => json!({ "type": "string", "examples": ["2026-02-12"] }),
            Self::Depth => {
                json!({ "type": "integer", "minimum": 1, "maximum": DISCOVER_DEPTH_MAX })
            }
            Self::Status => json!({ "enum": TaskStatus::EVERY.map(TaskStatus::name) }),
            Self::Learning => json!({ "enum": LearningKind::EVERY.map(LearningKind::name) }),
            Self::Trust => json!({ "enum": Trust::EVERY.map(Trust::name) }),
        }
    }
}

/// Returns the query parameters of an operation.
pub(super) fn of(name: &str) -> impl Iterator<Item = Value> {
    QUERIES
        .iter()
        .filter(move |(operation, _)| *operation == name)
        .flat_map(|(_, parameters)| *parameters)
        .map(|(name, kind, about)| {
            json!({
                "name": name,
                "in": "query",
                "description": about,
                "schema": kind.schema(),
            })
        })
}

/// Returns the schema of an operation's body, if it takes one.
pub(super) fn body_of(name: &str) -> Option<Value> {
    let text = || json!({ "type": "string" });
    let schema = match name {
        "session.start" => json!({
            "type": "object",
            "required": ["prd", "project"],
            "properties": {
                "prd": {
                    "type": "object",
                    "required": ["name", "text"],
                    "properties": { "name": text(), "text": text() },
                },
                "project": { "type": "string", "description": "Absolute path of a git repository." },
                "provider": text(),
                "iterations_max": { "type": "integer", "minimum": 1 },
                "tighten": { "type": "object" },
            },
        }),
        "sandbox.start" => json!({
            "type": "object",
            "required": ["project"],
            "properties": {
                "project": { "type": "string", "description": "Absolute path of a git repository." },
                "name": { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,39}$" },
                "command": { "type": "string", "minLength": 1, "maxLength": COMMAND_BYTES_MAX },
                "allowed_paths": { "type": "array", "items": text() },
            },
        }),
        "project.register" => json!({
            "type": "object",
            "required": ["path"],
            "properties": { "path": text(), "name": text(), "alias": text() },
        }),
        "learning.add" => learning(),
        "learning.import" => json!({
            "type": "object",
            "required": ["learnings"],
            "properties": {
                // What is wrong with one of them is told in the answer; the others are taken.
                "learnings": { "type": "array", "maxItems": IMPORT_MAX, "items": { "type": "object" } },
            },
        }),
        _ => return None,
    };
    let mut schema = schema;
    // Every body is read strictly.
    schema["additionalProperties"] = json!(false);
    Some(schema)
}

/// Returns the names of the operations that are described here.
#[cfg(test)]
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    QUERIES.iter().map(|(name, _)| *name)
}

fn learning() -> Value {
    json!({
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": { "type": "string", "minLength": 1, "maxLength": TEXT_BYTES_MAX },
            "type": Kind::Learning.schema(),
            "project": { "type": "string", "description": "Id, alias or path." },
            "expires_days": { "type": "integer", "minimum": 1, "maximum": 3_650 },
        },
    })
}

const PROJECT: Parameter = ("project", Kind::Text, "Id, alias or path of a project.");
const LIMIT: Parameter = ("limit", Kind::Limit, "Most entries.");
const OFFSET: Parameter = ("offset", Kind::Number, "Entries to leave out first.");

const QUERIES: &[(&str, &[Parameter])] = &[
    (
        "audit.query",
        &[
            LIMIT,
            OFFSET,
            ("start_date", Kind::Day, "Records from this day or time on."),
            ("end_date", Kind::Day, "Records to this day or time."),
            ("action", Kind::Text, "Only this action."),
            ("user", Kind::Text, "Only of this user."),
            ("resource", Kind::Text, "Only about this resource."),
            ("outcome", Kind::Text, "Only with this outcome."),
            ("request_id", Kind::Text, "Only of this request."),
        ],
    ),
    (
        "audit.summary",
        &[("days", Kind::Number, "Days to count, with today.")],
    ),
    (
        "session.events",
        &[
            ("after", Kind::Number, "Events with a higher number."),
            LIMIT,
        ],
    ),
    (
        "sandbox.log",
        &[(
            "after",
            Kind::Number,
            "From this place on, which the last answer named.",
        )],
    ),
    (
        "sandbox.shell",
        &[
            (
                "columns",
                Kind::Number,
                "Characters in a line of the terminal.",
            ),
            ("rows", Kind::Number, "Lines of the terminal."),
            (
                "terminal",
                Kind::Text,
                "What kind of terminal it is, for TERM.",
            ),
        ],
    ),
    (
        "project.list",
        &[
            ("path", Kind::Text, "Only the project at this path."),
            LIMIT,
            OFFSET,
        ],
    ),
    (
        "project.discover",
        &[("max_depth", Kind::Depth, "How deep below a root.")],
    ),
    (
        "task.list",
        &[
            ("status", Kind::Status, "Only in this status."),
            PROJECT,
            ("project_ids", Kind::Text, "Several projects, by commas."),
            LIMIT,
            OFFSET,
        ],
    ),
    (
        "learning.list",
        &[
            ("query", Kind::Text, "Words that must be there."),
            ("type", Kind::Learning, "Only of this type."),
            ("trust", Kind::Trust, "Only with this label."),
            PROJECT,
            LIMIT,
            OFFSET,
        ],
    ),
    ("memory.summary", &[PROJECT]),
    ("memory.episodes", &[PROJECT, LIMIT, OFFSET]),
    ("memory.patterns", &[PROJECT, LIMIT, OFFSET]),
    ("memory.timeline", &[PROJECT, LIMIT]),
];
