//! Looking operations up in the table: by method and path, by path, by name.

use super::{Method, OPERATIONS, Operation};

/// What the table says about a method and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This operation.
    Operation(&'static Operation),
    /// The path is known, but not with this method.
    OtherMethod,
    /// No operation has this path.
    Nothing,
}

/// Looks up a method (`HEAD` counts as `GET`) and a path without its query.
#[must_use]
pub fn find(method: &str, path: &str) -> Found {
    let method = if method == "HEAD" { "GET" } else { method };
    let mut other_method = false;
    for operation in rows_of(path) {
        if operation.method.name() == method {
            return Found::Operation(operation);
        }
        other_method = true;
    }
    if other_method {
        Found::OtherMethod
    } else {
        Found::Nothing
    }
}

/// Returns the methods that a path has, as for the `Allow` header.
#[must_use]
pub fn methods_of(path: &str) -> Vec<&'static str> {
    let mut methods = Vec::new();
    for operation in rows_of(path) {
        methods.push(operation.method.name());
        if operation.method == Method::Get {
            methods.push("HEAD");
        }
    }
    methods
}

/// Returns the rows of a path. A path that stands in the table as it is has those rows alone: no segment
/// of it is also the value of another row, for the runtime's router sees it so.
fn rows_of(path: &str) -> impl Iterator<Item = &'static Operation> {
    let is_literal = OPERATIONS.iter().any(|row| row.path == path);
    OPERATIONS.iter().filter(move |row| {
        if is_literal {
            row.path == path
        } else {
            row.fits(path)
        }
    })
}

/// Returns the operation of a name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}
