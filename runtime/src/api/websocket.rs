//! `GET /ws`: what happens in all sessions that a caller may see, in the envelope of Loki Mode:
//! `{"type", "data"}`.
//!
//! Invariant: every frame is bounded; a reader that does not keep up is closed, and has everything
//! when it subscribes again with the last number that it saw.

pub(super) mod frame;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::contract::caller::Statement;
use config::contract::id::SessionId;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::Api;
use super::problem::{Refused, invalid};
use crate::session::may_see;
use crate::store::StoreError;
use frame::Frame;

pub(super) type Stream = TokioIo<Upgraded>;

/// What a client can say.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Value,
}

/// Turns the connection into a WebSocket.
pub(super) async fn open(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    mut request: Request,
) -> Result<Response, Refused> {
    let accept = accept(request.headers())?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(not_asked)?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => converse(&api, &statement, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "connection not upgraded"),
        }
    });
    let headers = [
        (header::UPGRADE, "websocket".to_owned()),
        (header::CONNECTION, "upgrade".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Checks the opening handshake and returns its answer (RFC 6455, 4.2).
pub(super) fn accept(headers: &HeaderMap) -> Result<String, Refused> {
    let is = |name, wanted: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    if !is(header::UPGRADE, "websocket") || !is(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(not_asked());
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(not_asked)?;
    let text = [key.as_bytes(), GUID].concat();
    Ok(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text)))
}

pub(super) fn not_asked() -> Refused {
    let fix = "open it as a WebSocket, version 13";
    invalid(426, "this is no opening of a WebSocket", fix)
}

/// Talks until the client leaves or does not keep up.
async fn converse(api: &Api, statement: &Statement, stream: Stream) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (sender, said) = mpsc::channel(SAID_MAX);
    let listening = tokio::spawn(listen(reader, sender));
    let mut conversation = Conversation {
        api,
        statement,
        cursors: BTreeMap::new(),
    };
    let code = match conversation.go_on(&mut writer, said).await {
        Ok(code) => code,
        Err(error) => {
            tracing::warn!(%error, "stream of events broken off");
            INTERNAL
        }
    };
    listening.abort();
    if give(&mut writer, &Frame::close(code)).await.is_err() {
        tracing::debug!("client of a WebSocket left first");
    }
}

/// Hands what the client says on, until it leaves or breaks the rules.
pub(super) async fn listen(mut reader: ReadHalf<Stream>, sender: mpsc::Sender<Frame>) {
    while let Ok(frame) = frame::read(&mut reader).await {
        if sender.send(frame).await.is_err() {
            return;
        }
    }
}

/// The client is gone or too slow.
pub(super) struct Gone;

struct Conversation<'api> {
    api: &'api Api,
    statement: &'api Statement,
    /// The number of the last event that was sent, for each session.
    cursors: BTreeMap<SessionId, u64>,
}

impl Conversation<'_> {
    async fn go_on(
        &mut self,
        writer: &mut WriteHalf<Stream>,
        mut said: mpsc::Receiver<Frame>,
    ) -> Result<u16, StoreError> {
        let mut stored = self.api.store.watch_events();
        for live in self.api.sessions.visible_live(&self.statement.caller) {
            let last = self.api.store.last_event(live.id()).await?;
            self.cursors.insert(live.id().clone(), last);
        }
        let hello = json!({ "version": env!("CARGO_PKG_VERSION") });
        if tell(writer, "connected", &hello).await.is_err() {
            return Ok(NORMAL);
        }
        loop {
            let answered = tokio::select! {
                frame = said.recv() => match frame {
                    Some(Frame::Text(text)) => self.answer(writer, &text).await?,
                    Some(Frame::Ping(payload)) => give(writer, &Frame::Pong(payload)).await,
                    Some(Frame::Pong(_)) => Ok(()),
                    Some(Frame::Binary(_)) => return Ok(UNSUPPORTED),
                    Some(Frame::Close(_)) | None => return Ok(NORMAL),
                },
                changed = stored.changed() => {
                    if changed.is_err() {
                        return Ok(NORMAL);
                    }
                    tokio::time::sleep(COALESCED).await;
                    stored.mark_unchanged();
                    self.send_events(writer).await?
                }
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    tell(writer, "ping", &json!({})).await
                }
            };
            if answered.is_err() {
                return Ok(TRY_AGAIN);
            }
        }
    }

    async fn answer(
        &mut self,
        writer: &mut WriteHalf<Stream>,
        text: &str,
    ) -> Result<Result<(), Gone>, StoreError> {
        let Ok(said) = serde_json::from_str::<Said>(text) else {
            let why = json!({ "detail": "not an object with type and data" });
            return Ok(tell(writer, "error", &why).await);
        };
        match said.kind.as_str() {
            "ping" => Ok(tell(writer, "pong", &json!({})).await),
            "pong" => Ok(Ok(())),
            "subscribe" => {
                self.subscribe(&said.data).await?;
                if tell(writer, "subscribed", &said.data).await.is_err() {
                    return Ok(Err(Gone));
                }
                self.send_events(writer).await
            }
            _ => {
                let why = json!({ "detail": "use ping or subscribe" });
                Ok(tell(writer, "error", &why).await)
            }
        }
    }

    /// Sets the cursor of a session that the caller may see: `{"session": ID, "after": NUMBER}`.
    async fn subscribe(&mut self, data: &Value) -> Result<(), StoreError> {
        let id = data["session"].as_str().and_then(|id| id.parse().ok());
        let Some(id): Option<SessionId> = id else {
            return Ok(());
        };
        let view = self.api.store.session(&id).await?;
        if view.is_some_and(|view| may_see(&self.statement.caller, &view.project)) {
            self.cursors.insert(id, data["after"].as_u64().unwrap_or(0));
        }
        Ok(())
    }

    async fn send_events(
        &mut self,
        writer: &mut WriteHalf<Stream>,
    ) -> Result<Result<(), Gone>, StoreError> {
        for live in self.api.sessions.visible_live(&self.statement.caller) {
            self.cursors.entry(live.id().clone()).or_insert(0);
        }
        for (id, cursor) in &mut self.cursors {
            loop {
                let page = self.api.store.events(id, *cursor, EVENTS_MAX).await?;
                let events = page.map(|page| page.events).unwrap_or_default();
                if events.is_empty() {
                    break;
                }
                for event in events {
                    *cursor = event.seq;
                    let mut data = json!(event);
                    data["session"] = json!(id);
                    if tell(writer, "session_event", &data).await.is_err() {
                        return Ok(Err(Gone));
                    }
                }
            }
        }
        Ok(Ok(()))
    }
}

async fn tell(writer: &mut WriteHalf<Stream>, kind: &str, data: &Value) -> Result<(), Gone> {
    let text = json!({ "type": kind, "data": data }).to_string();
    give(writer, &Frame::Text(text)).await
}

pub(super) async fn give(writer: &mut WriteHalf<Stream>, frame: &Frame) -> Result<(), Gone> {
    let written = tokio::time::timeout(SLOW_AFTER, frame::write(writer, frame)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
pub(super) const NORMAL: u16 = 1000;
const UNSUPPORTED: u16 = 1003;
const INTERNAL: u16 = 1011;
const TRY_AGAIN: u16 = 1013;
pub(super) const SAID_MAX: usize = 16;
const EVENTS_MAX: u32 = 200;
const SLOW_AFTER: Duration = Duration::from_secs(10);
const COALESCED: Duration = Duration::from_millis(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
