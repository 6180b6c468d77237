//! Tells which settings are in use, and has them read anew.

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::state::State;

/// Answers which settings are in use and what became of the last attempt to replace them.
pub(super) fn status(state: &State) -> Result<Answer, Refusal> {
    Answer::json(200, &state.reloads.status(&state.current.load()))
}

/// Has the settings read anew, and answers which are in use then.
pub(super) async fn reload(state: &State) -> Result<Answer, Refusal> {
    let status = state.reloads.ask().await.ok_or(Refusal::Draining)?;
    let failures = status
        .last_attempt
        .iter()
        .flat_map(|attempt| attempt.failures.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join("; ");
    if failures.is_empty() {
        Answer::json(200, &status)
    } else {
        Err(Refusal::SettingsRejected(failures))
    }
}
