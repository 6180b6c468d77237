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
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::fanout::Framing;
use crate::head::Head;
use crate::moment;

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

/// Answers one connection's requests until it ends.
///
/// # Errors
/// When the peer is gone.
pub(crate) async fn connection<T>(mut stream: T) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
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
        let asked = &buffer[..head.length];
        if names(asked, b"text/event-stream") {
            return events(stream, Framing::Sse).await;
        }
        if names(asked, b"upgrade: websocket") {
            stream.write_all(&switched(asked)).await?;
            return events(stream, Framing::WebSocket).await;
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

fn names(head: &[u8], words: &[u8]) -> bool {
    head.windows(words.len())
        .any(|window| window.eq_ignore_ascii_case(words))
}

/// Agrees to speak WebSocket (RFC 6455, section 4.2.2).
fn switched(head: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"sec-websocket-key:";
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let key = head
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(NAME.len())?;
            name.eq_ignore_ascii_case(NAME).then(|| value.trim_ascii())
        })
        .unwrap_or_default();
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accept)
    )
    .into_bytes()
}

/// Sends numbered events, each with the time at which it left, until the reader goes.
async fn events<T>(mut stream: T, framing: Framing) -> io::Result<()>
where
    T: AsyncWrite + Unpin,
{
    if framing == Framing::Sse {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
    }
    let mut ticks = interval(Duration::from_secs(1) / EVENTS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_u64.. {
        ticks.tick().await;
        let now = moment::now_us();
        let bytes = match framing {
            Framing::Sse => {
                let event = format!("id: {number}\ndata: {now}\n\n");
                format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
            }
            Framing::WebSocket => {
                let message = format!("{number} {now}");
                // Two numbers of 64 bits are far below the 125 bytes of a short frame.
                let length = u8::try_from(message.len()).unwrap_or(0);
                [&[0x81, length], message.as_bytes()].concat()
            }
        };
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
    Ok(())
}
