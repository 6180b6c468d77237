//! The figures behind the nine families of `/metrics` that the runtime knows. Pure.

use config::contract::figures::{Figures, TaskCounts};
use config::contract::registry::TaskStatus;
use config::contract::session::SessionState;

use crate::store::{BoardCount, status_of};

/// What the figures need to know of one live session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveFigures {
    /// Where it stands.
    pub state: SessionState,
    /// Its iteration.
    pub iteration: u32,
    /// Most iterations.
    pub iterations_max: u32,
    /// Whether its agent's program runs.
    pub at_work: bool,
    /// Seconds since it was created.
    pub uptime_seconds: f64,
}

/// Returns the figures over the live sessions (newest first), the tasks of the board, the cost of all
/// kept sessions as far as it is known, and the number of events ever recorded.
#[must_use]
pub fn figures(
    live: &[LiveFigures],
    board: &[BoardCount],
    cost_usd: f64,
    events_total: u64,
) -> Figures {
    let newest = live.first();
    Figures {
        session_status: status_number(live.iter().map(|session| session.state)),
        iteration_current: newest.map_or(0, |session| u64::from(session.iteration)),
        iteration_max: newest.map_or(0, |session| u64::from(session.iterations_max)),
        tasks: tasks(live, board),
        agents_active: live.iter().filter(|session| session.at_work).count() as u64,
        agents_total: live.len() as u64,
        cost_usd,
        events_total,
        uptime_seconds: newest.map_or(0.0, |session| session.uptime_seconds),
    }
}

/// Returns 1 if any session runs, else 2 if any is paused or waits for a person, else 0.
#[must_use]
pub fn status_number(states: impl Iterator<Item = SessionState>) -> u8 {
    let mut number = 0;
    for state in states {
        match state {
            SessionState::Preparing | SessionState::Running | SessionState::Verifying => return 1,
            SessionState::Paused | SessionState::WaitingApproval => number = 2,
            SessionState::Created
            | SessionState::Completed
            | SessionState::Failed
            | SessionState::Stopped
            | SessionState::Expired => {}
        }
    }
    number
}

/// Counts the tasks of the board, and the task of each live session: its PRD.
fn tasks(live: &[LiveFigures], board: &[BoardCount]) -> TaskCounts {
    let sessions = live.iter().map(|session| (status_of(session.state), 1));
    let board = board.iter().map(|tasks| (tasks.status, tasks.count));
    let mut counts = TaskCounts::default();
    for (status, count) in sessions.chain(board) {
        let counted = match status {
            TaskStatus::Pending => &mut counts.pending,
            TaskStatus::InProgress => &mut counts.in_progress,
            TaskStatus::Completed => &mut counts.completed,
            TaskStatus::Failed => &mut counts.failed,
        };
        *counted = counted.saturating_add(count);
    }
    counts
}

#[cfg(test)]
mod tests {
    use config::contract::figures::{Figures, TaskCounts};
    use config::contract::registry::TaskStatus;
    use config::contract::session::SessionState;

    use super::{BoardCount, LiveFigures, figures, status_number};

    fn live(state: SessionState, iteration: u32, at_work: bool) -> LiveFigures {
        LiveFigures {
            state,
            iteration,
            iterations_max: 10 + iteration,
            at_work,
            uptime_seconds: f64::from(iteration) * 100.0,
        }
    }

    #[test]
    fn without_a_live_session_all_but_the_counters_is_zero() {
        let expected = Figures {
            cost_usd: 1.5,
            events_total: 42,
            ..Figures::default()
        };
        assert_eq!(figures(&[], &[], 1.5, 42), expected);
    }

    #[test]
    fn three_sessions_give_sums_and_the_newest_one_s_iteration() {
        let sessions = [
            live(SessionState::Created, 0, false),
            live(SessionState::Running, 3, true),
            live(SessionState::Verifying, 7, true),
        ];
        let expected = Figures {
            session_status: 1,
            iteration_current: 0,
            iteration_max: 10,
            tasks: TaskCounts {
                pending: 1,
                in_progress: 2,
                ..TaskCounts::default()
            },
            agents_active: 2,
            agents_total: 3,
            cost_usd: 0.0,
            events_total: 7,
            uptime_seconds: 0.0,
        };
        assert_eq!(figures(&sessions, &[], 0.0, 7), expected);
        let newest = figures(&sessions[1..], &[], 0.0, 7);
        assert_eq!((newest.iteration_current, newest.iteration_max), (3, 13));
        let of = |project: Option<&str>, status, count| BoardCount {
            project: project.map(str::to_owned),
            status,
            count,
        };
        let board = [
            of(None, TaskStatus::Pending, 4),
            of(Some("/a"), TaskStatus::Pending, 2),
            of(Some("/a"), TaskStatus::Completed, 3),
            of(None, TaskStatus::Failed, 1),
        ];
        let expected = TaskCounts {
            pending: 7,
            in_progress: 2,
            completed: 3,
            failed: 1,
        };
        assert_eq!(figures(&sessions, &board, 0.0, 7).tasks, expected);
    }

    #[test]
    fn running_wins_over_paused_and_paused_over_nothing() {
        use SessionState::{Created, Paused, Preparing, Running, WaitingApproval};
        let check = |states: &[SessionState], expected: u8| {
            assert_eq!(
                status_number(states.iter().copied()),
                expected,
                "{states:?}"
            );
        };
        check(&[], 0);
        check(&[Created], 0);
        check(&[Paused], 2);
        check(&[WaitingApproval, Created], 2);
        check(&[Paused, Running], 1);
        check(&[Preparing], 1);
    }
}
