//! The states of a session and the legal moves between them: one pure table.
//!
//! Invariant: a [`Move`] exists only if the table allows it, and the store changes a session's state
//! by nothing else. No I/O, no async, no clock.

use config::contract::session::SessionState;

/// A legal move; also the staying in a state that is not final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    from: SessionState,
    to: SessionState,
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot move a session from {from} to {to}: no such move")]
pub struct IllegalMove {
    /// Where the session stands.
    pub from: SessionState,
    /// Where it cannot go.
    pub to: SessionState,
}

impl Move {
    /// Returns the move if the table has it.
    ///
    /// # Errors
    /// When it has not.
    pub fn new(from: SessionState, to: SessionState) -> Result<Self, IllegalMove> {
        if leads_to(from).contains(&to) {
            Ok(Self { from, to })
        } else {
            Err(IllegalMove { from, to })
        }
    }

    /// Returns the staying in a state, for facts that come without a move.
    ///
    /// # Errors
    /// When the state is final: nothing happens after it.
    pub fn stay(state: SessionState) -> Result<Self, IllegalMove> {
        if state.is_final() {
            return Err(IllegalMove {
                from: state,
                to: state,
            });
        }
        Ok(Self {
            from: state,
            to: state,
        })
    }

    /// Returns where the session stood.
    #[must_use]
    pub const fn from(self) -> SessionState {
        self.from
    }

    /// Returns where the session stands now.
    #[must_use]
    pub const fn to(self) -> SessionState {
        self.to
    }
}

/// Returns where a session can go from `state`.
#[must_use]
pub const fn leads_to(state: SessionState) -> &'static [SessionState] {
    use SessionState::{
        Completed, Expired, Failed, Paused, Preparing, Running, Stopped, Verifying, WaitingApproval,
    };
    match state {
        SessionState::Created => &[Preparing, Failed, Stopped, Expired],
        // The gate before the first run waits between the clone and the agent.
        Preparing => &[Running, WaitingApproval, Failed, Stopped, Expired],
        Running => &[Paused, WaitingApproval, Verifying, Failed, Stopped, Expired],
        Paused => &[
            Running,
            WaitingApproval,
            Verifying,
            Failed,
            Stopped,
            Expired,
        ],
        // An approval that expires pauses; it never continues.
        WaitingApproval => &[Running, Paused, Verifying, Failed, Stopped, Expired],
        // The gate before the hand-over waits here; a failed verification runs the agent again.
        Verifying => &[
            Running,
            Paused,
            WaitingApproval,
            Completed,
            Failed,
            Stopped,
            Expired,
        ],
        Completed | Failed | Stopped | Expired => &[],
    }
}

#[cfg(test)]
mod tests {
    use config::contract::session::SessionState;
    use proptest::prelude::*;

    use super::{IllegalMove, Move, leads_to};

    /// Rows: from; columns: to; both in the order of [`SessionState::EVERY`].
    const TABLE: [&str; 10] = [
        // c p r p w v c f s e
        ". x . . . . . x x x", // created
        ". . x . x . . x x x", // preparing
        ". . . x x x . x x x", // running
        ". . x . x x . x x x", // paused
        ". . x x . x . x x x", // waiting_approval
        ". . x x x . x x x x", // verifying
        ". . . . . . . . . .", // completed
        ". . . . . . . . . .", // failed
        ". . . . . . . . . .", // stopped
        ". . . . . . . . . .", // expired
    ];

    #[test]
    fn the_whole_table_is_the_documented_one() {
        for (from, row) in SessionState::EVERY.into_iter().zip(TABLE) {
            for (to, cell) in SessionState::EVERY.into_iter().zip(row.split(' ')) {
                let expected = match cell {
                    "x" => Ok((from, to)),
                    _ => Err(IllegalMove { from, to }),
                };
                let found = Move::new(from, to).map(|step| (step.from(), step.to()));
                assert_eq!(found, expected, "{from} to {to}");
            }
        }
    }

    #[test]
    fn nothing_happens_after_a_final_state() {
        for state in SessionState::EVERY {
            assert_eq!(Move::stay(state).is_err(), state.is_final(), "{state}");
            assert_eq!(leads_to(state).is_empty(), state.is_final(), "{state}");
        }
    }

    proptest! {
        #[test]
        fn any_walk_ends_only_in_a_final_state(choices in proptest::collection::vec(0_usize..10, 0..64)) {
            let mut state = SessionState::Created;
            for choice in choices {
                let wanted = SessionState::EVERY[choice];
                match Move::new(state, wanted) {
                    Ok(step) => {
                        prop_assert!(!state.is_final());
                        prop_assert_eq!(step.from(), state);
                        state = step.to();
                    }
                    Err(_) => prop_assert!(!leads_to(state).contains(&wanted)),
                }
                prop_assert!(state != SessionState::Created || !state.is_final());
            }
            // Whatever happened, an unfinished session can always be failed and stopped.
            if !state.is_final() {
                prop_assert!(Move::new(state, SessionState::Failed).is_ok());
                prop_assert!(Move::new(state, SessionState::Stopped).is_ok());
            }
        }
    }
}
