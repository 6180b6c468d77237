//! Which gates ask a person, by the session's mode.
//!
//! Pure: no I/O, no async, no clock.

use config::contract::session::{AutonomyMode, Enforcement, Layer};

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
        Gate::IterationEnd | Gate::Push | Gate::PullRequest => by_mode,
        Gate::ProtectedFiles => Some("the changes decide what the project's machines run"),
    }
}

/// Lists what the gates enforce in a session whose provider runs commands without asking first.
#[must_use]
pub fn enforcement(freedom: Freedom, provider: &str, blocks_more: bool) -> Vec<Enforcement> {
    let told = if blocks_more {
        "the blocked commands"
    } else {
        "the default entries"
    };
    let mut rows = vec![Enforcement {
        control: BLOCKED_COMMANDS.to_owned(),
        layer: Layer::Advisory,
        reason: Some(format!(
            "provider {provider} runs commands without asking first; the agent is told {told}"
        )),
    }];
    if freedom.staged || freedom.mode != AutonomyMode::Perpetual {
        rows.push(Enforcement {
            control: "approval at phase boundaries".to_owned(),
            layer: Layer::Gate,
            reason: None,
        });
    }
    if freedom.mode == AutonomyMode::Supervised {
        rows.push(Enforcement {
            control: "approval of each operation".to_owned(),
            layer: Layer::Unavailable,
            reason: Some(format!(
                "provider {provider} cannot be asked before each operation; phase boundaries are \
                 asked instead"
            )),
        });
    }
    rows
}

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
        check(AutonomyMode::Perpetual, false, ".....x");
        check(AutonomyMode::Perpetual, true, "x.x..x");
        check(AutonomyMode::Checkpoint, false, "xxxxxx");
        check(AutonomyMode::Checkpoint, true, "xxxxxx");
        check(AutonomyMode::Supervised, false, "xxxxxx");
    }
}
