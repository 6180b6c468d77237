//! Relays an answer chunk by chunk, as soon as each comes.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::ending::{Ended, Ending, Vigil};
use crate::request::RequestRecord;

/// Relays to the end.
///
/// # Errors
/// When a side breaks off.
pub(super) async fn relay(
    session: &mut Session,
    record: &mut RequestRecord,
    mut body: Incoming,
    mut vigil: Vigil<'_>,
) -> pingora::Result<Ended> {
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                None => {
                    session.write_response_body(None, true).await?;
                    return Ok(Ended::cleanly(Ending::Runtime));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if data.is_empty() {
                        continue;
                    }
                    record.answer_bytes += data.len() as u64;
                    let writing = session.write_response_body(Some(data), false);
                    if let Some(ending) = vigil.over(writing).await? {
                        return Ok(Ended::abruptly(ending));
                    }
                }
                Some(Err(error)) => {
                    return Err(Error::because(
                        ErrorType::ReadError,
                        "the runtime broke off a stream",
                        error,
                    )
                    .into_up());
                }
            },
            came = session.as_downstream_mut().read_body_or_idle(true) => {
                tracing::debug!(?came, "the caller ended a stream");
                return Ok(Ended::abruptly(Ending::Caller));
            }
            () = vigil.time_to_judge() => {
                if let Some(ending) = vigil.judge().await {
                    session.write_response_body(None, true).await?;
                    return Ok(Ended::cleanly(ending));
                }
            }
        }
    }
}
