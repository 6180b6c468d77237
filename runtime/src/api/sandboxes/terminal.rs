//! A caller's terminal over a WebSocket: what is typed and shown as binary messages, the rest as text.
//!
//! Invariant: the shell hangs up when the caller leaves, and the caller when the sandbox ends.

use std::future::Future;

use config::contract::sandbox::ShellMessage;
use jail::order::Size;
use tokio::io::WriteHalf;
use tokio::sync::mpsc;

use crate::api::websocket::frame::Frame;
use crate::api::websocket::{NORMAL, SAID_MAX, Stream, give, listen};
use crate::session::standing::{Keys, Shell};

/// Carries over until one side is done.
pub(super) async fn converse(shell: Shell, stream: Stream, ending: impl Future<Output = ()>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (sender, said) = mpsc::channel(SAID_MAX);
    let listening = tokio::spawn(listen(reader, sender));
    let last = carry(shell, &mut writer, said, ending).await;
    listening.abort();
    let text = serde_json::to_string(&last).unwrap_or_default();
    for frame in [Frame::Text(text), Frame::close(NORMAL)] {
        if give(&mut writer, &frame).await.is_err() {
            tracing::debug!("caller of a shell left first");
            return;
        }
    }
}

/// Carries over to the end and returns what is to be said last.
async fn carry(
    shell: Shell,
    writer: &mut WriteHalf<Stream>,
    mut said: mpsc::Receiver<Frame>,
    ending: impl Future<Output = ()>,
) -> ShellMessage {
    let Shell {
        mut screen,
        mut keys,
    } = shell;
    tokio::pin!(ending);
    loop {
        tokio::select! {
            shown = screen.next() => match shown {
                Ok(Some(bytes)) => {
                    if give(writer, &Frame::Binary(bytes)).await.is_err() {
                        return refused("the caller takes nothing");
                    }
                }
                Ok(None) | Err(_) => {
                    // Its other half is still open; what is typed now reaches nobody.
                    drop(keys);
                    return match screen.code().await {
                        Some(code) => ShellMessage::Ended { code },
                        None => refused("the sandbox has ended"),
                    };
                }
            },
            frame = said.recv() => match frame {
                Some(Frame::Close(_)) | None => return refused("the caller has left"),
                Some(frame) => {
                    if let Err(why) = hear(&mut keys, writer, frame).await {
                        return refused(&why);
                    }
                }
            },
            () = &mut ending => return refused("the sandbox is being ended"),
        }
    }
}

/// Does what the caller's frame asks for.
async fn hear(keys: &mut Keys, writer: &mut WriteHalf<Stream>, frame: Frame) -> Result<(), String> {
    match frame {
        Frame::Binary(bytes) => keys.press(&bytes).await.map_err(|error| error.to_string()),
        Frame::Text(text) => match serde_json::from_str(&text) {
            Ok(ShellMessage::Resize { columns, rows }) => {
                keys.resize(Size { columns, rows }).await;
                Ok(())
            }
            Ok(ShellMessage::Ended { .. } | ShellMessage::Refused { .. }) | Err(_) => {
                Err("a message is not understood".to_owned())
            }
        },
        Frame::Ping(payload) => {
            let given = give(writer, &Frame::Pong(payload)).await;
            given.map_err(|_| "the caller takes nothing".to_owned())
        }
        Frame::Pong(_) | Frame::Close(_) => Ok(()),
    }
}

fn refused(reason: &str) -> ShellMessage {
    ShellMessage::Refused {
        reason: reason.to_owned(),
    }
}
