//! Writes a session's agent audit without holding up other sessions.

use std::sync::{Arc, Mutex, PoisonError};

use config::contract::id::RequestId;
use serde_json::{Map, Value, json};

use super::live::Live;
use super::workshop::WorkError;
use crate::agent_audit::{AgentAudit, Entry};
use crate::clock;
use crate::folder::SessionFolder;
use crate::project::Project;
use crate::store::NewEvent;

/// The runtime itself, as the agent of a record.
pub(super) const RUNTIME: &str = "loki";

/// The open agent audit of one session.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    audit: Arc<Mutex<AgentAudit>>,
}

impl Trail {
    /// Opens the record, continuing what is there.
    pub(super) async fn open(folder: &SessionFolder, project: &Project) -> Result<Self, WorkError> {
        let (folder, project) = (folder.clone(), project.clone());
        let audit =
            tokio::task::spawn_blocking(move || AgentAudit::open(&folder, &project)).await??;
        Ok(Self {
            audit: Arc::new(Mutex::new(audit)),
        })
    }

    /// Returns the commit that was recorded last, by this run or an earlier one.
    pub(super) fn commit(&self) -> Option<String> {
        let audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        audit.commit().map(str::to_owned)
    }

    /// Adds one line, durable when this returns, and returns a note if a person should know
    /// something about the record.
    pub(super) async fn add(
        &self,
        action: &str,
        agent: &str,
        request_id: Option<&RequestId>,
        details: Value,
    ) -> Result<Option<String>, WorkError> {
        let entry = Entry {
            action: action.to_owned(),
            agent: agent.to_owned(),
            details: match details {
                Value::Object(details) => details,
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => Map::new(),
            },
            request_id: request_id.cloned(),
        };
        let audit = Arc::clone(&self.audit);
        let now = clock::now();
        Ok(tokio::task::spawn_blocking(move || {
            let mut audit = audit.lock().unwrap_or_else(PoisonError::into_inner);
            audit.append(entry, now)
        })
        .await??)
    }

    /// Adds one line about a live session; what a person should know becomes an event.
    pub(super) async fn tell(
        &self,
        live: &Live,
        action: &str,
        agent: &str,
        details: Value,
    ) -> Result<(), WorkError> {
        let request_id = Some(&live.assignment().request_id);
        self.tell_of(live, action, agent, request_id, details).await
    }

    /// Adds one line about a live session that another request than its start led to.
    pub(super) async fn tell_of(
        &self,
        live: &Live,
        action: &str,
        agent: &str,
        request_id: Option<&RequestId>,
        details: Value,
    ) -> Result<(), WorkError> {
        if let Some(note) = self.add(action, agent, request_id, details).await? {
            let event = NewEvent::new("note", json!({ "text": note }));
            live.happened(vec![event]).await?;
        }
        Ok(())
    }
}
