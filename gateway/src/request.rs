//! The record of one request: what its audit lines and its metrics are made from.
//!
//! Invariant: a record that was opened ends exactly once, by `logging`, or after a panic or a
//! dropped connection by its own drop.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use config::contract::audit::{HEADER, Note};
use config::contract::caller::{AuthMethod, Caller};
use config::contract::id::{RequestId, TokenId};
use config::contract::operation::{Operation, Recorded};
use http::HeaderMap;
use http::header::USER_AGENT;
use pingora::proxy::Session;
use serde_json::{Map, Value};

use crate::admission::Admitted;
use crate::audit::Unavailable;
use crate::audit::record::{ANONYMOUS, Draft, Outcome, Phase};
use crate::random::{self, NoRandomness};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::suppression::Verdict;
use crate::upstream;

/// Everything that is known about a request so far.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    /// Names the request everywhere.
    pub(crate) id: RequestId,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// What was asked for, if it exists.
    pub(crate) operation: Option<&'static Operation>,
    /// Who asked, if the credential was good.
    pub(crate) caller: Option<Arc<Caller>>,
    /// The proof of admission.
    pub(crate) admission: Option<Admitted>,
    /// The answer's status; 0 before there is one.
    pub(crate) status: u16,
    /// Body bytes that came.
    pub(crate) body_bytes: u64,
    /// Body bytes that left.
    pub(crate) answer_bytes: u64,
    /// What the request is judged by.
    pub(crate) snapshot: Arc<Snapshot>,
    user_agent: Option<String>,
    refusal: Option<Refusal>,
    note: Note,
    started: Instant,
    outcome_recorded: bool,
    ended: bool,
    state: Arc<State>,
}

impl RequestRecord {
    /// Opens the record of a request whose header was read.
    pub(crate) fn open(session: &Session, state: Arc<State>) -> Result<Self, NoRandomness> {
        let headers = &session.req_header().headers;
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), std::net::SocketAddr::ip);
        let snapshot = state.snapshot();
        let listen = &snapshot.settings.listen;
        let client = upstream::client_address(peer, headers, |hop| listen.trusts(hop));
        let user_agent = headers
            .get(USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Self {
            id: RequestId::from_random(random::bytes()?),
            client,
            operation: None,
            caller: None,
            admission: None,
            status: 0,
            body_bytes: 0,
            answer_bytes: 0,
            snapshot,
            user_agent,
            refusal: None,
            note: Note::default(),
            started: Instant::now(),
            outcome_recorded: false,
            ended: false,
            state,
        })
    }

    /// Takes the proof of admission.
    pub(crate) fn admitted(&mut self, admitted: &Admitted) {
        self.operation = Some(admitted.operation());
        self.caller = Some(Arc::clone(admitted.caller()));
        self.admission = Some(admitted.clone());
    }

    /// Takes the reason for which the request ends.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.status = refusal.status();
        self.refusal = Some(refusal);
    }

    /// Takes how a stream ended.
    pub(crate) fn streamed(&mut self, ending: &'static str) {
        let note = std::mem::take(&mut self.note);
        self.note = note
            .with("ended_by", ending)
            .with("bytes_in", self.body_bytes);
    }

    /// Takes the runtime's note about what was touched; one that cannot be read is said so.
    pub(crate) fn take_note(&mut self, headers: &HeaderMap) {
        let Some(value) = headers.get(HEADER) else {
            return;
        };
        match Note::decode(value.as_bytes()) {
            Ok(note) => self.note = note,
            Err(error) => {
                tracing::error!(request_id = %self.id, %error, "cannot use the runtime's audit note");
                self.note = Note::default().with("note", "unreadable");
            }
        }
    }

    /// Returns whether an admitted request changes something.
    pub(crate) fn mutates(&self) -> bool {
        self.admission
            .as_ref()
            .is_some_and(|admitted| admitted.operation().mutates())
    }

    /// Makes the decision durable; nothing may be forwarded before.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub(crate) async fn decide(&self) -> Result<(), Unavailable> {
        let facts = self.facts();
        let draft = self.draft(&facts, Phase::Decision, Outcome::Allowed);
        self.state.audit.durable(draft).await
    }

    /// Makes the outcome durable; the status line may not leave before. Done once.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub(crate) async fn outcome(&mut self) -> Result<(), Unavailable> {
        if self.outcome_recorded {
            return Ok(());
        }
        let facts = self.facts();
        let draft = self.draft(&facts, Phase::Outcome, Outcome::of_status(self.status));
        self.state.audit.durable(draft).await?;
        self.outcome_recorded = true;
        Ok(())
    }

    /// Ends the record.
    pub(crate) async fn end(&mut self, failed: bool) {
        if let Some(outcome) = self.last_words(failed) {
            let facts = self.facts();
            self.state
                .audit
                .later(self.draft(&facts, Phase::End, outcome))
                .await;
        }
    }

    /// Counts the request once; returns how it went if it owes an end record.
    fn last_words(&mut self, failed: bool) -> Option<Outcome> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        let metrics = &self.state.metrics;
        metrics.request(
            self.operation,
            self.status,
            self.auth_method(),
            self.started.elapsed(),
        );
        if let Some(refusal) = &self.refusal {
            metrics.refused(refusal);
        }
        // Whoever has no credential cannot fill the disk.
        if self.caller.is_none()
            && self.refusal.is_some()
            && self.state.suppression.judge(self.client) == Verdict::Suppress
        {
            return None;
        }
        let counted_only = self
            .operation
            .is_some_and(|operation| operation.recorded == Recorded::Counted);
        if counted_only && self.refusal.is_none() {
            return None;
        }
        Some(match &self.refusal {
            Some(_) if self.admission.is_none() => Outcome::Denied,
            Some(_) => Outcome::Failed,
            None if self.status == 0 => Outcome::Unknown,
            None if failed => Outcome::Failed,
            None => Outcome::of_status(self.status),
        })
    }

    fn auth_method(&self) -> AuthMethod {
        self.caller
            .as_ref()
            .map_or(AuthMethod::None, |caller| caller.auth_method)
    }

    /// What a draft borrows and the record does not hold as such.
    fn facts(&self) -> Facts {
        let mut details = self.note.details.clone();
        if let Some(refusal) = &self.refusal {
            details.insert("reason".to_owned(), refusal.reason().into());
            if let Some(detail) = refusal.inside_detail() {
                details.insert("detail".to_owned(), detail.into());
            }
            if self.admission.is_none()
                && let Some(operation) = self.operation
            {
                details.insert("operation".to_owned(), operation.name.into());
            }
        }
        let token_id = match &self.refusal {
            Some(Refusal::BadCredential(fault)) => fault.token_id().cloned(),
            Some(_) | None => self
                .caller
                .as_ref()
                .filter(|caller| caller.auth_method == AuthMethod::Token)
                .and_then(|caller| caller.principal.parse().ok()),
        };
        Facts { details, token_id }
    }

    fn draft<'a>(&'a self, facts: &'a Facts, phase: Phase, outcome: Outcome) -> Draft<'a> {
        let ended = phase == Phase::End;
        Draft {
            user: self
                .caller
                .as_ref()
                .map_or(ANONYMOUS, |caller| &caller.user),
            resource: self.resource(),
            details: Some(&facts.details),
            ip: Some(self.client),
            request_id: Some(&self.id),
            status: (self.status != 0).then_some(self.status),
            scope: self.admission.as_ref().and_then(Admitted::scope),
            auth_method: Some(self.auth_method()),
            token_id: facts.token_id.as_ref(),
            user_agent: self.user_agent.as_deref(),
            duration: ended.then(|| self.started.elapsed()),
            bytes: ended.then_some(self.answer_bytes),
            ..Draft::new(self.action(), phase, outcome)
        }
    }

    /// The operation's name; a request that was refused before its operation began is known by
    /// the kind of refusal.
    fn action(&self) -> &'static str {
        match (&self.refusal, self.operation) {
            (Some(refusal), _) if self.admission.is_none() => refusal.action(),
            (_, Some(operation)) => operation.action,
            (_, None) => "request.aborted",
        }
    }

    fn resource(&self) -> &str {
        match (&self.note.resource, self.operation) {
            (Some(resource), _) => resource,
            (None, Some(operation)) => operation.resource_kind,
            (None, None) => "",
        }
    }
}

#[derive(Debug)]
struct Facts {
    details: Map<String, Value>,
    token_id: Option<TokenId>,
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if let Some(outcome) = self.last_words(true) {
            let facts = self.facts();
            self.state
                .audit
                .later_now(self.draft(&facts, Phase::End, outcome));
        }
    }
}
