//! One kept-open connection to the target.
//!
//! HTTP/1.1 is written and read by hand: what the load generator spends, the target cannot use.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::head::{self, Head};
use crate::request::Request;
use crate::target::{Protocol, Target};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection that asks one request after the other.
#[derive(Debug)]
pub(crate) enum Client {
    /// HTTP/1.1 without TLS.
    Plain(Http1<TcpStream>),
    /// HTTP/1.1 with TLS.
    Tls(Box<Http1<TlsStream<TcpStream>>>),
    /// One stream at a time of a shared HTTP/2 connection.
    Two(http2::SendRequest<Full<Bytes>>),
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub(crate) struct Http1<T> {
    stream: T,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The target ends the connection with this answer.
    pub(crate) closes: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens or the certificate is another one.
    pub(crate) async fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = connect(target).await?;
        let Some(tls) = &target.tls else {
            ensure!(
                target.protocol == Protocol::Http1,
                "HTTP/2 is asked for with https only"
            );
            return Ok(Self::Plain(Http1::new(stream)));
        };
        let connector = TlsConnector::from(tls.config.clone());
        let stream = connector.connect(tls.name.clone(), stream).await?;
        match target.protocol {
            Protocol::Http1 => Ok(Self::Tls(Box::new(Http1::new(stream)))),
            Protocol::Http2 => {
                ensure!(
                    stream.get_ref().1.alpn_protocol() == Some(b"h2"),
                    "the target does not speak HTTP/2"
                );
                let io = TokioIo::new(stream);
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                // How the connection ends shows in the next request's error.
                tokio::spawn(connection);
                Ok(Self::Two(sender))
            }
        }
    }

    /// Returns a further user of the same HTTP/2 connection; none in HTTP/1.1.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Plain(_) | Self::Tls(_) => None,
            Self::Two(sender) => Some(Self::Two(sender.clone())),
        }
    }

    /// Asks once; returns after the whole body was read.
    ///
    /// # Errors
    /// When the connection ends before the answer.
    pub(crate) async fn ask(
        &mut self,
        target: &Target,
        request: &Prepared,
    ) -> anyhow::Result<Answer> {
        match self {
            Self::Plain(connection) => connection.ask(&request.wire).await,
            Self::Tls(connection) => connection.ask(&request.wire).await,
            Self::Two(sender) => ask_two(sender, target, &request.request).await,
        }
    }
}

/// A request and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The request.
    pub(crate) request: Request,
    wire: Vec<u8>,
}

impl Prepared {
    /// Prepares a request for a target.
    pub(crate) fn new(request: Request, target: &Target) -> Self {
        let wire = match target.protocol {
            Protocol::Http1 => request.wire(&target.authority),
            Protocol::Http2 => Vec::new(),
        };
        Self { request, wire }
    }
}

/// Opens the TCP connection.
///
/// # Errors
/// When nobody listens.
pub(crate) async fn connect(target: &Target) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(target.address)
        .await
        .with_context(|| format!("cannot reach {}", target.address))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl<T: AsyncRead + AsyncWrite + Unpin> Http1<T> {
    const fn new(stream: T) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    async fn ask(&mut self, wire: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(wire).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            if let Some(answer) = self.answer() {
                return Ok(answer);
            }
            ensure!(
                self.buffer.len() < ANSWER_BYTES_MAX,
                "the answer is too long"
            );
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection ended before the answer");
            }
        }
    }

    fn answer(&self) -> Option<Answer> {
        let head = Head::find(&self.buffer)?;
        let body = match head.body {
            Some(length) => length,
            None => head::chunked_length(&self.buffer[head.length..])?,
        };
        (self.buffer.len() >= head.length + body).then_some(Answer {
            status: head.status,
            closes: head.closes,
        })
    }
}

async fn ask_two(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    target: &Target,
    request: &Request,
) -> anyhow::Result<Answer> {
    let mut builder = http::Request::builder()
        .method(request.method)
        .uri(format!("https://{}{}", target.authority, request.path));
    if let Some(authorization) = &request.authorization {
        builder = builder.header(http::header::AUTHORIZATION, authorization);
    }
    if request.body.is_some() {
        builder = builder.header(http::header::CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from_static(
        request.body.unwrap_or_default().as_bytes(),
    ));
    sender.ready().await?;
    let answer = sender.send_request(builder.body(body)?).await?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Answer {
        status,
        closes: false,
    })
}
