//! Which gates ask a person, by the session's mode.
//!
//! Pure: no I/O, no async, no clock.

use config::contract::session::{AutonomyMode, Enforcement, Layer};
use config::runtime::Asks;

use crate::session::gate::Gate;

/// How much a session may do without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freedom {
    /// Its autonomy mode.
    pub mode: AutonomyMode,
    /// Whether its autonomy is staged.
    pub staged: bool,
}

/// Returns why a gate asks a person; nothing if it stands open.
#[must_use]
pub fn why_asked(freedom: Freedom, gate: Gate) -> Option<&'static str> {
    let by_mode = match freedom.mode {
        AutonomyMode::Perpetual => None,
        AutonomyMode::Checkpoint => Some("autonomy mode checkpoint asks at phase boundaries"),
        AutonomyMode::Supervised => Some("autonomy mode supervised asks at phase boundaries too"),
    };
    let by_stage = freedom
        .staged
        .then_some("staged autonomy asks before execution and before changes reach the project");
    match gate {
        Gate::FirstRun | Gate::HandOver => by_stage.or(by_mode),
        Gate::IterationEnd | Gate::Push | Gate::PullRequest | Gate::Budget => by_mode,
        Gate::Operation => Some("the operation needs a person"),
        Gate::ProtectedFiles => Some("the changes decide what the project's machines run"),
    }
}

/// Whether a session's provider asks before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// It runs what it likes.
    Never,
    /// That depends on its version, which it has not said yet.
    NotKnown,
    /// It asks before each use of a tool.
    BeforeEach,
    /// It asks before what it does not itself hold for harmless.
    AsItSees,
}

impl Asking {
    /// Returns what it comes to that a program asks in a way.
    #[must_use]
    pub const fn by(asks: Asks) -> Self {
        match asks {
            Asks::Hook => Self::BeforeEach,
            Asks::AppServer | Asks::Acp => Self::AsItSees,
        }
    }
}

/// Lists what the gates enforce in a session.
#[must_use]
pub fn enforcement(
    freedom: Freedom,
    provider: &str,
    blocks_more: bool,
    asking: Asking,
) -> Vec<Enforcement> {
    let told = if blocks_more {
        "the blocked commands"
    } else {
        "the default entries"
    };
    let (layer, reason) = match asking {
        Asking::Never => (
            Layer::Advisory,
            format!(
                "provider {provider} runs commands without asking first; the agent is told {told}"
            ),
        ),
        Asking::NotKnown => (Layer::Advisory, not_known(provider)),
        Asking::BeforeEach | Asking::AsItSees => (Layer::GateRequestBound, bound(provider, asking)),
    };
    let mut rows = vec![Enforcement {
        control: BLOCKED_COMMANDS.to_owned(),
        layer,
        reason: Some(reason),
    }];
    if freedom.staged || freedom.mode != AutonomyMode::Perpetual {
        rows.push(Enforcement {
            control: "approval at phase boundaries".to_owned(),
            layer: Layer::Gate,
            reason: None,
        });
    }
    if freedom.mode == AutonomyMode::Supervised {
        let (layer, reason) = match asking {
            Asking::Never => (
                Layer::Unavailable,
                format!(
                    "provider {provider} cannot be asked before each operation; phase boundaries are \
                     asked instead"
                ),
            ),
            Asking::NotKnown => (Layer::Unavailable, not_known(provider)),
            Asking::BeforeEach | Asking::AsItSees => {
                (Layer::GateRequestBound, bound(provider, asking))
            }
        };
        rows.push(Enforcement {
            control: EACH_OPERATION.to_owned(),
            layer,
            reason: Some(reason),
        });
    }
    rows
}

fn not_known(provider: &str) -> String {
    format!(
        "whether provider {provider} asks first depends on its version, which is looked at before it runs"
    )
}

fn bound(provider: &str, asking: Asking) -> String {
    let what = if asking == Asking::AsItSees {
        "what it does not itself hold for harmless"
    } else {
        "each use of a tool"
    };
    format!("provider {provider} asks before {what} and is answered; what it then does is its own")
}

/// The control that approvals of single operations are.
pub const EACH_OPERATION: &str = "approval of each operation";

/// The control that the command policy is.
pub const BLOCKED_COMMANDS: &str = "blocked commands";

#[cfg(test)]
mod tests {
    use config::contract::session::AutonomyMode;

    use super::{Freedom, why_asked};
    use crate::session::gate::Gate;

    #[test]
    fn each_mode_asks_at_its_gates() {
        let gates = [
            Gate::FirstRun,
            Gate::IterationEnd,
            Gate::HandOver,
            Gate::Push,
            Gate::PullRequest,
            Gate::ProtectedFiles,
            Gate::Operation,
            Gate::Budget,
        ];
        let check = |mode, staged, expected: &str| {
            let asked = gates.map(|gate| match why_asked(Freedom { mode, staged }, gate) {
                Some(_) => 'x',
                None => '.',
            });
            assert_eq!(
                asked.iter().collect::<String>(),
                expected,
                "{mode} {staged}"
            );
        };
        check(AutonomyMode::Perpetual, false, ".....xx.");
        check(AutonomyMode::Perpetual, true, "x.x..xx.");
        check(AutonomyMode::Checkpoint, false, "xxxxxxxx");
        check(AutonomyMode::Checkpoint, true, "xxxxxxxx");
        check(AutonomyMode::Supervised, false, "xxxxxxxx");
    }
}
