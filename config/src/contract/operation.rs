//! The operation table: the single list of everything that a caller can ask for.
//!
//! It holds only what is built. From it the gateway takes scopes and audit actions, the runtime
//! builds its router, and the tests derive the refusals that every operation owes. A path that is
//! not here is refused, never forwarded.

mod find;
mod table;

use std::fmt;

use crate::contract::scope::Scope;

pub use find::{Found, find, methods_of, named};
pub use table::OPERATIONS;

/// Who carries an operation out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The gateway answers itself.
    Gateway,
    /// The request is forwarded to the runtime.
    Runtime,
}

/// What a caller needs for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// A credential with this scope.
    Scoped(Scope),
}

/// What the audit trail holds of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Counted in the metrics, not recorded: probes and scrapes.
    Counted,
    /// One record at the end.
    Read,
    /// A durable decision, a durable outcome, and an end.
    Mutation,
}

/// The HTTP methods that the table uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads; `HEAD` is answered for it too.
    Get,
    /// Changes.
    Post,
    /// Replaces.
    Put,
    /// Takes away.
    Delete,
}

impl Method {
    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// One thing that a caller can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The name.
    pub name: &'static str,
    /// What the audit calls it: the name, unless another operation does the same.
    pub action: &'static str,
    /// The method.
    pub method: Method,
    /// The path; a segment in braces stands for one value.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// Kind of the thing acted on, as in the audit's `kind:id`.
    pub resource_kind: &'static str,
    /// Who carries it out.
    pub owner: Owner,
    /// What the audit holds of it.
    pub recorded: Recorded,
    /// Longest request body in bytes.
    pub body_bytes_max: u64,
    /// Whether asking twice does no more than asking once.
    pub idempotent: bool,
    /// Whether the answer may go on for hours: server-sent events, or a WebSocket if the caller asks
    /// for one and the runtime agrees.
    pub stream: bool,
    /// One sentence for people.
    pub summary: &'static str,
}

impl Operation {
    /// Returns whether the operation changes something.
    #[must_use]
    pub fn mutates(&self) -> bool {
        self.recorded == Recorded::Mutation
    }

    const fn read(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            name,
            action: name,
            method: Method::Get,
            path,
            access: Access::Scoped(scope),
            resource_kind: "",
            owner: Owner::Runtime,
            recorded: Recorded::Read,
            body_bytes_max: 0,
            idempotent: true,
            stream: false,
            summary: "",
        }
    }

    const fn change(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Post,
            recorded: Recorded::Mutation,
            body_bytes_max: 64 * 1024,
            idempotent: false,
            ..Self::read(name, path, scope)
        }
    }

    /// A read that needs a body.
    const fn question(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Post,
            body_bytes_max: 256 * 1024,
            ..Self::read(name, path, scope)
        }
    }

    const fn removal(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Delete,
            body_bytes_max: 0,
            ..Self::change(name, path, scope)
        }
    }

    const fn replacement(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Put,
            idempotent: true,
            ..Self::change(name, path, scope)
        }
    }

    const fn probe(name: &'static str, path: &'static str) -> Self {
        Self {
            access: Access::Public,
            owner: Owner::Gateway,
            recorded: Recorded::Counted,
            ..Self::read(name, path, Scope::Read)
        }
    }

    /// A public operation with a body; what it changes, its handler records itself.
    const fn submission(name: &'static str, path: &'static str) -> Self {
        Self {
            method: Method::Post,
            recorded: Recorded::Read,
            body_bytes_max: 64 * 1024,
            ..Self::probe(name, path)
        }
    }

    const fn by_gateway(self) -> Self {
        Self {
            owner: Owner::Gateway,
            ..self
        }
    }

    const fn counted(self) -> Self {
        Self {
            recorded: Recorded::Counted,
            ..self
        }
    }

    const fn body(self, body_bytes_max: u64) -> Self {
        Self {
            body_bytes_max,
            ..self
        }
    }

    const fn streaming(self) -> Self {
        Self {
            stream: true,
            ..self
        }
    }

    /// A read that is as durable as a change: whoever opens it can change things afterwards.
    const fn as_change(self) -> Self {
        Self {
            recorded: Recorded::Mutation,
            idempotent: false,
            ..self
        }
    }

    const fn recorded_as(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    const fn on(self, resource_kind: &'static str, summary: &'static str) -> Self {
        Self {
            resource_kind,
            summary,
            ..self
        }
    }

    /// Returns the value of each segment in braces if `path` fits, in order.
    #[must_use]
    pub fn captures<'path>(&self, path: &'path str) -> Option<Vec<&'path str>> {
        let mut values = Vec::new();
        let mut wanted = self.path.split('/');
        let mut given = path.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(values),
                (Some(template), Some(value)) if template.starts_with('{') => {
                    if value.is_empty() {
                        return None;
                    }
                    values.push(value);
                }
                (Some(template), Some(value)) if template == value => {}
                (Some(_) | None, Some(_) | None) => return None,
            }
        }
    }

    fn fits(&self, path: &str) -> bool {
        if !self.path.contains('{') {
            return self.path == path;
        }
        self.captures(path).is_some()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method.name(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Access, Found, OPERATIONS, find, methods_of};

    #[test]
    fn unknown_paths_are_not_found() {
        for path in [
            "",
            "//",
            "/api",
            "/api/sessions/",
            "/api/sessions//stop",
            "/api/sessions/a/b/c",
            "/API/status",
            "/api/status/",
            "/internal/figures",
            "/api/status?x",
            "/metrics/..",
        ] {
            assert_eq!(find("GET", path), Found::Nothing, "{path:?}");
        }
    }

    #[test]
    fn another_method_is_told_apart() {
        for (method, path) in [
            ("POST", "/api/status"),
            ("POST", "/api/sessions/sess-1"),
            ("get", "/api/status"),
            ("GET", "/api/control/stop"),
            ("DELETE", "/api/registry/learnings/stats"),
            ("GET", "/api/enterprise/tokens/revoke"),
        ] {
            assert_eq!(find(method, path), Found::OtherMethod, "{method} {path}");
        }
        assert_eq!(methods_of("/api/sessions"), ["GET", "HEAD", "POST"]);
        assert_eq!(methods_of("/api/enterprise/tokens/revoke"), ["POST"]);
    }

    #[test]
    fn names_and_routes_are_unique() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|row| row.name).collect();
        let routes: BTreeSet<_> = OPERATIONS.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), OPERATIONS.len());
        assert_eq!(routes.len(), OPERATIONS.len());
    }

    #[test]
    fn every_operation_is_found_and_described() {
        for row in OPERATIONS {
            let path = row.path.replace("{id}", "sess-1");
            assert_eq!(find(row.method.name(), &path), Found::Operation(row));
            assert!(row.summary.ends_with('.'), "{row}");
            assert!(!row.resource_kind.is_empty(), "{row}");
            assert!(!row.mutates() || row.access != Access::Public, "{row}");
        }
    }
}
