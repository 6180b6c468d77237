//! Refusals and failures as callers see them: problem bodies (RFC 9457) with the request's id.
//!
//! Invariant: inside text goes to the log; a caller sees only what is made here.

use axum::Extension;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::contract::caller::Statement;
use config::contract::id::RequestId;
use config::contract::problem::{MEDIA_TYPE, Problem};
use std::sync::Arc;

use crate::approval::DecideError;
use crate::memory::MemoryError;
use crate::registry::RegistryError;
use crate::session::StartError;
use crate::session::acceptance::Unacceptable;
use crate::session::gate::GateError;
use crate::session::halt::HaltError;
use crate::session::retention::RemoveError;
use crate::session::stop::StopError;
use crate::store::StoreError;

/// A request that was not carried out. Becomes a body in [`finish`].
#[derive(Clone, Debug)]
pub struct Refused(Box<Problem>);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = status(self.0.status).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives a refusal its body, now that the request's id is known.
#[must_use]
pub fn finish(mut response: Response, request_id: Option<&RequestId>) -> Response {
    let Some(Refused(mut problem)) = response.extensions_mut().remove::<Refused>() else {
        return response;
    };
    problem.request_id = request_id.map(ToString::to_string);
    let media_type = HeaderValue::from_static(MEDIA_TYPE);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut finished = (
        status(problem.status),
        [(header::CONTENT_TYPE, media_type)],
        body,
    )
        .into_response();
    if problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
        let after = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        finished.headers_mut().insert(header::RETRY_AFTER, after);
    }
    finished
}

/// Answers for a path that no operation has.
pub(super) async fn nothing_here(Extension(_): Extension<Arc<Statement>>) -> Refused {
    Problem::new("not-found", "There is nothing here", 404).into()
}

/// Returns the refusal of a session that is not there, or that the caller may not see.
pub(super) fn no_session(id: &str) -> Refused {
    let shown: String = id.chars().take(64).collect();
    Problem::new("not-found", "There is no such session", 404)
        .detail(format!("there is no session {shown:?}"))
        .fix("list the sessions with GET /api/sessions or loki status")
        .into()
}

/// Returns the refusal of a member that cannot be what it is.
pub(super) fn invalid(status: u16, detail: impl Into<String>, fix: &str) -> Refused {
    Problem::new(
        "invalid-request",
        "The request cannot be understood",
        status,
    )
    .detail(detail)
    .fix(fix)
    .into()
}

/// Logs what went wrong inside and tells the caller no more than that.
pub(super) fn internal(error: &dyn std::error::Error) -> Refused {
    tracing::error!(error = %chain(error), "request failed");
    Problem::new("internal", "The runtime could not do it", 500)
        .detail("an error inside the runtime; its log has the details under this request id")
        .into()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        internal(&error)
    }
}

impl From<StartError> for Refused {
    fn from(error: StartError) -> Self {
        let detail = error.to_string();
        match error {
            StartError::Unacceptable(why) => unacceptable(&why),
            StartError::Project(_) => {
                Problem::new("project-refused", "The project cannot be used", 422)
                    .detail(format!("project: {detail}"))
                    .into()
            }
            StartError::OtherRequest(_) => {
                Problem::new("key-used", "The key was used for something else", 422)
                    .detail(detail)
                    .fix("send another Idempotency-Key, or the same request")
                    .into()
            }
            StartError::OtherProject(_) => {
                Problem::new("other-project", "The credential is for other projects", 403)
                    .detail(detail)
                    .fix("use a credential that is bound to this project, or to none")
                    .into()
            }
            StartError::NotAdmitted(_) => {
                Problem::new("not-enforceable", "This host cannot enforce it", 503)
                    .detail(detail)
                    .fix("run loki doctor on the runtime's host")
                    .into()
            }
            StartError::Full(_) => Problem::new("queue-full", "No place is free", 503)
                .detail(detail)
                .fix(
                    "try again later, stop a session, or let the operator raise sessions.queue_max",
                )
                .into(),
            StartError::Alone => Problem::new("nobody-to-approve", "Nobody could approve", 409)
                .detail(detail)
                .fix("give somebody else a token with the scope approve, or let the operator set approvals.four_eyes = false")
                .into(),
            StartError::Closed => {
                Problem::new("shutting-down", "The runtime is shutting down", 503)
                    .detail(detail)
                    .fix("try again when it is back")
                    .into()
            }
            StartError::NoRandomness(_) | StartError::Store(_) | StartError::Interrupted => {
                internal(&error)
            }
        }
    }
}

fn unacceptable(why: &Unacceptable) -> Refused {
    let detail = why.to_string();
    match why {
        Unacceptable::Invalid { fix, .. } => {
            Problem::new("invalid-request", "The request cannot be carried out", 422)
                .detail(detail)
                .fix(fix)
        }
        Unacceptable::Loosens { field, variable } => {
            Problem::new("loosening-refused", "A caller may only tighten", 422)
                .detail(detail)
                .fix(format!(
                    "leave {field} out: unset {variable}, or let the operator change runtime.toml"
                ))
        }
        Unacceptable::NotEnforced { field, variable } => {
            Problem::new("not-enforced", "This version does not enforce it", 422)
                .detail(detail)
                .fix(format!("leave {field} out: unset {variable}"))
        }
        Unacceptable::Paths(_) => {
            Problem::new("invalid-request", "The request cannot be carried out", 422)
                .detail(detail)
                .fix("name files or folders that exist in the project, within the operator's list")
        }
        Unacceptable::UnknownProvider(unknown) => {
            Problem::new("unknown-provider", "The provider is not configured", 422)
                .detail(detail)
                .fix(unknown.fix())
        }
    }
    .into()
}

impl From<StopError> for Refused {
    fn from(error: StopError) -> Self {
        let detail = error.to_string();
        match error {
            StopError::Unknown(id) => no_session(&id),
            StopError::NoneLive => Problem::new("no-live-session", "No session is live", 409)
                .detail(detail)
                .fix("there is nothing to stop; list sessions with loki status")
                .into(),
            StopError::SeveralLive(ids) => {
                let mut problem =
                    Problem::new("ambiguous-session", "Several sessions are live", 409)
                        .detail(detail)
                        .fix("name one: loki stop ID, or POST /api/sessions/{id}/stop");
                problem.candidates = ids.iter().map(ToString::to_string).collect();
                problem.into()
            }
            StopError::StillEnding(_) => Problem::new("still-ending", "It is still ending", 503)
                .detail(detail)
                .fix("ask again: stopping is under way")
                .into(),
            StopError::NotRecorded(_) => {
                Problem::new("not-recorded", "The end could not be recorded", 503)
                    .detail(detail)
                    .fix("look at the runtime's log and at the disk; a restart records the end")
                    .into()
            }
            StopError::Store(error) => internal(&error),
        }
    }
}

impl From<HaltError> for Refused {
    fn from(error: HaltError) -> Self {
        let detail = error.to_string();
        match error {
            HaltError::Unknown(id) => no_session(&id),
            HaltError::NoCandidate(_) => Problem::new("no-live-session", "No session fits", 409)
                .detail(detail)
                .fix("list sessions with loki status")
                .into(),
            HaltError::Several { candidates, .. } => {
                let mut problem = Problem::new("ambiguous-session", "Several sessions fit", 409)
                    .detail(detail)
                    .fix("name one: loki pause ID or loki resume ID");
                problem.candidates = candidates.iter().map(ToString::to_string).collect();
                problem.into()
            }
            HaltError::WrongState { .. } => {
                Problem::new("wrong-state", "The session's state does not allow it", 409)
                    .detail(detail)
                    .fix("look at it with loki status")
                    .into()
            }
            HaltError::Later { .. } => Problem::new("later", "It takes effect later", 503)
                .detail(detail)
                .fix("nothing more has to be asked; look at it with loki status")
                .into(),
            HaltError::Gate(error) => error.into(),
            HaltError::Store(error) => internal(&error),
        }
    }
}

impl From<RemoveError> for Refused {
    fn from(error: RemoveError) -> Self {
        let detail = error.to_string();
        match error {
            RemoveError::NotEnded(_) => Problem::new("wrong-state", "It has not ended", 409)
                .detail(detail)
                .fix("stop it first: loki stop ID")
                .into(),
            RemoveError::Folder { .. } | RemoveError::Store(_) => internal(&error),
        }
    }
}

impl From<GateError> for Refused {
    fn from(error: GateError) -> Self {
        let detail = error.to_string();
        match error {
            GateError::MayNot(_) => Problem::new("may-not-approve", "You may not approve it", 403)
                .detail(detail)
                .fix("let somebody else approve it")
                .into(),
            GateError::NotSaid(_) => Problem::new(
                "approval-not-said",
                "Say what you looked at",
                409,
            )
            .detail(detail)
            .fix("send {\"approval\": ID, \"digest\": DIGEST} as GET /api/approvals lists them")
            .into(),
            GateError::NothingWaits(_) => {
                Problem::new("nothing-waits", "Nothing waits for approval", 409)
                    .detail(detail)
                    .fix("look at it with loki status")
                    .into()
            }
            GateError::Broken(_) => internal(&error),
        }
    }
}

impl From<DecideError> for Refused {
    fn from(error: DecideError) -> Self {
        let detail = error.to_string();
        match error {
            DecideError::Unknown(_) => Problem::new("not-found", "There is no such approval", 404)
                .detail(detail)
                .fix("list what waits with GET /api/approvals or loki approvals list")
                .into(),
            DecideError::Decided { .. } => {
                Problem::new("already-decided", "It cannot be decided any more", 409)
                    .detail(detail)
                    .fix("look at it with loki approvals show ID")
                    .into()
            }
            DecideError::OtherDigest { .. } => {
                Problem::new("other-action", "It is about another action", 409)
                    .detail(detail)
                    .fix("look at it again, then decide")
                    .into()
            }
            DecideError::FourEyes(_) => {
                Problem::new("may-not-approve", "You may not approve it", 403)
                    .detail(detail)
                    .fix("let somebody else approve it (approvals.four_eyes is on)")
                    .into()
            }
            DecideError::NothingWaits(_) => {
                Problem::new("nothing-waits", "Nothing waits for approval", 409)
                    .detail(detail)
                    .fix("look at it with loki status")
                    .into()
            }
            DecideError::Store(error) => internal(&error),
        }
    }
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryError::Unknown(_) => Problem::new("not-found", "There is no such project", 404)
                .detail(detail)
                .fix("list the projects with GET /api/registry/projects or loki projects list")
                .into(),
            RegistryError::Folder(_) => {
                Problem::new("project-refused", "The project cannot be used", 422)
                    .detail(format!("path: {detail}"))
                    .into()
            }
            RegistryError::OtherProject(_) => {
                Problem::new("other-project", "The credential is for other projects", 403)
                    .detail(detail)
                    .fix("use a credential that is bound to this project, or to none")
                    .into()
            }
            RegistryError::Name { .. } => {
                invalid(422, detail, "choose a short plain text, or leave it out")
            }
            RegistryError::AliasTaken(_) => Problem::new("alias-taken", "The alias is taken", 409)
                .detail(detail)
                .fix("choose another alias, or remove the other project")
                .into(),
            RegistryError::Full => Problem::new("registry-full", "The registry is full", 422)
                .detail(detail)
                .fix("remove projects that are gone")
                .into(),
            RegistryError::Store(_)
            | RegistryError::NoRandomness(_)
            | RegistryError::Interrupted => internal(&error),
        }
    }
}

impl From<MemoryError> for Refused {
    fn from(error: MemoryError) -> Self {
        let detail = error.to_string();
        match error {
            MemoryError::Registry(error) => error.into(),
            MemoryError::Unknown(_) => Problem::new("not-found", "There is no such learning", 404)
                .detail(detail)
                .fix("list them with GET /api/registry/learnings or loki memory list")
                .into(),
            MemoryError::NoEpisode(_) => {
                Problem::new("not-found", "There is no such ended session", 404)
                    .detail(detail)
                    .fix("list them with GET /api/memory/episodes")
                    .into()
            }
            MemoryError::NoWords(_) => invalid(400, detail, "send ?query= with some words"),
            MemoryError::Text(_) | MemoryError::Expiry(_) => invalid(
                422,
                detail,
                "correct the member; docs/projects.md lists the bounds",
            ),
            MemoryError::TooMany => invalid(422, detail, "send several imports"),
            MemoryError::ProjectNeeded => {
                Problem::new("project-needed", "The learning needs a project", 403)
                    .detail(detail)
                    .fix("name the project")
                    .into()
            }
            MemoryError::Full => Problem::new("memory-full", "The memory is full", 422)
                .detail(detail)
                .fix("forget learnings that are of no use any more")
                .into(),
            MemoryError::Store(_) | MemoryError::NoRandomness(_) => internal(&error),
        }
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

const RETRY_AFTER_SECONDS: &str = "5";
