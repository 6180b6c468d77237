//! What is asked for when a long-lived sandbox is started. Pure.
//!
//! Invariant: a command that the policy denies is refused before anything is made.

use config::contract::id::SessionId;
use config::contract::policy::Verdict;
use config::contract::sandbox::{COMMAND_BYTES_MAX, NAME_DEFAULT, StartSandbox, is_name};
use sha2::{Digest, Sha256};

use super::StandingError;
use crate::policy::{Policy, Surroundings};

/// What is asked for, judged.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) command: Option<String>,
    pub(super) allowed_paths: Option<Vec<String>>,
}

impl Wanted {
    pub(super) fn judge(request: StartSandbox, policy: &Policy) -> Result<Self, StandingError> {
        let invalid = |field, why: &str| {
            let why = why.to_owned();
            Err(StandingError::Invalid { field, why })
        };
        let name = request.name.unwrap_or_else(|| NAME_DEFAULT.to_owned());
        if !is_name(&name) {
            return invalid("name", "is not 1 to 40 small letters, digits and dashes");
        }
        if !request.project.starts_with('/') || request.project.contains('\0') {
            return invalid("project", "is not an absolute path");
        }
        if let Some(command) = &request.command {
            if command.trim().is_empty() || command.len() > COMMAND_BYTES_MAX {
                return invalid("command", "is empty or too long");
            }
            if command.contains('\0') {
                return invalid("command", "holds a NUL character");
            }
            let around = Surroundings {
                directory: &request.project,
                home: jail::sandbox::HOME,
            };
            if policy.judge(command, around).verdict == Verdict::Deny {
                return invalid("command", "is one of the blocked commands");
            }
        }
        Ok(Self {
            project: request.project,
            name,
            command: request.command,
            allowed_paths: request.allowed_paths,
        })
    }
}

/// Returns the id of a name on a project: the same each time.
pub(super) fn id_of(project: &str, name: &str) -> SessionId {
    // A path holds no NUL, so no two pairs are the same text.
    let digest = Sha256::digest(format!("sandbox\0{project}\0{name}"));
    let mut random = [0; SessionId::RANDOM_BYTES];
    for (place, byte) in random.iter_mut().zip(digest) {
        *place = byte;
    }
    SessionId::from_random(random)
}

#[cfg(test)]
mod tests;
