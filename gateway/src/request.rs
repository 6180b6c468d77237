//! The record of one request: what its audit lines and its metrics are made from.
//!
//! Invariant: a record that was opened ends exactly once, by `logging`, or after a panic or a
//! dropped connection by its own drop.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use config::contract::audit::{HEADER, Note};
use config::contract::caller::AuthMethod;
use config::contract::id::{RequestId, TokenId};
use config::contract::operation::{Access, Operation, Recorded};
use config::gateway::audit::OnOverflow;
use http::HeaderMap;
use http::header::USER_AGENT;
use pingora::proxy::Session;
use serde_json::{Map, Value};

use crate::admission::Admitted;
use crate::audit::record::{ANONYMOUS, Draft, Outcome, Phase};
use crate::audit::{Kept, Unavailable};
use crate::authn::client_certificate::PeerCertificate;
use crate::credential::Credential;
use crate::metrics::Dropped;
use crate::random::{self, NoRandomness};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::suppression::Verdict;
use crate::upload::{self, Upload};
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
    pub(crate) credential: Option<Arc<Credential>>,
    /// The proof of admission.
    pub(crate) admission: Option<Admitted>,
    /// The answer's status; 0 before there is one.
    pub(crate) status: u16,
    /// Body bytes that came.
    pub(crate) body_bytes: u64,
    /// Body bytes that left.
    pub(crate) answer_bytes: u64,
    /// The certificate of its connection.
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
    /// What the request is judged by.
    pub(crate) snapshot: Arc<Snapshot>,
    user_agent: Option<String>,
    refusal: Option<Refusal>,
    note: Note,
    started: Instant,
    /// When it was first forwarded.
    forwarded: Option<Instant>,
    outcome_recorded: bool,
    ended: bool,
    /// The pace of its body, where the front does not see to it.
    upload: Option<Arc<Upload>>,
    /// Interim answers of the runtime.
    interim_answers: u32,
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
            id: RequestId::from_random(random::id_bytes()?),
            client,
            operation: None,
            credential: None,
            admission: None,
            status: 0,
            body_bytes: 0,
            answer_bytes: 0,
            certificate: certificate(session, &state),
            snapshot,
            user_agent,
            refusal: None,
            note: Note::default(),
            started: Instant::now(),
            forwarded: None,
            outcome_recorded: false,
            ended: false,
            upload: upload::current(),
            interim_answers: 0,
            state,
        })
    }

    /// Takes the proof of admission.
    pub(crate) fn admitted(&mut self, admitted: &Admitted) {
        self.operation = Some(admitted.operation());
        self.credential = Some(Arc::clone(admitted.credential()));
        self.admission = Some(admitted.clone());
    }

    /// Takes the reason for which the request ends.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.status = refusal.status();
        self.refusal = Some(refusal);
    }

    /// Takes note that the request is forwarded.
    pub(crate) fn forwarding(&mut self) {
        self.forwarded.get_or_insert_with(Instant::now);
    }

    /// Takes note that a body is to be forwarded.
    pub(crate) fn awaits_body(&self) {
        if let Some(upload) = &self.upload {
            upload.begin(&self.snapshot.settings.limits);
        }
    }

    /// Counts bytes of the body; returns how many there are by now.
    pub(crate) fn body_came(&mut self, bytes: usize, whole: bool) -> u64 {
        self.body_bytes += bytes as u64;
        if let Some(upload) = &self.upload {
            if whole {
                upload.end();
            } else {
                upload.came(bytes);
            }
        }
        self.body_bytes
    }

    /// Counts an interim answer of the runtime; returns whether there are too many of them.
    pub(crate) const fn interim_answer(&mut self) -> bool {
        self.interim_answers += 1;
        self.interim_answers > INTERIM_ANSWERS_MAX
    }

    /// Takes note that the connection was given up, and why.
    pub(crate) fn cut(&mut self, why: Dropped) {
        self.state.metrics.dropped(why);
        let note = std::mem::take(&mut self.note);
        self.note = note.with("reason", why.name());
    }

    /// Takes note that the header of the runtime's answer came.
    pub(crate) fn answered(&self) {
        if let (Some(operation), Some(forwarded)) = (self.operation, self.forwarded) {
            let metrics = &self.state.metrics;
            metrics.forwarded(operation, forwarded.elapsed());
        }
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

    /// Returns what the caller is told of its rates.
    pub(crate) fn rate_fields(&self) -> Option<(String, String)> {
        match (&self.refusal, &self.admission) {
            (Some(Refusal::RateExceeded(exceeded)), _) => exceeded.standing.fields(),
            (_, Some(admitted)) => admitted.standing().fields(),
            (_, None) => None,
        }
    }

    /// Takes the gateway's own note about what was touched.
    pub(crate) fn note(&mut self, note: Note) {
        self.note = note;
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

    /// Returns whether nothing may be answered before a record of it was taken: a read of somebody
    /// with a credential, where the settings say so. Outsiders cannot fill the trail this way.
    pub(crate) fn is_announced(&self) -> bool {
        let audit = &self.snapshot.settings.audit;
        let recorded = self
            .admission
            .as_ref()
            .map(Admitted::operation)
            .is_some_and(|asked| {
                asked.recorded == Recorded::Read && asked.access != Access::Public
            });
        audit.on_overflow == OnOverflow::Deny && recorded
    }

    /// Leaves a decision to be written soon; where it is lost, the request is refused.
    pub(crate) async fn announce(&self) -> Kept {
        let facts = self.facts();
        let draft = self.draft(&facts, Phase::Decision, Outcome::Allowed);
        self.state.audit.later(draft).await
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
        // Whoever is not admitted, or has no credential, cannot fill the disk.
        let in_vain = self.admission.is_none() || self.is_unauthenticated();
        if in_vain
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
        self.credential
            .as_ref()
            .map_or(AuthMethod::None, |credential| credential.caller.auth_method)
    }

    fn is_unauthenticated(&self) -> bool {
        self.auth_method() == AuthMethod::None
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
                .credential
                .as_ref()
                .and_then(|credential| credential.token_id().cloned()),
        };
        Facts { details, token_id }
    }

    fn draft<'a>(&'a self, facts: &'a Facts, phase: Phase, outcome: Outcome) -> Draft<'a> {
        let ended = phase == Phase::End;
        Draft {
            user: self
                .credential
                .as_ref()
                .map_or(ANONYMOUS, |credential| &credential.caller.user),
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

    /// Returns what was acted on, as far as that is known.
    pub(crate) fn resource(&self) -> &str {
        match (&self.note.resource, self.operation) {
            (Some(resource), _) => resource,
            (None, Some(operation)) => operation.resource_kind,
            (None, None) => "",
        }
    }
}

/// The certificate that the connection's handshake verified.
fn certificate(session: &Session, state: &State) -> Option<Arc<PeerCertificate>> {
    let tls = session.digest()?.ssl_digest.as_ref()?;
    state.peer_certificates.find(&tls.cert_digest)
}

#[derive(Debug)]
struct Facts {
    details: Map<String, Value>,
    token_id: Option<TokenId>,
}

/// Most interim answers (1xx) to one request.
const INTERIM_ANSWERS_MAX: u32 = 8;

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let late = self.upload.as_ref().is_some_and(|upload| upload.is_late());
        if late && self.refusal.is_none() {
            // The stream was reset, so nobody was told; the trail tells why.
            self.refusal = Some(Refusal::BodyTimeout);
        }
        if let Some(outcome) = self.last_words(true) {
            let facts = self.facts();
            self.state
                .audit
                .later_now(self.draft(&facts, Phase::End, outcome));
        }
    }
}
