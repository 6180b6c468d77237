//! What the gateway itself answers, with the headers that every answer owes.

use std::io;

use bytes::Bytes;
use config::contract::id::RequestId;
use config::contract::problem::{self, Problem};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr};
use tokio::sync::mpsc;

use crate::limits;
use crate::refusal::Refusal;
use crate::request::RequestRecord;
use crate::stream::{Ending, Vigil};

/// The header that names a request in the audit trail.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What an answer tells of the caller's rates.
const RATE_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What every answer says to browsers, parsed once.
static PROTECTION: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// A year of TLS only (RFC 6797).
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A whole answer, held in memory.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The media type.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) body: Bytes,
    /// Further fields.
    pub(crate) fields: Vec<(http::HeaderName, String)>,
}

impl Answer {
    /// Builds a JSON answer.
    ///
    /// # Errors
    /// When the value cannot be put into JSON.
    pub(crate) fn json(status: u16, value: &impl serde::Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(value).map_err(|_| Refusal::Internal)?;
        Ok(Self {
            status,
            content_type: "application/json",
            body: Bytes::from(body),
            fields: Vec::new(),
        })
    }

    /// Builds an answer of text.
    pub(crate) fn text(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type,
            body: body.into(),
            fields: Vec::new(),
        }
    }

    /// Builds the answer of a refusal.
    pub(crate) fn refusal(refusal: &Refusal, record: &RequestRecord) -> Self {
        let mut problem = refusal.problem();
        problem.request_id = Some(record.id.to_string());
        let mut fields = Vec::new();
        if let Some(challenge) = refusal.challenge() {
            fields.push((WWW_AUTHENTICATE, challenge));
        }
        if let Some(seconds) = refusal.retry_after_seconds() {
            fields.push((RETRY_AFTER, seconds.to_string()));
        }
        if let Refusal::OtherMethod { allowed } = refusal {
            fields.push((ALLOW, allowed.join(", ")));
        }
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        Self {
            status: refusal.status(),
            content_type: problem::MEDIA_TYPE,
            body: Bytes::from(body),
            fields,
        }
    }

    /// Writes the answer; `HEAD` gets the same header without the body.
    ///
    /// # Errors
    /// When the peer is gone.
    pub(crate) async fn write(
        self,
        session: &mut Session,
        record: &RequestRecord,
    ) -> pingora::Result<()> {
        let mut header = header(self.status, self.content_type, session, record)?;
        header.insert_header(CONTENT_LENGTH, self.body.len())?;
        for (name, value) in self.fields {
            header.insert_header(name, value)?;
        }
        let head_only = session.req_header().method == http::Method::HEAD;
        let empty = head_only || self.body.is_empty();
        session
            .write_response_header(Box::new(header), empty)
            .await?;
        if !empty {
            session.write_response_body(Some(self.body), true).await?;
        }
        Ok(())
    }
}

/// An answer that comes piece by piece, while the caller may have it. A piece that is an error ends the
/// connection, so that the caller sees that something is missing; so does a credential that ends.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// The media type.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) body: mpsc::Receiver<io::Result<Bytes>>,
}

impl Pieces {
    /// Writes the answer as its pieces come; `HEAD` gets the header alone.
    ///
    /// # Errors
    /// When the peer is gone, a piece is an error, or the caller may not have the rest.
    pub(crate) async fn write(
        mut self,
        session: &mut Session,
        record: &mut RequestRecord,
        mut vigil: Vigil<'_>,
    ) -> pingora::Result<()> {
        let mut header = header(200, self.content_type, session, record)?;
        let request = session.req_header();
        let head_only = request.method == http::Method::HEAD;
        if request.version == http::Version::HTTP_11 {
            header.insert_header(TRANSFER_ENCODING, "chunked")?;
        }
        session
            .write_response_header(Box::new(header), head_only)
            .await?;
        if head_only {
            return Ok(());
        }
        loop {
            let Some(piece) = vigil.while_admitted(self.body.recv()).await else {
                return cut(record);
            };
            let Some(piece) = piece else {
                return session.write_response_body(None, true).await;
            };
            let piece = internal(piece, "the answer cannot be continued")?;
            let length = piece.len() as u64;
            let writing = session.write_response_body(Some(piece), false);
            match vigil.while_admitted(writing).await {
                Some(written) => written?,
                None => return cut(record),
            }
            record.answer_bytes += length;
        }
    }
}

/// Ends an answer in the middle because the credential has ended.
fn cut(record: &mut RequestRecord) -> pingora::Result<()> {
    record.streamed(Ending::Credential.name());
    Error::e_explain(
        ErrorType::ConnectionClosed,
        "the caller may not have the rest of the answer",
    )
    .map_err(|error: Box<Error>| error.into_down())
}

/// Begins the header of an answer of our own.
fn header(
    status: u16,
    content_type: &'static str,
    session: &Session,
    record: &RequestRecord,
) -> pingora::Result<ResponseHeader> {
    let mut parts = response::Parts::from(ResponseHeader::build_no_case(status, Some(12))?);
    let fields = &mut parts.headers;
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let loopback_name = limits::authority(session.req_header())
        .is_some_and(|authority| limits::is_loopback_name(host_of(authority)));
    let strict_transport = record.snapshot.tls.is_some() && !loopback_name;
    protect(&mut parts.headers, record, strict_transport)?;
    Ok(ResponseHeader::from(parts))
}

/// Returns the whole HTTP/1.1 answer of a refusal on a connection that ends with it.
pub(crate) fn raw(refusal: &Refusal, id: &RequestId) -> Vec<u8> {
    let mut problem = refusal.problem();
    problem.request_id = Some(id.to_string());
    raw_problem(&problem, id)
}

/// Returns the whole HTTP/1.1 answer of a problem on a connection that ends with it.
pub(crate) fn raw_problem(problem: &Problem, id: &RequestId) -> Vec<u8> {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         {REQUEST_ID}: {id}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        problem::MEDIA_TYPE,
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

/// Adds the fields that protect the reader of any answer, the runtime's too.
///
/// # Errors
/// When a field cannot be added.
pub(crate) fn protect(
    fields: &mut HeaderMap,
    record: &RequestRecord,
    strict_transport: bool,
) -> pingora::Result<()> {
    fields.insert(REQUEST_ID, value(record.id.as_str())?);
    if let Some((policy, limit)) = record.rate_fields() {
        fields.insert(RATE_POLICY, value(&policy)?);
        fields.insert(RATE_LIMIT, value(&limit)?);
    }
    for (name, said) in &PROTECTION {
        fields.insert(name, said.clone());
    }
    if strict_transport {
        fields.insert(STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    Ok(())
}

/// Most fields that [`protect`] adds.
pub(crate) const PROTECTION_FIELDS_MAX: usize = 8;

/// Returns the header of an answer with other fields, without the spelling of their names.
pub(crate) fn with_fields(answer: &ResponseHeader, fields: HeaderMap) -> ResponseHeader {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = answer.status;
    parts.version = answer.version;
    parts.headers = fields;
    ResponseHeader::from(parts)
}

/// Returns a text as the value of a field, without copying it.
///
/// # Errors
/// When it has a byte that no value may have.
pub(crate) fn owned_value(text: String) -> pingora::Result<HeaderValue> {
    internal(
        HeaderValue::from_maybe_shared(Bytes::from(text)),
        "a field cannot be written",
    )
}

/// Returns a text as the value of a field.
///
/// # Errors
/// When it holds what no field may.
pub(crate) fn value(text: &str) -> pingora::Result<HeaderValue> {
    internal(HeaderValue::from_str(text), "a field cannot be written")
}

/// Returns an authority without its port.
pub(crate) fn host_of(authority: &str) -> &str {
    let from = authority.rfind(']').unwrap_or(0);
    authority[from..]
        .rfind(':')
        .map_or(authority, |colon| &authority[..from + colon])
}

/// Wraps a failure that has no peer to blame.
pub(crate) fn internal<T, E>(result: Result<T, E>, what: &'static str) -> pingora::Result<T>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    result
        .or_err(ErrorType::InternalError, what)
        .map_err(Error::into_in)
}
