//! Judges whether a caller may: pure, without I/O, clock or state.

use config::contract::operation::{Access, Operation};
use config::contract::scope::{Scope, Scopes};

/// The judgement; being allowed carries the scope that was used.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Allowed, by this scope; none for a public operation.
    Allowed(Option<Scope>),
    /// Refused: this scope is missing.
    Missing(Scope),
}

/// Judges a caller's scopes against what an operation demands.
pub(crate) fn judge(operation: &Operation, scopes: Scopes) -> Judgement {
    match operation.access {
        Access::Public => Judgement::Allowed(None),
        Access::Scoped(needed) if scopes.allow(needed) => Judgement::Allowed(Some(needed)),
        Access::Scoped(needed) => Judgement::Missing(needed),
    }
}

#[cfg(test)]
mod tests {
    use config::contract::operation::{Access, OPERATIONS};
    use config::contract::scope::{Role, Scope, Scopes};

    use super::{Judgement, judge};

    #[test]
    fn nobody_passes_but_by_public_operations() {
        for operation in OPERATIONS {
            let judgement = judge(operation, Scopes::NONE);
            match operation.access {
                Access::Public => assert_eq!(judgement, Judgement::Allowed(None)),
                Access::Scoped(needed) => assert_eq!(judgement, Judgement::Missing(needed)),
            }
        }
    }

    #[test]
    fn a_viewer_reads_and_nothing_else() {
        for operation in OPERATIONS {
            let allowed = matches!(
                judge(operation, Role::Viewer.scopes()),
                Judgement::Allowed(_)
            );
            let expected = matches!(
                operation.access,
                Access::Public | Access::Scoped(Scope::Read)
            );
            assert_eq!(allowed, expected, "{operation}");
        }
    }
}
