//! Forwards a request that has no body, and relays its answer: most of what is asked.
//!
//! What has a body is forwarded by Pingora's own proxy, which carries both directions at once; here
//! there is one after the other, in one task, over Pingora's client for HTTP/1.
//!
//! Invariant: every function here demands `&Admitted`. A request that changes something goes out once;
//! a connection that was used before is asked for it only if the runtime has not ended it.

mod channel;
mod kept;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use tokio::time::{MissedTickBehavior, interval};

use crate::admission::Admitted;
use crate::answer;
use crate::request::RequestRecord;
use crate::state::State;
use crate::upstream;
pub(crate) use kept::Kept;

/// Forwards an admitted request and relays its answer to the end.
///
/// # Errors
/// When a side cannot be used any more, or the answer makes no sense; what to tell the caller, if the
/// status line has not left, is in the error's source and kind.
pub(crate) async fn forward(
    session: &mut Session,
    record: &mut RequestRecord,
    admitted: &Admitted,
    state: &State,
) -> pingora::Result<()> {
    record.forwarding();
    let mut origin = ask(session, record, admitted, state).await?;
    let head = head_of(&origin, session.req_header())?;
    let bare = has_no_body(session.req_header(), head.status);
    let mut head = Box::new(head);
    upstream::receive(&mut head, session.req_header(), record).await?;
    session.write_response_header(head, bare).await?;
    if !bare {
        relay(session, &mut origin, record).await?;
    }
    // The answer leaves before anything else is done.
    session.as_downstream_mut().finish_body().await?;
    origin.respect_keepalive();
    if let Some(stream) = origin.reuse().await {
        state.kept.put(&admitted.caller().principal, stream);
    }
    Ok(())
}

/// Closes connections to the runtime that nobody used for long, until it is dropped.
pub(crate) async fn sweep(state: Arc<State>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let idle_timeout = state.current.load().settings.runtime.idle_timeout;
        state.kept.sweep(idle_timeout);
    }
}

/// Sends the request and waits for the header of its answer.
async fn ask(
    session: &mut Session,
    record: &mut RequestRecord,
    admitted: &Admitted,
    state: &State,
) -> pingora::Result<HttpSession> {
    let snapshot = record.snapshot.clone();
    let settings = &snapshot.settings.runtime;
    let repeatable = !admitted.operation().mutates();
    let mut kept = state
        .kept
        .take(&admitted.caller().principal, repeatable, settings);
    loop {
        let used = kept.is_some();
        let stream = match kept.take() {
            Some(stream) => stream,
            None => channel::connect(settings).await?,
        };
        let mut origin = HttpSession::new(stream);
        origin.read_timeout = Some(settings.read_timeout);
        origin.write_timeout = Some(settings.read_timeout);
        let request = upstream::request(session.req_header(), admitted, record, state)?;
        let asking = exchange(&mut origin, request, record);
        match unless_gone(session, asking).await? {
            Ok(()) => return Ok(origin),
            // The runtime had ended a connection that waited, and read nothing of the request.
            Err(error) if used && repeatable && was_over(&error) => {
                tracing::debug!(%error, "a kept connection to the runtime was over");
            }
            Err(error) => return Err(error.into_up()),
        }
    }
}

/// Returns whether a failure is that of a connection which had ended before the request.
fn was_over(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::WriteError | ErrorType::ReadError
    )
}

/// Sends a header and reads the one that answers it; what comes before that is left out.
async fn exchange(
    origin: &mut HttpSession,
    request: RequestHeader,
    record: &mut RequestRecord,
) -> pingora::Result<()> {
    origin.write_request_header(Box::new(request)).await?;
    loop {
        origin.read_response().await?;
        match origin.get_status() {
            Some(status) if status.is_informational() => {
                upstream::allow_interim(status, record)?;
            }
            Some(_) | None => return Ok(()),
        }
    }
}

/// Relays the body of an answer piece by piece.
async fn relay(
    session: &mut Session,
    origin: &mut HttpSession,
    record: &mut RequestRecord,
) -> pingora::Result<()> {
    loop {
        let read = unless_gone(session, origin.read_body_bytes()).await?;
        let Some(piece) = read.map_err(|error| error.into_up())? else {
            return session.write_response_body(None, true).await;
        };
        record.answer_bytes += piece.len() as u64;
        let whole = origin.is_body_done();
        session.write_response_body(Some(piece), whole).await?;
        if whole {
            return Ok(());
        }
    }
}

/// Waits for the runtime as long as the caller waits for it.
async fn unless_gone<F: Future>(session: &mut Session, work: F) -> pingora::Result<F::Output> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        came = session.as_downstream_mut().read_body_or_idle(true) => {
            let gone = came.and_then(|_: Option<Bytes>| {
                Error::e_explain(ErrorType::ConnectionClosed, "the caller has gone")
            });
            gone.map_err(|error: Box<Error>| error.into_down())
        }
    }
}

/// Returns whether an answer ends with its header (RFC 9112, section 6.3).
fn has_no_body(asked: &RequestHeader, status: StatusCode) -> bool {
    asked.method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Makes the header that the caller gets of the one that came, without what belongs to the connection
/// to the runtime.
fn head_of(origin: &HttpSession, asked: &RequestHeader) -> pingora::Result<ResponseHeader> {
    let Some(came) = origin.resp_header() else {
        return Error::e_explain(ErrorType::InternalError, "an answer without a header");
    };
    let mut fields = HeaderMap::clone(&came.headers);
    fields.remove(&CONNECTION);
    let mut head = answer::with_fields(came, fields);
    head.set_version(Version::HTTP_11);
    let framed = head.headers.contains_key(CONTENT_LENGTH);
    if framed || has_no_body(asked, head.status) {
        return Ok(head);
    }
    // HTTP/2 has frames, and HTTP/1.0 the end of the connection.
    if asked.version == Version::HTTP_11 {
        head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    } else {
        head.remove_header(&TRANSFER_ENCODING);
    }
    Ok(head)
}
