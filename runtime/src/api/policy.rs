//! Handler of `/api/policy/check`: what the command policy says of a text.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use config::contract::caller::Statement;
use config::contract::policy::{COMMAND_BYTES_MAX, CheckCommand, CheckedCommand, ModeAnswer};
use config::contract::session::AutonomyMode;

use super::Api;
use super::problem::{Refused, invalid};
use super::sessions::body;
use crate::operation::ruling::Course;
use crate::policy::Surroundings;

/// Judges a command without running it.
pub(super) async fn check(
    State(api): State<Api>,
    Extension(_): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Json<CheckedCommand>, Refused> {
    let asked: CheckCommand = body("policy.check", request).await?;
    if asked.command.len() > COMMAND_BYTES_MAX {
        let why = format!("command is longer than {COMMAND_BYTES_MAX} bytes");
        return Err(invalid(422, why, "check it in parts"));
    }
    let directory = asked.directory.as_deref().unwrap_or(SOME_PROJECT);
    if !directory.starts_with('/') {
        return Err(invalid(
            422,
            "directory is not an absolute path",
            "send an absolute path",
        ));
    }
    let around = Surroundings {
        directory,
        home: SOME_HOME,
    };
    let judgement = api.policy.judge(&asked.command, around);
    let answers = [
        AutonomyMode::Perpetual,
        AutonomyMode::Checkpoint,
        AutonomyMode::Supervised,
    ]
    .map(|mode| ModeAnswer {
        mode: mode.name().to_owned(),
        answer: Course::of(&judgement, mode).name().to_owned(),
    });
    Ok(Json(CheckedCommand {
        judgement,
        answers: answers.to_vec(),
        note: NOTE.to_owned(),
    }))
}

/// Some folder that is not special.
const SOME_PROJECT: &str = "/home/agent/project";
const SOME_HOME: &str = "/home/agent";
const NOTE: &str = "the filter is a seat belt: it reads commands, not what programs do; the jail \
                    bounds those";
