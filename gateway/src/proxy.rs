//! The story of a request, phase by phase, on Pingora's `ProxyHttp`.
//!
//! Open the record → admit or refuse → record the decision of a mutation → answer ourselves or
//! forward → record its outcome before the status line leaves → end the record.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use config::contract::operation::Owner;
use config::limit::Limits;
use http::header::EXPECT;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use crate::admin::{self, Reply};
use crate::admission::{self, Admitted, Peer};
use crate::answer::{Answer, internal};
use crate::audit::Kept;
use crate::clock;
use crate::forward;
use crate::limits;
use crate::metrics::Dropped;
use crate::refusal::Refusal;
use crate::request::RequestRecord;
use crate::state::State;
use crate::stream;
use crate::upstream::{self, AUDIT_UNCERTAIN};

/// Longest time that a body which nobody wants may hold its connection.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest unread body after which the connection may carry a further request: closing one costs the caller, and us, a
/// handshake.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// The name of our own error type, which `fail_to_proxy` turns back into a refusal.
const BODY_TOO_LONG: ErrorType = ErrorType::Custom("body too long");

/// Pingora's view of the gateway.
#[derive(Debug)]
pub(crate) struct Proxy {
    state: Arc<State>,
}

impl Proxy {
    /// Builds the view of a state.
    pub(crate) const fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    async fn refuse(
        &self,
        session: &mut Session,
        record: &mut RequestRecord,
        refusal: Refusal,
    ) -> pingora::Result<()> {
        let answer = Answer::refusal(&refusal, record);
        record.answer_bytes = answer.body.len() as u64;
        record.refused(refusal);
        self.write(session, record, answer).await
    }

    /// Writes an answer of our own. The rest of the request's body is then read, for a bounded
    /// time: a stream or connection that ends before is reset, and a caller that is still sending
    /// may lose the answer.
    async fn write(
        &self,
        session: &mut Session,
        record: &RequestRecord,
        answer: Answer,
    ) -> pingora::Result<()> {
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        let keeps = has_short_body(session.req_header());
        session
            .as_downstream_mut()
            .set_close_on_response_before_downstream_finish(!keeps);
        answer.write(session, record).await?;
        // The answer leaves before we wait for anything.
        session.as_downstream_mut().finish_body().await?;
        if let Err(error) = session.drain_request_body().await {
            tracing::debug!(%error, "the rest of a refused body was not read");
        }
        Ok(())
    }

    /// Sets how long the caller's side may take; returns whether it asks for a WebSocket.
    fn prepare(&self, session: &mut Session, bounds: &Limits) -> bool {
        session.set_keepalive((!self.state.is_draining()).then_some(bounds.idle_timeout.as_secs()));
        session.set_write_timeout(Some(bounds.write_timeout));
        // Interim answers of the runtime are for us.
        session.set_ignore_info_resp(true);
        let websocket = limits::asks_for_websocket(session.req_header());
        if websocket {
            // Whatever the answer is, no further request may follow on this connection.
            session.set_keepalive(None);
        }
        websocket
    }

    /// Answers an operation of the gateway's own.
    async fn answer(
        &self,
        session: &mut Session,
        record: &mut RequestRecord,
        admitted: &Admitted,
    ) -> pingora::Result<()> {
        let mut request = admin::Request {
            admitted,
            session,
            record,
            state: &self.state,
        };
        match admin::answer(&mut request).await {
            Ok(Reply::Whole(answer)) => {
                record.status = answer.status;
                if record.mutates() && record.outcome().await.is_err() {
                    return self.refuse(session, record, Refusal::AuditUncertain).await;
                }
                record.answer_bytes = answer.body.len() as u64;
                self.write(session, record, answer).await
            }
            Ok(Reply::Pieces(pieces)) => {
                record.status = 200;
                let vigil = stream::Vigil::begin(
                    session.req_header(),
                    record.certificate.clone(),
                    admitted,
                    &self.state,
                    &record.snapshot.settings.streams,
                );
                pieces.write(session, record, vigil).await
            }
            Err(refusal) => {
                record.status = refusal.status();
                let uncertain = record.mutates() && record.outcome().await.is_err();
                let refusal = if uncertain {
                    Refusal::AuditUncertain
                } else {
                    refusal
                };
                self.refuse(session, record, refusal).await
            }
        }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Option<Box<RequestRecord>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// Opens the record: from here on every request ends in one.
    async fn early_request_filter(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let record = RequestRecord::open(session, Arc::clone(&self.state));
        *context = Some(Box::new(internal(record, "cannot name the request")?));
        Ok(())
    }

    /// Admits the request, or answers it here.
    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        let record = record(context)?;
        let snapshot = Arc::clone(&record.snapshot);
        let bounds = &snapshot.settings.limits;
        let websocket = self.prepare(session, bounds);
        let peer = Peer {
            address: record.client,
            certificate: record.certificate.as_deref(),
        };
        let admission = admission::admit(
            session.req_header(),
            &peer,
            &self.state,
            &snapshot,
            clock::now(),
        );
        let admitted = match admission.await {
            Ok(admitted) => admitted,
            Err(turned) => {
                record.operation = turned.operation;
                record.credential = turned.credential;
                self.refuse(session, record, turned.refusal).await?;
                return Ok(true);
            }
        };
        record.admitted(&admitted);
        if websocket && !admitted.operation().stream {
            let refusal = Refusal::Malformed("this operation is no WebSocket");
            self.refuse(session, record, refusal).await?;
            return Ok(true);
        }
        if admitted.operation().mutates() && record.decide().await.is_err() {
            self.refuse(session, record, Refusal::AuditUnavailable)
                .await?;
            return Ok(true);
        }
        if record.is_announced() && record.announce().await == Kept::Lost {
            self.refuse(session, record, Refusal::AuditUnavailable)
                .await?;
            return Ok(true);
        }
        match admitted.operation().owner {
            Owner::Gateway => {
                self.answer(session, record, &admitted).await?;
                Ok(true)
            }
            Owner::Runtime if admitted.operation().stream => {
                if let Some(refusal) =
                    stream::relay(session, record, &admitted, &self.state).await?
                {
                    self.refuse(session, record, refusal).await?;
                }
                Ok(true)
            }
            Owner::Runtime if session.is_body_done() => {
                forward::forward(session, record, &admitted, &self.state).await?;
                Ok(true)
            }
            Owner::Runtime => {
                record.awaits_body();
                ask_for_body(session).await?;
                Ok(false)
            }
        }
    }

    /// Chooses the connection to the runtime.
    async fn upstream_peer(
        &self,
        _session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let record = record(context)?;
        record.forwarding();
        upstream::peer(admitted(record)?, &record.snapshot.settings.runtime)
    }

    /// Bounds the body, and leaves out the empty last chunk that would be sent twice.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        let record = record(context)?;
        let bytes = body.as_ref().map_or(0, Bytes::len);
        let came = record.body_came(bytes, end_of_stream);
        if came > admitted(record)?.operation().body_bytes_max {
            return Err(Error::new_down(BODY_TOO_LONG));
        }
        Ok(())
    }

    /// States the caller, anew for each attempt.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let record = record(context)?;
        upstream::prepare(upstream_request, admitted(record)?, record, &self.state)
    }

    /// Takes the runtime's note, removes internal fields, and makes a mutation's outcome durable
    /// before the status line leaves.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let record = record(context)?;
        if response.status.is_informational() {
            return upstream::receive_interim(response, record);
        }
        upstream::receive(response, session.req_header(), record).await
    }

    /// Counts what leaves.
    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        if let (Some(record), Some(chunk)) = (context.as_mut(), body) {
            record.answer_bytes += chunk.len() as u64;
        }
        Ok(None)
    }

    /// Answers a request that could not be carried out.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let gone = FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        };
        let Some(record) = context.as_mut() else {
            return gone;
        };
        if is_slow_reader(error) {
            record.cut(Dropped::TooSlow);
            return gone;
        }
        let Some(mut refusal) = refusal_of(error) else {
            return gone;
        };
        if answered_status(session).is_some() {
            // The status line has left; only the end of the connection can tell now.
            record.refused(refusal);
            return gone;
        }
        record.status = refusal.status();
        if record.mutates() && record.outcome().await.is_err() {
            refusal = Refusal::AuditUncertain;
        }
        let error_code = refusal.status();
        if let Err(error) = self.refuse(session, record, refusal).await {
            tracing::debug!(%error, "the caller was gone before the refusal");
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    /// Ends the record.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Self::CTX) {
        if let Some(record) = context.as_mut() {
            if record.status == 0 {
                record.status = answered_status(session).unwrap_or(0);
            }
            record.end(error.is_some()).await;
        }
    }

    /// Failures are in the record and the metrics; Pingora need not log them again.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, error: &Error) -> bool {
        tracing::debug!(%error, "request failed");
        true
    }
}

/// Returns whether the rest of a body is short enough to be read, and sure to come.
fn has_short_body(header: &RequestHeader) -> bool {
    !header.headers.contains_key(EXPECT)
        && admission::declared_body(header).is_some_and(|bytes| bytes <= DRAIN_BYTES_MAX)
}

fn record(context: &mut Option<Box<RequestRecord>>) -> pingora::Result<&mut RequestRecord> {
    context
        .as_deref_mut()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "request without a record"))
}

fn admitted(record: &RequestRecord) -> pingora::Result<&Admitted> {
    record
        .admission
        .as_ref()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "request without admission"))
}

/// Lets a caller send the body who waits to be asked for it (RFC 9110, section 10.1.1).
///
/// # Errors
/// When the caller is gone.
pub(crate) async fn ask_for_body(session: &mut Session) -> pingora::Result<()> {
    if session.is_body_done() || !limits::expects_to_be_asked(session.req_header()) {
        return Ok(());
    }
    let downstream = session.as_downstream_mut();
    let keepalive = downstream.get_keepalive();
    downstream.write_continue_response().await?;
    // The library takes it for an answer before the end of the request, after which nothing follows.
    downstream.set_keepalive(keepalive);
    Ok(())
}

/// Returns the status of the answer whose header has left.
fn answered_status(session: &Session) -> Option<u16> {
    let sent = session.response_written()?;
    (!sent.status.is_informational()).then(|| sent.status.as_u16())
}

/// Returns whether a caller did not take its answer in time.
fn is_slow_reader(error: &Error) -> bool {
    // The library marks the runtime's side alone.
    *error.esource() != ErrorSource::Upstream && *error.etype() == ErrorType::WriteTimedout
}

/// Returns what to tell the caller; none if the caller is gone.
fn refusal_of(error: &Error) -> Option<Refusal> {
    if *error.etype() == AUDIT_UNCERTAIN {
        return Some(Refusal::AuditUncertain);
    }
    if *error.etype() == BODY_TOO_LONG {
        return Some(Refusal::BodyTooLong { bytes_max: 0 });
    }
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Some(Refusal::RuntimeSlow)
        }
        (ErrorSource::Upstream, ErrorType::InvalidHTTPHeader) => Some(Refusal::RuntimeBroken),
        (ErrorSource::Upstream, _) => Some(Refusal::RuntimeAway),
        (
            ErrorSource::Downstream,
            ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
        ) => None,
        (ErrorSource::Downstream, _) => Some(Refusal::Malformed("the request could not be read")),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Refusal::Internal),
    }
}
