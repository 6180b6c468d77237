//! The states of an approval and the legal moves between them: one pure table.
//!
//! Invariant: a terminal state never changes; an approval that is used was approved before, is used
//! once, before its deadline, and for exactly what was approved. No I/O, no async, no clock.

use chrono::{DateTime, Utc};
use config::contract::approval::ApprovalState;

/// What happens to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening<'a> {
    /// A person says yes.
    Approve,
    /// A person says no.
    Reject,
    /// Time passes.
    Tick,
    /// The session is about to do something of this digest.
    Consume(&'a str),
    /// The session asks for something of this digest at the same place.
    AskAgain(&'a str),
    /// The session has ended.
    SessionEnded,
}

/// What is known of an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Where it stands.
    pub state: ApprovalState,
    /// What it was asked for.
    pub digest: &'a str,
    /// When it expires.
    pub deadline: DateTime<Utc>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It stays as it is, and that is fine.
    Stay,
    /// It moves.
    To(ApprovalState),
    /// It cannot happen any more; where it stands says why.
    Refused,
}

impl Standing<'_> {
    /// Returns what becomes of the approval. What is overdue expires or lapses first, whatever happens.
    #[must_use]
    pub fn after(&self, happening: Happening<'_>, now: DateTime<Utc>) -> Step {
        use ApprovalState::{
            Approved, Cancelled, Consumed, Expired, Lapsed, Rejected, Requested, Superseded,
        };
        let overdue = now >= self.deadline;
        match self.state {
            Requested if overdue => Step::To(Expired),
            Approved if overdue => Step::To(Lapsed),
            Requested => match happening {
                Happening::Approve => Step::To(Approved),
                Happening::Reject => Step::To(Rejected),
                Happening::Tick => Step::Stay,
                Happening::Consume(_) => Step::Refused,
                Happening::AskAgain(digest) => self.same_or_superseded(digest),
                Happening::SessionEnded => Step::To(Cancelled),
            },
            Approved => match happening {
                Happening::Approve | Happening::Tick => Step::Stay,
                Happening::Reject => Step::Refused,
                Happening::Consume(digest) if digest == self.digest => Step::To(Consumed),
                Happening::Consume(_) => Step::To(Superseded),
                Happening::AskAgain(digest) => self.same_or_superseded(digest),
                Happening::SessionEnded => Step::To(Lapsed),
            },
            Rejected => match happening {
                Happening::Reject | Happening::Tick | Happening::SessionEnded => Step::Stay,
                Happening::Approve | Happening::Consume(_) | Happening::AskAgain(_) => {
                    Step::Refused
                }
            },
            Expired | Cancelled | Superseded | Consumed | Lapsed => match happening {
                Happening::Tick | Happening::SessionEnded => Step::Stay,
                Happening::Approve
                | Happening::Reject
                | Happening::Consume(_)
                | Happening::AskAgain(_) => Step::Refused,
            },
        }
    }

    fn same_or_superseded(&self, digest: &str) -> Step {
        if digest == self.digest {
            Step::Stay
        } else {
            Step::To(ApprovalState::Superseded)
        }
    }
}

/// Returns whether nothing more happens to an approval.
#[must_use]
pub const fn is_terminal(state: ApprovalState) -> bool {
    match state {
        ApprovalState::Requested | ApprovalState::Approved => false,
        ApprovalState::Rejected
        | ApprovalState::Expired
        | ApprovalState::Cancelled
        | ApprovalState::Superseded
        | ApprovalState::Consumed
        | ApprovalState::Lapsed => true,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use config::contract::approval::ApprovalState;
    use proptest::prelude::*;

    use super::{Happening, Standing, Step, is_terminal};

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
    }

    fn standing(state: ApprovalState) -> Standing<'static> {
        Standing {
            state,
            digest: "right",
            deadline: start() + TimeDelta::hours(1),
        }
    }

    const HAPPENINGS: [Happening<'static>; 8] = [
        Happening::Approve,
        Happening::Reject,
        Happening::Tick,
        Happening::Consume("right"),
        Happening::Consume("wrong"),
        Happening::AskAgain("right"),
        Happening::AskAgain("wrong"),
        Happening::SessionEnded,
    ];

    #[test]
    fn the_whole_table_is_the_documented_one() {
        // Columns in the order of [`HAPPENINGS`]; `=` stays, `!` is refused, else the new state.
        let rows = [
            (
                ApprovalState::Requested,
                "approved rejected = ! ! = superseded cancelled",
            ),
            (
                ApprovalState::Approved,
                "= ! = consumed superseded = superseded lapsed",
            ),
            (ApprovalState::Rejected, "! = = ! ! ! ! ="),
            (ApprovalState::Expired, "! ! = ! ! ! ! ="),
            (ApprovalState::Cancelled, "! ! = ! ! ! ! ="),
            (ApprovalState::Superseded, "! ! = ! ! ! ! ="),
            (ApprovalState::Consumed, "! ! = ! ! ! ! ="),
            (ApprovalState::Lapsed, "! ! = ! ! ! ! ="),
        ];
        for (state, row) in rows {
            for (happening, cell) in HAPPENINGS.into_iter().zip(row.split(' ')) {
                let found = match standing(state).after(happening, start()) {
                    Step::Stay => "=",
                    Step::Refused => "!",
                    Step::To(state) => state.name(),
                };
                assert_eq!(found, cell, "{state} {happening:?}");
            }
        }
    }

    #[test]
    fn nothing_is_decided_or_used_at_its_deadline_or_later() {
        for late in [TimeDelta::hours(1), TimeDelta::days(400)] {
            for happening in HAPPENINGS {
                let now = start() + late;
                let asked = standing(ApprovalState::Requested).after(happening, now);
                assert_eq!(asked, Step::To(ApprovalState::Expired), "{happening:?}");
                let given = standing(ApprovalState::Approved).after(happening, now);
                assert_eq!(given, Step::To(ApprovalState::Lapsed), "{happening:?}");
            }
        }
    }

    proptest! {
        /// Any order of happenings, with a clock that jumps both ways.
        #[test]
        fn used_at_most_once_and_only_after_a_yes(
            moves in proptest::collection::vec((0_usize..8, -7_200_i64..7_200), 0..40)
        ) {
            let mut approval = standing(ApprovalState::Requested);
            let (mut approved, mut used) = (false, 0);
            for (index, offset) in moves {
                let now = start() + TimeDelta::seconds(offset);
                let happening = HAPPENINGS[index];
                let before = approval.state;
                match approval.after(happening, now) {
                    Step::To(state) => {
                        prop_assert!(!is_terminal(before), "{before} moved");
                        if state == ApprovalState::Approved {
                            prop_assert_eq!(happening, Happening::Approve);
                            approved = true;
                        }
                        if state == ApprovalState::Consumed {
                            prop_assert!(approved && now < approval.deadline);
                            prop_assert_eq!(happening, Happening::Consume("right"));
                            used += 1;
                        }
                        approval.state = state;
                    }
                    Step::Stay | Step::Refused => prop_assert_eq!(approval.state, before),
                }
                prop_assert!(used <= 1);
            }
        }
    }
}
