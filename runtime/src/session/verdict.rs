//! Judges after each iteration: done, again, or given up. Pure.

use config::contract::session::Verification;
use serde::{Deserialize, Serialize};

use super::Ending;

/// What one iteration came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iteration {
    /// How the agent's program ended.
    pub agent: AgentEnd,
    /// Files that differ from the checkpoint before.
    pub files_changed: u32,
    /// What the verify command said; pending if it was not run.
    pub verification: Verification,
}

/// How an agent's program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentEnd {
    /// By itself, with this exit code; 128 + n after signal n.
    Exited(i32),
    /// It says that it is not done, for this reason.
    GaveUp(String),
    /// The runtime ended it, for this reason.
    Cut(String),
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another iteration.
    Again,
    /// The end.
    End(Ending),
}

/// Returns whether an iteration's verification is still owed.
#[must_use]
pub fn is_unverified(iteration: &Iteration) -> bool {
    iteration.agent == AgentEnd::Exited(0) && iteration.verification == Verification::Pending
}

/// Judges by all iterations so far; the last one is the newest.
#[must_use]
pub fn judge(iterations: &[Iteration], iterations_max: u32) -> Verdict {
    let Some(last) = iterations.last() else {
        return Verdict::Again;
    };
    if last.agent == AgentEnd::Exited(0) {
        match &last.verification {
            Verification::Passed | Verification::Unverified => {
                return Verdict::End(Ending::completed());
            }
            Verification::Pending | Verification::Failed { .. } => {}
        }
    }
    let failure = failure(last);
    if let [.., before, last] = iterations
        && is_stuck(before, last)
    {
        return Verdict::End(Ending::failed(format!(
            "stuck: two iterations in a row changed nothing and {failure}"
        )));
    }
    if iterations.len() >= usize::try_from(iterations_max).unwrap_or(usize::MAX) {
        return Verdict::End(Ending::failed(format!(
            "not done after {iterations_max} iterations: in the last one {failure}"
        )));
    }
    Verdict::Again
}

fn is_stuck(before: &Iteration, last: &Iteration) -> bool {
    before.files_changed == 0 && last.files_changed == 0 && failure(before) == failure(last)
}

/// Says how an iteration failed; the same words for the same way.
#[must_use]
pub fn failure(iteration: &Iteration) -> String {
    match (&iteration.agent, &iteration.verification) {
        (AgentEnd::GaveUp(reason), _) => format!("the agent gave up: {reason}"),
        (AgentEnd::Cut(reason), _) => format!("the agent was ended: {reason}"),
        (AgentEnd::Exited(0), Verification::Failed { exit_code, .. }) => {
            format!("the verify command ended with {exit_code}")
        }
        (
            AgentEnd::Exited(0),
            Verification::Pending | Verification::Passed | Verification::Unverified,
        ) => "the work was not verified".to_owned(),
        (AgentEnd::Exited(code), _) => format!("the agent's program ended with {code}"),
    }
}

#[cfg(test)]
mod tests {
    use config::contract::session::Verification;

    use super::{AgentEnd, Iteration, Verdict, judge};
    use crate::session::Ending;

    fn iteration(agent: AgentEnd, files_changed: u32, verification: Verification) -> Iteration {
        Iteration {
            agent,
            files_changed,
            verification,
        }
    }

    fn exited(code: i32, files_changed: u32, verification: Verification) -> Iteration {
        iteration(AgentEnd::Exited(code), files_changed, verification)
    }

    fn failed(exit_code: i32, output: &str) -> Verification {
        Verification::Failed {
            exit_code,
            output: output.to_owned(),
        }
    }

    fn check(iterations: &[Iteration], expected: Verdict) {
        assert_eq!(judge(iterations, 3), expected, "{iterations:?}");
    }

    fn gives_up(iterations: &[Iteration], reason: &str) {
        check(iterations, Verdict::End(Ending::failed(reason.to_owned())));
    }

    #[test]
    fn a_failing_agent_is_never_done_whatever_the_verification_says() {
        check(&[exited(1, 1, Verification::Passed)], Verdict::Again);
        check(&[exited(137, 1, Verification::Unverified)], Verdict::Again);
        let cut = AgentEnd::Cut("too long".to_owned());
        check(&[iteration(cut, 1, Verification::Passed)], Verdict::Again);
    }

    #[test]
    fn a_failing_or_missing_verification_is_not_done() {
        check(&[exited(0, 1, failed(1, "no"))], Verdict::Again);
        check(&[exited(0, 1, Verification::Pending)], Verdict::Again);
    }

    #[test]
    fn two_idle_iterations_that_fail_alike_are_stuck() {
        gives_up(
            &[
                exited(0, 0, failed(1, "in 0.1 s")),
                exited(0, 0, failed(1, "in 0.2 s")),
            ],
            "stuck: two iterations in a row changed nothing and the verify command ended with 1",
        );
        gives_up(
            &[
                exited(7, 0, Verification::Pending),
                exited(7, 0, Verification::Pending),
            ],
            "stuck: two iterations in a row changed nothing and the agent's program ended with 7",
        );
        check(
            &[exited(0, 0, failed(1, "")), exited(0, 0, failed(2, ""))],
            Verdict::Again,
        );
        check(
            &[exited(0, 0, failed(1, "")), exited(0, 1, failed(1, ""))],
            Verdict::Again,
        );
    }

    #[test]
    fn the_last_iteration_is_the_last() {
        let again = || exited(0, 1, failed(1, ""));
        gives_up(
            &[again(), again(), again()],
            "not done after 3 iterations: in the last one the verify command ended with 1",
        );
    }

    #[test]
    fn success_completes() {
        let done = || Verdict::End(Ending::completed());
        check(&[exited(0, 1, Verification::Passed)], done());
        check(&[exited(0, 0, Verification::Unverified)], done());
        let earlier = exited(0, 1, failed(1, ""));
        check(
            &[earlier.clone(), earlier, exited(0, 1, Verification::Passed)],
            done(),
        );
    }
}
