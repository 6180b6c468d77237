//! A session as it was asked for, before it is stored. Pure, but for the id that is drawn.

use chrono::{DateTime, Utc};
use config::contract::caller::Statement;
use config::contract::session::{
    Enforcement, SessionState, SessionView, StartSession, Usage, Verification,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::acceptance::Accepted;
use crate::clock;
use crate::identity::{self, NoRandomness};
use crate::project::Project;
use crate::store::NewSession;

/// Puts down what was asked for as a session that is not stored yet.
pub(super) fn asked_for(
    accepted: Accepted,
    statement: &Statement,
    project: &Project,
    enforcement: Vec<Enforcement>,
    now: DateTime<Utc>,
) -> Result<NewSession, NoRandomness> {
    Ok(NewSession {
        view: SessionView {
            id: identity::session_id()?,
            state: SessionState::Created,
            reason: None,
            project: project.directory().display().to_string(),
            prd: accepted.prd_name,
            provider: accepted.provider.name().to_owned(),
            started_by: statement.caller.user.clone(),
            autonomy_mode: accepted.freedom.mode,
            staged_autonomy: accepted.freedom.staged,
            iteration: 0,
            iterations_max: accepted.iterations_max,
            branch: String::new(),
            verification: Verification::Pending,
            hand_off: None,
            effective_enforcement: enforcement,
            cost_usd: None,
            usage: Usage::default(),
            budget_usd: accepted.budget_usd,
            model: accepted.model,
            created_at: clock::written(now),
            ended_at: None,
        },
        prd_text: accepted.prd_text,
        principal: statement.caller.principal.clone(),
        request_id: statement.request_id.clone(),
        branch_protection: accepted.branch_protection,
        blocked_commands: accepted.blocked_commands,
        sandbox: accepted.sandbox,
        allowed_paths: accepted.allowed_paths,
        readable: statement.caller.projects.clone(),
        start_key: None,
    })
}

/// Returns a digest of what was asked for; the same request gives the same.
pub(super) fn digest(request: &StartSession) -> String {
    let text = json!(request).to_string();
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
