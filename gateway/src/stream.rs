//! Relays what may go on for hours: server-sent events, and WebSockets.
//!
//! Invariant: a stream lives no longer than its caller's right to it. It has a connection of its own
//! to the runtime, and it ends when the credential is revoked, expires or is narrowed, when the
//! gateway stops, when nothing moves, or when its time is over; no other stream notices.

mod ending;
mod events;
mod frames;
mod origin;
mod places;
mod websocket;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, Request, StatusCode, Version, request};
use http_body_util::Empty;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use tokio::time::timeout;

use crate::admission::Admitted;
use crate::answer::internal;
use crate::limits;
use crate::refusal::Refusal;
use crate::request::RequestRecord;
use crate::state::State;
use crate::upstream;
use ending::Ended;
pub(crate) use ending::{Ending, Vigil};
use origin::{Answer, Asked};
pub(crate) use places::Streams;

/// Fields of an answer that belong to the connection to the runtime.
const OF_THE_HOP: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "upgrade"];

/// Forwards an admitted request and relays its answer to the end. Returns a refusal that is still to
/// be answered, if the status line has not left.
///
/// # Errors
/// When the connection cannot be used any more.
pub(crate) async fn relay(
    session: &mut Session,
    record: &mut RequestRecord,
    admitted: &Admitted,
    state: &State,
) -> pingora::Result<Option<Refusal>> {
    let settings = record.snapshot.settings.clone();
    let websocket = limits::asks_for_websocket(session.req_header());
    let principal = &admitted.caller().principal;
    let Some(_place) = state.streams.take(principal, websocket, &settings.streams) else {
        return Ok(Some(Refusal::TooManyStreams));
    };
    if let Err(refusal) = end_of_request(session, settings.limits.header_timeout).await {
        return Ok(Some(refusal));
    }
    let asked = request(session.req_header(), admitted, record, state)?;
    let answer = match origin::ask(asked, &settings.runtime).await {
        Ok(answer) => answer,
        Err(refusal) => return Ok(Some(refusal)),
    };
    if matches!(answer, Answer::WebSocket(..)) && !websocket {
        return Ok(Some(Refusal::RuntimeBroken));
    }
    let mut head = head_of(&answer, session.req_header())?;
    if let Err(error) = upstream::receive(&mut head, session.req_header(), record).await {
        tracing::debug!(%error, "the answer of a stream does not cross");
        let uncertain = *error.etype() == upstream::AUDIT_UNCERTAIN;
        return Ok(Some(if uncertain {
            Refusal::AuditUncertain
        } else {
            Refusal::RuntimeBroken
        }));
    }
    let bare = session.req_header().method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    session.write_response_header(Box::new(head), bare).await?;
    if bare {
        return Ok(None);
    }

    let watched = state.metrics.streams();
    watched.opened();
    let vigil = Vigil::begin(
        session.req_header(),
        record.certificate.clone(),
        admitted,
        state,
        &settings.streams,
    );
    let ended = match answer {
        Answer::Events(_, body) => events::relay(session, record, body, vigil).await,
        Answer::WebSocket(_, upgraded) => {
            websocket::relay(session, record, upgraded, vigil, &settings.streams).await
        }
    };
    let ending = ended.as_ref().map_or(Ending::Broken, |ended| ended.by);
    watched.ended(ending);
    record.streamed(ending.name());
    match ended? {
        Ended { clean: true, .. } => Ok(None),
        // The peer must see that something is missing.
        Ended { clean: false, .. } => Error::e_explain(
            ErrorType::ConnectionClosed,
            "the stream ended in the middle of a message",
        )
        .map_err(|error: Box<Error>| error.into_down()),
    }
}

/// Waits for the end of the request: no stream has a body.
async fn end_of_request(
    session: &mut Session,
    patience: std::time::Duration,
) -> Result<(), Refusal> {
    if session.is_body_done() {
        return Ok(());
    }
    match timeout(patience, session.read_request_body()).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(body))) if body.is_empty() => Ok(()),
        Ok(Ok(Some(_))) => Err(Refusal::BodyTooLong { bytes_max: 0 }),
        Ok(Err(_)) => Err(Refusal::Malformed("the request could not be read")),
        Err(_) => Err(Refusal::HeaderTimeout),
    }
}

/// Makes the runtime's request of the caller's.
fn request(
    asked: &RequestHeader,
    admitted: &Admitted,
    record: &RequestRecord,
    state: &State,
) -> pingora::Result<Asked> {
    let mut header = upstream::request(asked, admitted, record, state)?;
    if limits::asks_for_websocket(asked) {
        header.insert_header(CONNECTION, "Upgrade")?;
        header.insert_header(UPGRADE, "websocket")?;
    }
    let target = header
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let request = Request::builder()
        .method(header.method.clone())
        .uri(target)
        .body(Empty::new());
    let mut request = internal(request, "cannot make the runtime's request")?;
    *request.headers_mut() = request::Parts::from(header).headers;
    Ok(request)
}

/// Makes the caller's answer header of the runtime's.
fn head_of(answer: &Answer, asked: &RequestHeader) -> pingora::Result<ResponseHeader> {
    let parts = answer.parts();
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len()))?;
    for (name, value) in &parts.headers {
        if !OF_THE_HOP.contains(&name.as_str()) {
            head.append_header(name, value)?;
        }
    }
    match answer {
        Answer::WebSocket(..) => {
            head.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))?;
            head.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
        }
        Answer::Events(..) => {
            let open_ended = !parts.headers.contains_key(CONTENT_LENGTH);
            if open_ended && asked.version == Version::HTTP_11 {
                head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
        }
    }
    Ok(head)
}
