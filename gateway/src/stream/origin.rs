//! The runtime's side of a stream: a connection of its own, from the request to the end.

use bytes::Bytes;
use config::gateway::Upstream;
use http::header::UPGRADE;
use http::response::Parts;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{self, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// Longest header of an answer in bytes, and most of its fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 100;

/// The request to the runtime.
pub(super) type Asked = Request<Empty<Bytes>>;

/// What the runtime answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// A body that comes piece by piece.
    Events(Parts, Incoming),
    /// A WebSocket.
    WebSocket(Parts, Upgraded),
}

impl Answer {
    /// Returns status and fields.
    pub(super) const fn parts(&self) -> &Parts {
        match self {
            Self::Events(parts, _) | Self::WebSocket(parts, _) => parts,
        }
    }
}

/// Asks the runtime.
///
/// # Errors
/// What the caller is told instead.
pub(super) async fn ask(asked: Asked, upstream: &Upstream) -> Result<Answer, Refusal> {
    let away = |error: &dyn std::error::Error| {
        tracing::debug!(%error, "the runtime cannot be asked for a stream");
        Refusal::RuntimeAway
    };
    let connecting = UnixStream::connect(&upstream.socket);
    let stream = timeout(upstream.connect_timeout, connecting)
        .await
        .map_err(|error| away(&error))?
        .map_err(|error| away(&error))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| away(&error))?;
    // Ends when the answer's body, or what it was upgraded to, is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a stream's connection to the runtime ended");
        }
    });
    let answer = match timeout(upstream.read_timeout, sender.send_request(asked)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is_parse() => return Err(Refusal::RuntimeBroken),
        Ok(Err(error)) => return Err(away(&error)),
        Err(_) => return Err(Refusal::RuntimeSlow),
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = answer.into_parts();
        return Ok(Answer::Events(parts, body));
    }
    let agreed = answer
        .headers()
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !agreed {
        return Err(Refusal::RuntimeBroken);
    }
    let mut answer = answer;
    let upgraded = upgrade::on(&mut answer)
        .await
        .map_err(|_| Refusal::RuntimeBroken)?;
    let (parts, _) = answer.into_parts();
    Ok(Answer::WebSocket(parts, upgraded))
}
