//! The body of a request that the gateway answers itself: read whole, bounded, as strict JSON.
//!
//! Invariant: nobody holds a request open by sending slowly, in HTTP/2 as in HTTP/1.

use std::time::Duration;

use pingora::proxy::Session;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::proxy;
use crate::refusal::Refusal;
use crate::request::RequestRecord;

/// Reads the body; its bytes are counted in the record.
///
/// # Errors
/// When it is longer than `bytes_max`, slower than the limits allow, or cannot be read.
pub(crate) async fn read(
    session: &mut Session,
    record: &mut RequestRecord,
    bytes_max: u64,
) -> Result<Vec<u8>, Refusal> {
    let limits = &record.snapshot.settings.limits;
    let rate = u64::from(limits.body_bytes_per_second_min.max(1));
    let first_due = Instant::now() + limits.header_timeout;
    let asked = proxy::ask_for_body(session).await;
    asked.map_err(|_| Refusal::Malformed("the body could not be asked for"))?;
    let mut body = Vec::new();
    loop {
        let due = first_due + Duration::from_secs(body.len() as u64 / rate);
        let read = session.as_downstream_mut().read_request_body();
        match timeout_at(due, read).await {
            Err(_) => return Err(Refusal::BodyTimeout),
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(chunk))) => {
                record.body_bytes += chunk.len() as u64;
                if record.body_bytes > bytes_max {
                    return Err(Refusal::BodyTooLong { bytes_max });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a request body broke off");
                return Err(Refusal::Malformed("the body could not be read"));
            }
        }
    }
}

/// Reads a JSON object of a known shape; an empty body counts as an empty object.
///
/// # Errors
/// What is wrong, naming the member.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    // Serde reads a struct from a list as well; a body is an object.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::BadBody("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::BadBody(error.to_string()))
}
