//! `loki sandbox shell`: this terminal at a shell in the sandbox.
//!
//! Invariant: the terminal is as it was before when the command ends, however that is.

mod frame;
mod terminal;

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use ::config::contract::sandbox::ShellMessage;
use reqwest::Upgraded;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::frame::Frame;
use self::terminal::Raw;
use super::live::Which;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Which sandbox to open a shell in.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let (client, view) = arguments.which.find(context)?;
    let (columns, rows) = terminal::size();
    let mut path = format!(
        "/api/sandboxes/{}/shell?columns={columns}&rows={rows}",
        view.id
    );
    if let Some(kind) = context.variable("TERM") {
        path.push_str(&format!("&terminal={}", output::encoded(kind)));
    }
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let last = executor.block_on(async {
        let stream = client.websocket(&path).await?;
        let _raw = Raw::enter();
        carry(stream).await
    })?;
    match last {
        ShellMessage::Ended { code: 0 } => Ok(()),
        ShellMessage::Ended { code } => {
            output::error(&format!("the shell ended with {code}"));
            Err(Failure::said(Exit::Failed))
        }
        ShellMessage::Refused { reason } => Err(Failure::failed(output::visible(&reason))),
        ShellMessage::Resize { .. } => Err(Failure::failed("the gateway says what it should not")),
    }
}

/// Carries over what is typed and shown until the shell has ended.
async fn carry(stream: Upgraded) -> Result<ShellMessage, Failure> {
    let (reader, mut writer) = tokio::io::split(stream);
    let (sender, mut shown) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(listen(reader, sender));
    let (keys, mut typed) = mpsc::channel(FRAMES_MAX);
    thread::spawn(move || type_from_stdin(&keys));
    let mut resized = signal(SignalKind::window_change())
        .map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))?;
    let mut is_over = false;
    loop {
        let frame = tokio::select! {
            frame = shown.recv() => match frame {
                Some(Frame::Binary(bytes)) => {
                    show(&bytes)?;
                    continue;
                }
                Some(Frame::Text(text)) => {
                    return serde_json::from_str(&text)
                        .map_err(|_| Failure::failed("the gateway says what is not understood"));
                }
                Some(Frame::Ping(payload)) => Frame::Pong(payload),
                Some(Frame::Pong(_)) => continue,
                Some(Frame::Close(_)) | None => {
                    return Err(Failure::failed("the connection to the shell was ended"));
                }
            },
            Some(bytes) = typed.recv() => {
                is_over = bytes == [END_OF_INPUT];
                Frame::Binary(bytes)
            }
            // A shell that was not yet reading by keys has lost the first.
            () = tokio::time::sleep(END_AGAIN), if is_over => Frame::Binary(vec![END_OF_INPUT]),
            Some(()) = resized.recv() => {
                let (columns, rows) = terminal::size();
                let message = ShellMessage::Resize { columns, rows };
                Frame::Text(serde_json::to_string(&message).unwrap_or_default())
            }
        };
        give(&mut writer, &frame).await?;
    }
}

async fn give(writer: &mut WriteHalf<Upgraded>, frame: &Frame) -> Result<(), Failure> {
    let written = async {
        writer.write_all(&frame.written()).await?;
        writer.flush().await
    };
    let broken = |error| Failure::failed(format!("the connection to the shell broke: {error}"));
    written.await.map_err(broken)
}

async fn listen(mut reader: ReadHalf<Upgraded>, sender: mpsc::Sender<Frame>) {
    while let Ok(frame) = frame::read(&mut reader).await {
        if sender.send(frame).await.is_err() {
            return;
        }
    }
}

/// Hands on what is typed; the end of the input is typed as such.
fn type_from_stdin(keys: &mpsc::Sender<Vec<u8>>) {
    let mut stdin = std::io::stdin().lock();
    let mut bytes = [0; 4096];
    loop {
        let typed = match stdin.read(&mut bytes) {
            Ok(0) | Err(_) => vec![END_OF_INPUT],
            Ok(length) => bytes[..length].to_vec(),
        };
        let is_over = typed == [END_OF_INPUT];
        if keys.blocking_send(typed).is_err() || is_over {
            return;
        }
    }
}

/// Shows bytes as they are: this terminal is the shell's.
fn show(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))
}

const FRAMES_MAX: usize = 16;

const END_AGAIN: Duration = Duration::from_millis(300);

/// Ctrl-D.
const END_OF_INPUT: u8 = 4;
