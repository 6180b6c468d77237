//! New names for new things: drawn at random, so that nobody can guess the next one.

use config::contract::id::{ApprovalId, LearningId, ProjectId, RequestId, SessionId, TaskId};

/// The system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw an id: the system gave no randomness")]
pub struct NoRandomness;

/// Draws the id of a new session.
///
/// # Errors
/// When the system gives no randomness.
pub fn session_id() -> Result<SessionId, NoRandomness> {
    random().map(SessionId::from_random)
}

/// Draws the id of a newly registered project.
///
/// # Errors
/// When the system gives no randomness.
pub fn project_id() -> Result<ProjectId, NoRandomness> {
    random().map(ProjectId::from_random)
}

/// Draws the id of a new task.
///
/// # Errors
/// When the system gives no randomness.
pub fn task_id() -> Result<TaskId, NoRandomness> {
    random().map(TaskId::from_random)
}

/// Draws the id of a new approval.
///
/// # Errors
/// When the system gives no randomness.
pub fn approval_id() -> Result<ApprovalId, NoRandomness> {
    random().map(ApprovalId::from_random)
}

/// Draws the id of a new learning.
///
/// # Errors
/// When the system gives no randomness.
pub fn learning_id() -> Result<LearningId, NoRandomness> {
    random().map(LearningId::from_random)
}

/// Draws a request id for what the runtime does of its own accord, such as the sweep at start.
///
/// # Errors
/// When the system gives no randomness.
pub fn request_id() -> Result<RequestId, NoRandomness> {
    random().map(RequestId::from_random)
}

/// Draws a key that one session's programs show, in hexadecimal digits.
///
/// # Errors
/// When the system gives no randomness.
pub fn key() -> Result<String, NoRandomness> {
    let bytes: [u8; 32] = random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], NoRandomness> {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{request_id, session_id};

    #[test]
    fn two_ids_are_never_the_same() {
        assert_ne!(session_id(), session_id());
        assert_ne!(request_id(), request_id());
    }
}
