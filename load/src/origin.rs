//! The origin behind every proxy that is measured: the same short answer to every request, on a
//! Unix socket, as fast as one thread can.
//!
//! It reads just enough of HTTP/1.1 to know where a request ends. It is no server for anything
//! else.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{MissedTickBehavior, interval};

use crate::head::Head;

/// What every request is answered with.
const BODY: &str = r#"{"status":"ok","version":"0.0.0","sessions":[],"note":"load test origin"}"#;

/// Longest head that the origin reads.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Events per second that a stream gets.
const EVENTS_PER_SECOND: u32 = 20;

/// Answers on a Unix socket until the process is ended.
///
/// # Errors
/// When the socket cannot be bound.
pub(crate) async fn serve(socket: &Path) -> anyhow::Result<()> {
    if socket.exists() {
        fs::remove_file(socket).with_context(|| format!("cannot remove {}", socket.display()))?;
    }
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A proxy that hangs up ends its connection and nothing else.
        tokio::spawn(connection(stream));
    }
}

async fn connection(mut stream: UnixStream) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let Some(head) = Head::find(&buffer) else {
            if buffer.len() > HEAD_BYTES_MAX || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if asks_for_stream(&buffer[..head.length]) {
            return events(stream).await;
        }
        let end = head.length + head.body.unwrap_or(0);
        while buffer.len() < end {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..end);
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn asks_for_stream(head: &[u8]) -> bool {
    let accept = b"text/event-stream";
    head.windows(accept.len())
        .any(|window| window.eq_ignore_ascii_case(accept))
}

/// Sends numbered events, each with the time at which it left, until the reader goes.
async fn events(mut stream: UnixStream) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut ticks = interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_u64.. {
        ticks.tick().await;
        let event = format!("id: {number}\ndata: {}\n\n", crate::moment::now_us());
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        stream.write_all(chunk.as_bytes()).await?;
    }
    Ok(())
}
