//! Many readers of one stream each: how many events reach them, how late, and whether any is lost.
//!
//! Events are counted by their `id:` (server-sent events) or one by frame (WebSocket). Those of
//! our own origin carry the time at which they left, so that their age is known.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::client;
use crate::head::Head;
use crate::moment;
use crate::run::{Plan, Seen, Span};
use crate::target::Target;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The kinds of streams, with the credential to open them.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// How events are framed.
    pub(crate) framing: Framing,
    /// Path and query.
    pub(crate) path: Arc<str>,
    /// The token.
    pub(crate) credential: Option<String>,
}

/// How events are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Sse,
    /// WebSocket messages.
    WebSocket,
}

/// Begins the readers.
pub(crate) fn spawn(
    target: &Arc<Target>,
    stream: Stream,
    plan: &Plan,
    span: Span,
) -> JoinSet<anyhow::Result<Seen>> {
    let mut readers = JoinSet::new();
    let stream = Arc::new(stream);
    for _ in 0..plan.connections {
        readers.spawn(reader(Arc::clone(target), Arc::clone(&stream), span));
    }
    readers
}

async fn reader(target: Arc<Target>, stream: Arc<Stream>, span: Span) -> anyhow::Result<Seen> {
    let mut seen = Seen::new()?;
    let tcp = client::connect(&target).await?;
    let read = match &target.tls {
        None => read(tcp, &target, &stream, span, &mut seen).await,
        Some(tls) => {
            let connector = TlsConnector::from(tls.config.clone());
            let tls = connector.connect(tls.name.clone(), tcp).await?;
            read(tls, &target, &stream, span, &mut seen).await
        }
    };
    if read.is_err() {
        seen.failed();
    }
    Ok(seen)
}

async fn read<T>(
    mut transport: T,
    target: &Target,
    stream: &Stream,
    span: Span,
    seen: &mut Seen,
) -> anyhow::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    transport.write_all(&stream.request(target)?).await?;
    transport.flush().await?;
    let mut buffer = Vec::with_capacity(4 * 1024);
    let mut events = Events::default();
    let mut begun = false;
    loop {
        if begun {
            let used = match stream.framing {
                Framing::Sse => events.sse(&buffer, span, seen),
                Framing::WebSocket => events.frames(&buffer, span, seen)?,
            };
            buffer.drain(..used);
        } else if let Some(head) = Head::find(&buffer) {
            ensure!(
                matches!(head.status, 101 | 200),
                "the stream was answered with {}",
                head.status
            );
            buffer.drain(..head.length);
            begun = true;
            continue;
        }
        ensure!(
            buffer.len() < HEAD_BYTES_MAX,
            "an event or a head is too long"
        );
        match timeout_at(span.end, transport.read_buf(&mut buffer)).await {
            Err(_) => return Ok(()),
            Ok(Ok(0)) => bail!("the stream ended early"),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}

impl Stream {
    fn request(&self, target: &Target) -> anyhow::Result<Vec<u8>> {
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n",
            self.path, target.authority
        );
        if let Some(credential) = &self.credential {
            text.push_str(&format!("Authorization: Bearer {credential}\r\n"));
        }
        match self.framing {
            Framing::Sse => text.push_str("Accept: text/event-stream\r\n"),
            Framing::WebSocket => {
                let mut key = [0; 16];
                aws_lc_rs::rand::fill(&mut key)
                    .ok()
                    .context("no randomness")?;
                text.push_str(&format!(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: {}\r\n",
                    STANDARD.encode(key)
                ));
            }
        }
        text.push_str("\r\n");
        Ok(text.into_bytes())
    }
}

/// Where in its events a reader stands.
#[derive(Debug, Default)]
struct Events {
    last: Option<u64>,
}

impl Events {
    /// Counts the whole events in `buffer`; returns the bytes used.
    fn sse(&mut self, buffer: &[u8], span: Span, seen: &mut Seen) -> usize {
        let mut used = 0;
        while let Some(end) = find(&buffer[used..], b"\n\n") {
            let event = &buffer[used..used + end];
            used += end + 2;
            // Lines of the chunked framing have no colon and are passed over.
            let mut sent_us = None;
            let mut number = None;
            for line in event.split(|byte| *byte == b'\n') {
                if let Some(value) = line.strip_prefix(b"id:") {
                    number = digits(value);
                } else if let Some(value) = line.strip_prefix(b"data:") {
                    sent_us = digits(value);
                }
            }
            self.count(number, sent_us, span, seen);
        }
        used
    }

    /// Counts the whole WebSocket frames in `buffer`; returns the bytes used.
    fn frames(&mut self, buffer: &[u8], span: Span, seen: &mut Seen) -> anyhow::Result<usize> {
        const SHORT: usize = 126;
        let mut used = 0;
        while let [kind, length, rest @ ..] = &buffer[used..] {
            let length = usize::from(*length);
            ensure!(
                length < SHORT,
                "a frame is longer than those of the load test"
            );
            let Some(payload) = rest.get(..length) else {
                break;
            };
            ensure!(kind & 0x0f != 8, "the target closed the WebSocket");
            used += 2 + length;
            let mut words = payload.split(|byte| *byte == b' ');
            let number = words.next().and_then(digits);
            let sent_us = words.next().and_then(digits);
            self.count(number, sent_us, span, seen);
        }
        Ok(used)
    }

    fn count(&mut self, number: Option<u64>, sent_us: Option<u64>, span: Span, seen: &mut Seen) {
        if let (Some(last), Some(number)) = (self.last, number)
            && number != last + 1
        {
            seen.failed();
        }
        self.last = number.or(self.last);
        let now = Instant::now();
        if now >= span.start {
            let age = sent_us.map_or(0, |sent| moment::now_us().saturating_sub(sent));
            seen.took(&span, now, age);
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::{Events, Framing, Stream};
    use crate::origin;
    use crate::run::{self, Plan, Seen, Span};
    use crate::scenario::{Load, Work};
    use crate::target::{Protocol, Target};

    #[tokio::test]
    async fn readers_of_both_framings_get_every_event() {
        for framing in [Framing::Sse, Framing::WebSocket] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let serving = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(origin::connection(stream));
                }
            });
            let url = format!("http://{address}/events");
            let target = Target::parse(&url, None, Protocol::Http1, false).expect("a target");
            let load = Load {
                name: "fanout",
                work: Work::Fanout(Stream {
                    framing,
                    path: "/events".into(),
                    credential: None,
                }),
            };
            let plan = Plan {
                connections: 5,
                streams: 1,
                warm_up: Duration::ZERO,
                duration: Duration::from_secs(1),
                rate: None,
            };
            let figure = run::run(&target, load, &plan).await.expect("a figure");
            assert!(figure.is_clean() && figure.count >= 5 * 5, "{figure:?}");
            serving.abort();
        }
    }

    #[test]
    fn a_lost_event_is_noticed() {
        let start = Instant::now();
        let span = Span {
            start,
            end: start + Duration::from_secs(1),
        };
        let mut seen = Seen::new().expect("histogram");
        let mut events = Events::default();
        let bytes = b"1c\r\nid: 1\ndata: 5\n\n\r\n1c\r\nid: 2\ndata: 6\n\n\r\n";
        // The line end of the last chunk belongs to the next event.
        assert_eq!(events.sse(bytes, span, &mut seen), bytes.len() - 2);
        assert_eq!((seen.errors(), seen.count()), (0, 2));
        events.sse(b"id: 4\ndata: 7\n\nid: 5", span, &mut seen);
        assert_eq!((seen.errors(), seen.count()), (1, 3));
        let frames = b"\x81\x036 9\x81\x038 9\x81\x7d";
        assert_eq!(events.frames(frames, span, &mut seen).ok(), Some(10));
        // 5 and 7 are lost.
        assert_eq!((seen.errors(), seen.count()), (3, 5));
    }
}
