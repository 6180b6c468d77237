//! Looks up what a request asks for in the operation table.

use config::contract::operation::{self, Found, Operation};

use crate::refusal::Refusal;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// This operation.
    Operation(&'static Operation),
    /// A known path with a method that it does not have.
    OtherMethod,
    /// Nothing that exists.
    Nothing,
}

impl Route {
    /// Looks up a method and a path without its query.
    pub(crate) fn find(method: &str, path: &str) -> Self {
        match operation::find(method, path) {
            Found::Operation(operation) => Self::Operation(operation),
            Found::OtherMethod => Self::OtherMethod,
            Found::Nothing => Self::Nothing,
        }
    }

    /// Returns the operation, or the refusal that a caller with a valid credential gets.
    pub(crate) fn operation(self, path: &str) -> Result<&'static Operation, Refusal> {
        match self {
            Self::Operation(operation) => Ok(operation),
            Self::OtherMethod => Err(Refusal::OtherMethod {
                allowed: operation::methods_of(path),
            }),
            Self::Nothing => Err(Refusal::UnknownPath),
        }
    }
}
