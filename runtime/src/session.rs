//! Sessions: taken on, carried out, stopped.
//!
//! Invariant: a session is acknowledged only when it is stored, has exactly one task that moves it
//! along, and moves only as [`state`] allows. No lock is held across an `await`.

pub mod acceptance;
pub mod gate;
pub mod halt;
pub mod learning;
pub mod live;
pub mod output;
pub mod prompt;
pub mod queue;
pub mod recovery;
pub mod retention;
pub mod run;
pub mod standing;
pub mod state;
pub mod stop;
pub mod verdict;

mod agent;
mod asking;
mod attended;
mod budget;
mod carry;
mod committed;
mod draft;
mod ending;
mod orphans;
mod outgoing;
mod publication;
mod questions;
mod spending;
mod talk;
mod trail;
mod workshop;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::contract::caller::{AuthMethod, Caller, Statement};
use config::contract::id::SessionId;
use config::contract::session::{
    AutonomyMode, Enforcement, Layer, SessionState, SessionView, StartSession,
};
use config::home::Home;
use config::runtime::RuntimeSettings;
use config::runtime::commands::Commands;
use serde_json::json;

use crate::approval::rules::{self, Asking};
use crate::clock;
use crate::identity::NoRandomness;
use crate::project::{Project, ProjectError};
use crate::provider::{Command, Providers};
use crate::registry::{Registry, RegistryError};
use crate::sandbox::Profile;
use crate::store::{NewEvent, NewSession, StartKey, Store, StoreError};
use acceptance::{Accepted, Unacceptable};
use gate::Gatekeeper;
use live::{Assignment, Live};
use queue::{Full, Place, Queue};

/// Does the work of a session, from its start to its end. The seam between the life of a session
/// and what an agent needs.
pub trait Worker: fmt::Debug + Send + Sync + 'static {
    /// Returns what this host enforces on a session held like this, or why it may not start, with the
    /// fix.
    ///
    /// # Errors
    /// When the host cannot enforce what the settings or the profile demand.
    fn admit(&self, profile: &Profile) -> Result<Vec<Enforcement>, String>;

    /// Returns what a session's agent changed, up to its last checkpoint.
    fn diff<'work>(
        &'work self,
        session: &'work SessionView,
    ) -> Pin<Box<dyn Future<Output = Result<String, DiffError>> + Send + 'work>>;

    /// Works until the session is done, given up, or asked to stop, and tells how it ended. Whatever
    /// ran for the session is gone when this returns.
    fn work<'work>(
        &'work self,
        session: &'work Live,
    ) -> Pin<Box<dyn Future<Output = Ending> + Send + 'work>>;
}

/// Why an agent's work cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot show the agent's work: {0}")]
pub struct DiffError(pub String);

/// How a session's work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The final state.
    pub state: SessionState,
    /// Why, if that needs words.
    pub reason: Option<String>,
}

/// Why a session was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The request asks for something that cannot be had.
    #[error(transparent)]
    Unacceptable(#[from] Unacceptable),
    /// The project is not one on which a session can work.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The key was used for something else.
    #[error("the Idempotency-Key started session {0}, which was asked for otherwise")]
    OtherRequest(SessionId),
    /// The caller is bound to other projects.
    #[error("the credential is not valid for project {0}")]
    OtherProject(String),
    /// The host cannot enforce what the settings demand.
    #[error("{0}")]
    NotAdmitted(String),
    /// No place is free, not even to wait.
    #[error(transparent)]
    Full(#[from] Full),
    /// Nobody could approve for the session.
    #[error("nobody but whoever starts the session could approve for it")]
    Alone,
    /// The runtime is about to end.
    #[error("the runtime is shutting down")]
    Closed,
    /// No id could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The session could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that starts it was lost.
    #[error("the start was interrupted")]
    Interrupted,
}

/// All sessions of this runtime; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Arc<RuntimeSettings>,
    providers: Providers,
    store: Store,
    worker: Arc<dyn Worker>,
    gatekeeper: Arc<dyn Gatekeeper>,
    queue: Queue,
    table: Mutex<Table>,
}

/// The live sessions, oldest first.
#[derive(Debug, Default)]
struct Table {
    live: Vec<Arc<Live>>,
    /// Set at shutdown: nothing more is taken on.
    closed: bool,
}

impl Sessions {
    /// Builds the sessions of a runtime; none is live yet.
    #[must_use]
    pub fn new(
        settings: Arc<RuntimeSettings>,
        providers: Providers,
        store: Store,
        worker: Arc<dyn Worker>,
        gatekeeper: Arc<dyn Gatekeeper>,
    ) -> Self {
        let queue = Queue::new(&settings.sessions);
        Self {
            inner: Arc::new(Inner {
                settings,
                providers,
                store,
                worker,
                gatekeeper,
                queue,
                table: Mutex::default(),
            }),
        }
    }

    /// Takes a session on and returns it as stored; its work begins when a place is free.
    ///
    /// # Errors
    /// See [`StartError`]; then nothing was stored.
    pub async fn start(
        &self,
        request: StartSession,
        statement: &Statement,
        key: Option<String>,
    ) -> Result<SessionView, StartError> {
        let start_key = key.map(|key| StartKey {
            key,
            digest: draft::digest(&request),
        });
        let accepted = acceptance::judge(request, &self.inner.settings, &self.inner.providers)?;
        let statement = statement.clone();
        let inner = Arc::clone(&self.inner);
        // A caller that goes away must not leave a stored session without a task.
        tokio::spawn(async move { inner.begin(accepted, statement, start_key).await })
            .await
            .map_err(|_| StartError::Interrupted)?
    }

    /// Returns the live sessions, newest first.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<Live>> {
        let mut live = self.inner.table().live.clone();
        live.reverse();
        live
    }

    /// Returns who decides at gates.
    fn gatekeeper(&self) -> &dyn Gatekeeper {
        self.inner.gatekeeper.as_ref()
    }

    /// Returns what a session's agent changed, up to its last checkpoint.
    ///
    /// # Errors
    /// When its repository cannot be read.
    pub async fn diff(&self, session: &SessionView) -> Result<String, DiffError> {
        self.inner.worker.diff(session).await
    }

    /// Returns the data directory.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.inner.settings.home
    }

    /// Returns a session as stored.
    async fn stored(&self, id: &SessionId) -> Result<Option<SessionView>, StoreError> {
        self.inner.store.session(id).await
    }

    /// Returns the autonomy mode of sessions whose callers ask for none.
    #[must_use]
    pub fn default_mode(&self) -> AutonomyMode {
        self.inner.settings.autonomy.mode
    }

    /// Returns the name of the default provider.
    #[must_use]
    pub fn default_provider(&self) -> &str {
        self.inner.providers.default_name()
    }
}

impl Inner {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // The table is whole after every statement, so a panic elsewhere cannot have broken it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(
        self: Arc<Self>,
        accepted: Accepted,
        statement: Statement,
        start_key: Option<StartKey>,
    ) -> Result<SessionView, StartError> {
        let caller = &statement.caller;
        let alone = statement.sole_approver || caller.auth_method == AuthMethod::Local;
        if self.settings.approvals.four_eyes && alone {
            return Err(StartError::Alone);
        }
        let principal = &caller.principal;
        if let Some(view) = self.started(principal, start_key.as_ref()).await? {
            return Ok(view);
        }
        let asked = &accepted.project;
        let project = checked_project(&self.settings, asked, &statement.caller).await?;
        let allowed_paths = accepted.allowed_paths.as_deref();
        let (provider, sandbox) = (&accepted.provider, accepted.sandbox);
        let profile = self.profile(&project, provider, sandbox, allowed_paths)?;
        let admitted = self.worker.admit(&profile);
        let enforcement = admitted.map_err(StartError::NotAdmitted)?;
        let enforcement = self.with_gates(enforcement, &accepted)?;
        let place = self.queue.enter()?;
        let now = clock::now();
        let (provider, policy) = (accepted.provider.clone(), accepted.policy.clone());
        let session = draft::asked_for(accepted, &statement, &project, enforcement, now)?;
        let session = NewSession {
            start_key: start_key.clone(),
            ..session
        };
        let first = NewEvent::new("state", json!({ "to": SessionState::Created }));
        // Shutdown looks at the table; a session that is not in it by then must not come to be.
        if self.table().closed {
            return Err(StartError::Closed);
        }
        self.note_project(&session.view.project).await?;
        if let Err(error) = self.store.create(&session, first, now).await {
            // Whoever asked with the same key at the same time was first.
            let started = self.started(principal, start_key.as_ref()).await?;
            return started.ok_or_else(|| error.into());
        }
        let view = session.view.clone();
        let assignment = Assignment {
            prd_text: session.prd_text,
            provider,
            project,
            profile,
            branch_protection: session.branch_protection,
            policy,
            readable: session.readable,
            request_id: session.request_id,
        };
        let age = Duration::ZERO;
        let live = Live::new(self.store.clone(), session.view, assignment, age);
        let live = Arc::new(live);
        let closed = {
            let mut table = self.table();
            table.live.push(Arc::clone(&live));
            table.closed
        };
        if closed {
            live.ask_to_stop(stop::Request::shutdown());
        }
        tracing::info!(session = %view.id, provider = view.provider, "session created");
        tokio::spawn(self.attend(live, place));
        Ok(view)
    }

    /// Returns the session that was started under the same key, if there is one.
    async fn started(
        &self,
        principal: &str,
        start_key: Option<&StartKey>,
    ) -> Result<Option<SessionView>, StartError> {
        let Some(StartKey { key, digest }) = start_key else {
            return Ok(None);
        };
        let started = self.store.started_under(principal, key, clock::now());
        match started.await? {
            Some((view, asked)) if asked == *digest => Ok(Some(view)),
            Some((view, _)) => Err(StartError::OtherRequest(view.id)),
            None => Ok(None),
        }
    }

    /// Enters the session's project in the registry, so that its tasks are listed. A full registry
    /// keeps no session from working.
    async fn note_project(&self, path: &str) -> Result<(), StoreError> {
        match Registry::note_session(&self.store, path.to_owned()).await {
            Ok(()) => Ok(()),
            Err(RegistryError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(project = path, %error, "project of a session not registered");
                Ok(())
            }
        }
    }

    /// Settles how tightly the session's programs are held.
    fn profile(
        &self,
        project: &Project,
        provider: &Command,
        sandbox: bool,
        allowed_paths: Option<&[String]>,
    ) -> Result<Profile, Unacceptable> {
        let of_runtime = self.settings.allowed_paths.as_deref();
        let mut profile = Profile::new(project.directory(), sandbox, of_runtime, allowed_paths)?;
        profile.check_present()?;
        profile.variables = !provider.given().is_empty();
        Ok(profile)
    }

    /// Adds what the gates enforce; with `jail.require_enforcement` each of them has to hold.
    fn with_gates(
        &self,
        mut enforcement: Vec<Enforcement>,
        accepted: &Accepted,
    ) -> Result<Vec<Enforcement>, StartError> {
        let explicit =
            self.settings.commands != Commands::default() || !accepted.blocked_commands.is_empty();
        let provider = &accepted.provider;
        let asking = match (provider.asks(), provider.needs()) {
            (None, _) => Asking::Never,
            (Some(_), Some(_)) => Asking::NotKnown,
            (Some(asks), None) => Asking::by(asks),
        };
        let gates = rules::enforcement(accepted.freedom, provider.name(), explicit, asking);
        let missing = gates.iter().find(|row| match row.layer {
            Layer::Kernel | Layer::Proxy | Layer::Gate => false,
            Layer::GateRequestBound | Layer::Advisory | Layer::Unavailable => {
                explicit || row.control != rules::BLOCKED_COMMANDS
            }
        });
        if let Some(row) = missing
            && self.settings.jail.require_enforcement
        {
            return Err(StartError::NotAdmitted(format!(
                "cannot enforce {}; fix: set jail.require_enforcement = false to go without",
                row.control
            )));
        }
        enforcement.extend(gates);
        Ok(enforcement)
    }

    /// Sees one session through: waits for its turn, lets it work, records its end.
    async fn attend(self: Arc<Self>, live: Arc<Live>, place: Place) {
        let id = live.id().clone();
        let task = tokio::spawn({
            let (worker, live) = (Arc::clone(&self.worker), Arc::clone(&live));
            async move {
                let _turn = tokio::select! {
                    turn = place.turn() => Some(turn),
                    request = live.stop_asked() => {
                        if live.view().branch.is_empty() {
                            return (request.ending(), place);
                        }
                        // An earlier run left work that is to be handed over.
                        None
                    }
                };
                (worker.work(&live).await, place)
            }
        });
        // The place is free only when the end is recorded.
        let (ending, place) = match task.await {
            Ok((ending, place)) => (ending, Some(place)),
            Err(error) => {
                tracing::error!(session = %id, %error, "session task was lost");
                let reason = "an internal error ended the session".to_owned();
                (Ending::failed(reason), None)
            }
        };
        if live.is_suspended(&ending) {
            tracing::info!(session = %id, "session is left for the next run to carry on");
        } else {
            live.end(ending).await;
            if let Err(error) = self.gatekeeper.ended(&id).await {
                tracing::error!(session = %id, %error, "approvals of an ended session not ended");
            }
        }
        self.table().live.retain(|other| other.id() != &id);
        live.leave();
        drop(place);
    }
}

/// Checks the project that was asked for, and whether the caller may work on it.
async fn checked_project(
    settings: &RuntimeSettings,
    asked: &str,
    caller: &Caller,
) -> Result<Project, StartError> {
    let path = Path::new(asked).to_owned();
    let (roots, home) = (settings.project_roots.clone(), settings.home.clone());
    // A slow disk must not hold up other requests.
    let project = tokio::task::spawn_blocking(move || Project::check(&path, &roots, &home))
        .await
        .map_err(|_| StartError::Interrupted)??;
    let directory = project.directory().display().to_string();
    if may_see(caller, &directory) {
        Ok(project)
    } else {
        Err(StartError::OtherProject(directory))
    }
}

/// Returns whether a caller may know of what happens in a project.
#[must_use]
pub fn may_see(caller: &Caller, project: &str) -> bool {
    caller
        .projects
        .as_ref()
        .is_none_or(|projects| projects.iter().any(|bound| bound == project))
}
