//! The runtime's API: HTTP on a Unix socket, for the gateway alone.
//!
//! Invariant: the router is built from the operation table; a row without a handler and a handler
//! without a row stop the start. No handler is reached without a valid caller statement that grants
//! the row's scope.

pub mod approvals;
pub mod events;
pub mod figures;
pub mod learnings;
pub mod listen;
pub mod memory;
pub mod policy;
pub mod problem;
pub mod projects;
pub mod sandboxes;
pub mod serve;
pub mod sessions;
pub mod statement;
pub mod status;

mod board;
mod control;
mod stream;
mod websocket;
mod work;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use config::contract::caller::Verifier;
use config::contract::figures as contract_figures;
use config::contract::operation::{Method, OPERATIONS, Operation, Owner};

use crate::approval::Desk;
use crate::memory::Memory;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::session::Sessions;
use crate::session::standing::Standing;
use crate::store::Store;

/// What the handlers work with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    sessions: Sessions,
    store: Store,
    registry: Registry,
    memory: Memory,
    desk: Desk,
    policy: Policy,
    standing: Standing,
    verifier: Arc<Mutex<Verifier>>,
    refused: Arc<AtomicU64>,
    started: Instant,
}

impl Api {
    /// Builds the API of a runtime that starts now.
    #[must_use]
    pub fn new(
        (sessions, standing): (Sessions, Standing),
        store: Store,
        registry: Registry,
        gates: (Desk, Policy),
        verifier: Verifier,
    ) -> Self {
        let (desk, policy) = gates;
        let memory = Memory::new(store.clone(), registry.clone());
        Self {
            sessions,
            memory,
            store,
            registry,
            desk,
            policy,
            standing,
            verifier: Arc::new(Mutex::new(verifier)),
            refused: Arc::default(),
            started: Instant::now(),
        }
    }
}

/// The operation table and the handlers do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A row has no handler.
    #[error("operation {0} has no handler")]
    NoHandler(&'static str),
    /// A handler has no row.
    #[error("handler {0} has no operation")]
    NoOperation(&'static str),
}

/// Builds the router.
///
/// # Errors
/// When table and handlers do not fit together.
pub fn router(api: Api) -> Result<Router, Mismatch> {
    let rows: Vec<&Operation> = OPERATIONS
        .iter()
        .filter(|row| row.owner == Owner::Runtime)
        .collect();
    for (name, _) in HANDLERS {
        if !rows.iter().any(|row| row.name == *name) {
            return Err(Mismatch::NoOperation(name));
        }
    }
    let mut router =
        Router::new().route(contract_figures::PATH, on(MethodFilter::GET, figures::show));
    for row in rows {
        let (_, handler) = HANDLERS
            .iter()
            .find(|(name, _)| *name == row.name)
            .ok_or(Mismatch::NoHandler(row.name))?;
        router = router.route(row.path, handler(filter(row.method)));
    }
    Ok(router
        .fallback(problem::nothing_here)
        .layer(from_fn_with_state(api.clone(), statement::demand))
        .with_state(api))
}

type Handler = fn(MethodFilter) -> MethodRouter<Api>;

/// The handler of every operation that the runtime carries out.
const HANDLERS: &[(&str, Handler)] = &[
    ("status.show", |method| on(method, status::show)),
    ("session.list", |method| on(method, sessions::list)),
    ("session.start", |method| on(method, sessions::start)),
    ("session.show", |method| on(method, sessions::show)),
    ("session.remove", |method| on(method, control::remove)),
    ("session.events", |method| on(method, events::page)),
    ("session.stop", |method| on(method, control::stop)),
    ("session.pause", |method| on(method, control::pause)),
    ("session.resume", |method| on(method, control::resume)),
    ("session.input", |method| on(method, work::input)),
    ("session.diff", |method| on(method, work::diff)),
    ("session.log", |method| on(method, work::log)),
    ("stream.open", |method| on(method, websocket::open)),
    ("agent.list", |method| on(method, work::agents)),
    ("log.show", |method| on(method, work::newest_log)),
    ("cost.show", |method| on(method, work::cost)),
    ("control.stop", |method| on(method, control::stop_only)),
    ("control.pause", |method| on(method, control::pause_only)),
    ("control.resume", |method| on(method, control::resume_only)),
    ("approval.list", |method| on(method, approvals::list)),
    ("approval.show", |method| on(method, approvals::show)),
    ("approval.approve", |method| on(method, approvals::approve)),
    ("approval.reject", |method| on(method, approvals::reject)),
    ("policy.check", |method| on(method, policy::check)),
    ("sandbox.list", |method| on(method, sandboxes::list)),
    ("sandbox.start", |method| on(method, sandboxes::start)),
    ("sandbox.show", |method| on(method, sandboxes::show)),
    ("sandbox.remove", |method| on(method, sandboxes::remove)),
    ("sandbox.log", |method| on(method, sandboxes::log)),
    ("sandbox.stop", |method| on(method, sandboxes::stop)),
    ("sandbox.shell", |method| on(method, sandboxes::shell)),
    ("project.list", |method| on(method, projects::list)),
    ("project.register", |method| on(method, projects::register)),
    ("project.show", |method| on(method, projects::show)),
    ("project.remove", |method| on(method, projects::remove)),
    ("project.access", |method| on(method, projects::access)),
    ("project.health", |method| on(method, projects::health)),
    ("project.health_all", |method| {
        on(method, projects::health_all)
    }),
    ("project.discover", |method| on(method, projects::discover)),
    ("project.sync", |method| on(method, projects::sync)),
    ("board.list", |method| on(method, board::list)),
    ("task.create", |method| on(method, board::create)),
    ("task.show", |method| on(method, board::show)),
    ("task.update", |method| on(method, board::update)),
    ("task.move", |method| on(method, board::shift)),
    ("task.delete", |method| on(method, board::remove)),
    ("task.list", |method| on(method, projects::tasks)),
    ("learning.list", |method| on(method, learnings::list)),
    ("learning.add", |method| on(method, learnings::add)),
    ("learning.stats", |method| on(method, learnings::stats)),
    ("learning.import", |method| on(method, learnings::import)),
    ("learning.show", |method| on(method, learnings::show)),
    ("learning.forget", |method| on(method, learnings::forget)),
    ("learning.trust", |method| on(method, learnings::trust)),
    ("memory.summary", |method| on(method, memory::summary)),
    ("memory.episodes", |method| on(method, memory::episodes)),
    ("memory.episode", |method| on(method, memory::episode)),
    ("memory.patterns", |method| on(method, memory::patterns)),
    ("memory.pattern", |method| on(method, memory::pattern)),
    ("memory.timeline", |method| on(method, memory::timeline)),
];

const fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    }
}

#[cfg(test)]
mod tests;
