//! Carrying on a session that an earlier run of the runtime left unfinished.
//!
//! Invariant: it goes on from what is stored, at the step it had reached; what was asked at a gate is
//! asked again; and one that the runtime does not survive is not carried on for ever.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use config::contract::session::Tightening;

use super::live::{Assignment, Live};
use super::{Ending, Sessions, acceptance, recovery};
use crate::clock;
use crate::project::Project;
use crate::store::Unfinished;

impl Sessions {
    /// Carries a session on.
    ///
    /// # Errors
    /// How it ends instead, if it cannot be carried on.
    pub(super) async fn carry_on(&self, unfinished: Unfinished) -> Result<(), Ending> {
        let Unfinished { session, stop } = unfinished;
        let view = session.view;
        let inner = &self.inner;
        let failed = |why: String| {
            let interrupted = recovery::interrupted(view.state);
            Ending::failed(format!("{interrupted}; it cannot be carried on: {why}"))
        };
        let provider = inner
            .providers
            .find(Some(&view.provider))
            .map_err(|error| failed(error.to_string()))?
            .clone();
        let provider = acceptance::with_model(provider, view.model.as_deref())
            .map_err(|error| failed(error.to_string()))?;
        let project = self.recheck(&view.project).await.map_err(failed)?;
        let policy = acceptance::policy(&session.blocked_commands, &inner.settings)
            .map_err(|error| failed(error.to_string()))?;
        let asked = Tightening {
            sandbox: session.sandbox.then_some(true),
            ..Tightening::default()
        };
        let sandbox = acceptance::sandboxed(&asked, &inner.settings, &provider)
            .map_err(|error| failed(error.to_string()))?;
        let profile = inner
            .profile(
                &project,
                &provider,
                sandbox,
                session.allowed_paths.as_deref(),
            )
            .map_err(|error| failed(error.to_string()))?;
        inner.worker.admit(&profile).map_err(failed)?;
        let resumptions = inner
            .store
            .count_resumption(&view.id)
            .await
            .map_err(|error| failed(error.to_string()))?;
        if resumptions > RESUMPTIONS_MAX {
            return Err(failed(format!(
                "the runtime ended {RESUMPTIONS_MAX} times during one iteration"
            )));
        }
        let assignment = Assignment {
            prd_text: session.prd_text,
            provider,
            project,
            profile,
            branch_protection: session.branch_protection || inner.settings.branch_protection,
            policy,
            readable: session.readable,
            request_id: session.request_id,
        };
        // The settings may have been tightened since; what is stored loosens nothing.
        let mut view = view;
        view.autonomy_mode = view.autonomy_mode.max(inner.settings.autonomy.mode);
        view.staged_autonomy |= inner.settings.autonomy.staged;
        tracing::info!(session = %view.id, state = %view.state, "session carried on");
        let age = age(&view.created_at);
        let live = Arc::new(Live::new(inner.store.clone(), view, assignment, age));
        if let Some(stop) = stop {
            live.ask_to_stop(stop);
        }
        inner.table().live.push(Arc::clone(&live));
        let place = inner.queue.enter_again();
        tokio::spawn(Arc::clone(inner).attend(live, place));
        Ok(())
    }

    async fn recheck(&self, path: &str) -> Result<Project, String> {
        let path = Path::new(path).to_owned();
        let roots = self.inner.settings.project_roots.clone();
        let home = self.inner.settings.home.clone();
        tokio::task::spawn_blocking(move || Project::check(&path, &roots, &home))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}

/// Returns how long ago something was written down; nothing if the clock was set back since.
fn age(written: &str) -> Duration {
    DateTime::parse_from_rfc3339(written)
        .ok()
        .and_then(|created| (clock::now() - created.to_utc()).to_std().ok())
        .unwrap_or_default()
}

/// How often a session is carried on without a whole iteration in between.
const RESUMPTIONS_MAX: u32 = 25;
