//! A session's events as server-sent events: those after a number, then each as it is stored.
//!
//! Invariant: every event is sent once and in order; a reader that does not keep up is dropped and has
//! everything when it comes again with the last number that it saw.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::contract::id::SessionId;
use config::contract::session::SessionEvent;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::Api;
use super::problem::{Refused, invalid};
use crate::store::{Store, StoreError};

/// Returns whether a caller wants a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    accepted
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains(MEDIA_TYPE))
}

/// Returns the number after which a reader goes on: what it says that it saw last, else what was asked.
pub(super) fn start(headers: &HeaderMap, asked: u64) -> Result<u64, Refused> {
    let Some(last) = headers.get("last-event-id") else {
        return Ok(asked);
    };
    let number = last.to_str().ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let fix = "send the id of the last event that you saw";
        invalid(400, "Last-Event-ID is not a number", fix)
    })
}

/// Begins to send a session's events after a number. One that has ended and has no more is answered
/// 204, at which a browser's reader stops.
pub(super) async fn events(api: &Api, id: SessionId, after: u64) -> Result<Response, Refused> {
    let first = api.store.events(&id, after, 1).await?;
    if first.is_none_or(|page| page.events.is_empty() && page.state.is_final()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let store = api.store.clone();
    tokio::spawn(async move {
        if let Err(error) = send(&store, &id, after, &sender).await {
            tracing::warn!(session = %id, %error, "stream of events broken off");
        }
    });
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

async fn send(
    store: &Store,
    id: &SessionId,
    mut after: u64,
    sender: &mpsc::Sender<Bytes>,
) -> Result<(), StoreError> {
    let mut stored = store.watch_events();
    loop {
        // Marked before the look, so that what is stored meanwhile wakes again.
        stored.mark_unchanged();
        let Some(page) = store.events(id, after, EVENTS_MAX).await? else {
            return Ok(());
        };
        if page.events.is_empty() {
            if page.state.is_final() {
                return Ok(());
            }
            match tokio::time::timeout(KEEP_ALIVE, stored.changed()).await {
                // What comes in a burst is sent together.
                Ok(Ok(())) => tokio::time::sleep(COALESCED).await,
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    if !give(sender, Bytes::from_static(b":\n\n")).await {
                        return Ok(());
                    }
                }
            }
            continue;
        }
        let mut text = String::new();
        for event in &page.events {
            after = event.seq;
            text.push_str(&written(event));
        }
        if !give(sender, Bytes::from(text)).await {
            tracing::info!(session = %id, after, "slow or gone reader of events dropped");
            return Ok(());
        }
    }
}

/// Hands a piece over; false if the reader is gone or takes nothing for too long.
async fn give(sender: &mpsc::Sender<Bytes>, bytes: Bytes) -> bool {
    sender.send_timeout(bytes, SLOW_AFTER).await.is_ok()
}

fn written(event: &SessionEvent) -> String {
    // What was read from JSON can be written as JSON, on one line.
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\ndata: {data}\n\n", event.seq)
}

/// The body of a stream.
struct Chunks(mpsc::Receiver<Bytes>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = self.0.poll_recv(context);
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

const MEDIA_TYPE: &str = "text/event-stream";
const EVENTS_MAX: u32 = 500;
/// Pieces on their way to a reader; with [`SLOW_AFTER`] the most that waits for a slow one.
const CHUNKS_MAX: usize = 4;
const SLOW_AFTER: Duration = Duration::from_secs(10);
const COALESCED: Duration = Duration::from_millis(5);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
