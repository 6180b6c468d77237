//! Settings of autonomy and approvals: when people are asked, who may answer, and how long it waits.

use std::time::Duration;

use super::webhook::{self, Webhook};
use crate::contract::session::AutonomyMode;
use crate::load::{Key, Reader};

/// How much agents may do without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autonomy {
    /// Whether people are asked before the first run and before each hand-over.
    pub staged: bool,
    /// When else people are asked.
    pub mode: AutonomyMode,
}

/// How approvals are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// Whether whoever started a session may not approve for it.
    pub four_eyes: bool,
    /// How long an approval waits, and how long one that was given can be used.
    pub deadline: Duration,
    /// The same for a single operation, while which the agent's program waits.
    pub operation_deadline: Duration,
    /// Who is told that something waits, if anybody is.
    pub webhook: Option<Webhook>,
}

impl Autonomy {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let staged = Key::new("autonomy.staged").variables(&["LOKI_STAGED_AUTONOMY"]);
        let mode = Key::new("autonomy.mode").variables(&["LOKI_AUTONOMY_MODE"]);
        Self {
            staged: reader.value(&staged, false),
            mode: reader.value(&mode, AutonomyMode::default()),
        }
    }
}

impl Approvals {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let approvals = Self {
            four_eyes: reader.value(&Key::new("approvals.four_eyes"), false),
            deadline: reader.value(&Key::new("approvals.deadline"), DEADLINE),
            operation_deadline: reader.value(
                &Key::new("approvals.operation_deadline"),
                OPERATION_DEADLINE,
            ),
            webhook: webhook::webhook(reader),
        };
        for (key, deadline, most, days) in [
            ("approvals.deadline", approvals.deadline, DEADLINE_MAX, 30),
            (
                "approvals.operation_deadline",
                approvals.operation_deadline,
                OPERATION_DEADLINE_MAX,
                7,
            ),
        ] {
            if deadline.is_zero() || deadline > most {
                reader.mistake(key, format!("must be more than 0 and at most {days} days"));
            }
        }
        approvals
    }
}

const DEADLINE: Duration = Duration::from_secs(24 * 3_600);
const DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
const OPERATION_DEADLINE: Duration = Duration::from_secs(3_600);
/// The timers of vendors' programs reach a few weeks.
const OPERATION_DEADLINE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
