//! Relays a WebSocket: bytes as they are, frames counted but not read.

use bytes::{Buf, Bytes};
use config::gateway::streams::Streams;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ending::{Ended, Ending, Vigil};
use super::frames::Frames;
use crate::request::RequestRecord;

/// Bytes that are read from the runtime at once.
const READ_BYTES: usize = 16 * 1024;

/// Relays both ways until one side closes. What waits for the runtime never keeps the caller from
/// being served.
///
/// # Errors
/// When a side breaks off.
pub(super) async fn relay(
    session: &mut Session,
    record: &mut RequestRecord,
    upgraded: Upgraded,
    mut vigil: Vigil<'_>,
    bounds: &Streams,
) -> pingora::Result<Ended> {
    let (mut from_runtime, mut to_runtime) = tokio::io::split(TokioIo::new(upgraded));
    let mut buffer = vec![0; READ_BYTES];
    let mut waiting = Bytes::new();
    let mut caller_closed = false;
    let mut to_caller = Frames::new(bounds.frame_bytes_max);
    let mut from_caller = Frames::new(bounds.frame_bytes_max);
    loop {
        tokio::select! {
            read = from_runtime.read(&mut buffer) => {
                let count = read
                    .or_err(ErrorType::ReadError, "the runtime broke off a WebSocket")
                    .map_err(|error| error.into_up())?;
                if count == 0 {
                    return end(session, Ending::Runtime, &to_caller).await;
                }
                if to_caller.follow(&buffer[..count]).is_err() {
                    return Ok(Ended::abruptly(Ending::FrameTooLong));
                }
                record.answer_bytes += count as u64;
                let data = Bytes::copy_from_slice(&buffer[..count]);
                let writing = session.write_response_body(Some(data), false);
                if let Some(ending) = vigil.over(writing).await? {
                    return Ok(Ended::abruptly(ending));
                }
            }
            came = session.as_downstream_mut().read_request_body(),
                if waiting.is_empty() && !caller_closed =>
            {
                match came? {
                    Some(data) => {
                        vigil.moved();
                        record.body_bytes += data.len() as u64;
                        if from_caller.follow(&data).is_err() {
                            return end(session, Ending::FrameTooLong, &to_caller).await;
                        }
                        waiting = data;
                    }
                    None => {
                        caller_closed = true;
                        to_runtime
                            .shutdown()
                            .await
                            .or_err(ErrorType::WriteError, "the runtime broke off a WebSocket")
                            .map_err(|error| error.into_up())?;
                    }
                }
            }
            wrote = to_runtime.write(&waiting), if !waiting.is_empty() => {
                match wrote {
                    Ok(count) if count > 0 => waiting.advance(count),
                    Ok(_) | Err(_) => {
                        return Err(Error::explain(
                            ErrorType::WriteError,
                            "the runtime broke off a WebSocket",
                        )
                        .into_up());
                    }
                }
            }
            () = vigil.time_to_judge() => {
                if let Some(ending) = vigil.judge().await {
                    return end(session, ending, &to_caller).await;
                }
            }
        }
    }
}

/// Ends the caller's side: with a close frame where we end it and no frame is under way.
async fn end(session: &mut Session, by: Ending, to_caller: &Frames) -> pingora::Result<Ended> {
    if let Some(status) = by.close_status()
        && to_caller.is_between_frames()
    {
        let [high, low] = status.to_be_bytes();
        let frame = Bytes::copy_from_slice(&[0x88, 2, high, low]);
        session.write_response_body(Some(frame), false).await?;
    }
    session.write_response_body(None, true).await?;
    Ok(Ended::cleanly(by))
}
