//! One accepted connection as Pingora wants it: bytes, and facts about the peer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::authn::client_certificate::PeerCertificate;
use crate::control_frames::ControlFrames;
use crate::edge_record;
use crate::front::Front;
use crate::listener::Place;
use crate::metrics::Dropped;
use crate::state::State;

/// Bytes gathered before they are written, so that header and body leave together.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

#[derive(Debug)]
enum Transport {
    Plain(BufWriter<TcpStream>),
    Tls(Box<BufWriter<TlsStream<TcpStream>>>),
}

/// A connection and its place among the live ones.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    /// Kept for the requests that come by this connection.
    _certificate: Option<Arc<PeerCertificate>>,
    /// Follows HTTP/1.
    front: Option<Front>,
    /// Follows HTTP/2, whose framing is otherwise the library's business.
    frames: Option<Watched>,
    _place: Place,
}

impl Connection {
    /// Wraps a connection without TLS.
    pub(crate) fn plain(
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        state: Arc<State>,
    ) -> Self {
        Self {
            socket: digest(&stream, peer),
            transport: Transport::Plain(BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream)),
            tls: None,
            _certificate: None,
            frames: None,
            front: Some(Front::new(peer, state)),
            _place: place,
        }
    }

    /// Wraps a connection whose handshake is done.
    pub(crate) fn tls(
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        place: Place,
        state: Arc<State>,
    ) -> Self {
        let (tcp, session) = stream.get_ref();
        let cipher = session
            .negotiated_cipher_suite()
            .map_or("unknown", |suite| {
                suite.suite().as_str().unwrap_or("unknown")
            });
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(_) | None => "unknown",
        };
        let certificate = session
            .peer_certificates()
            .and_then(|chain| PeerCertificate::read(chain.first()?))
            .map(|certificate| state.peer_certificates.keep(certificate));
        let sha256 = certificate
            .as_ref()
            .map_or_else(Vec::new, |certificate| certificate.sha256().to_vec());
        let tls = SslDigest::new(cipher, version, None, None, sha256);
        let is_http1 = session.alpn_protocol() != Some(b"h2");
        Self {
            socket: digest(tcp, peer),
            tls: Some(Arc::new(tls)),
            frames: (!is_http1).then(|| Watched::new(peer, Arc::clone(&state))),
            front: is_http1.then(|| Front::new(peer, state)),
            _certificate: certificate,
            transport: Transport::Tls(Box::new(BufWriter::with_capacity(
                WRITE_BUFFER_BYTES,
                stream,
            ))),
            _place: place,
        }
    }
}

fn digest(stream: &TcpStream, peer: SocketAddr) -> Arc<SocketDigest> {
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    // The address of the accept call holds even after the peer has gone.
    let address = PeerAddress::Inet(peer);
    digest.peer_addr.get_or_init(|| Some(address));
    Arc::new(digest)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            transport,
            front,
            frames,
            ..
        } = &mut *self;
        let before = buffer.filled().len();
        ready!(poll_read(transport, front.as_mut(), context, buffer))?;
        match frames {
            Some(frames) => Poll::Ready(frames.follow(&buffer.filled()[before..])),
            None => Poll::Ready(Ok(())),
        }
    }
}

fn poll_read(
    transport: &mut Transport,
    front: Option<&mut Front>,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match (transport, front) {
        (Transport::Plain(stream), Some(front)) => front.poll_read(stream, context, buffer),
        (Transport::Plain(stream), None) => Pin::new(stream).poll_read(context, buffer),
        (Transport::Tls(stream), Some(front)) => front.poll_read(&mut **stream, context, buffer),
        (Transport::Tls(stream), None) => Pin::new(stream).poll_read(context, buffer),
    }
}

/// The frames of a connection, and whom to tell of a flood.
#[derive(Debug)]
struct Watched {
    frames: ControlFrames,
    peer: SocketAddr,
    state: Arc<State>,
}

impl Watched {
    fn new(peer: SocketAddr, state: Arc<State>) -> Self {
        Self {
            frames: ControlFrames::new(&state.snapshot().settings.limits),
            peer,
            state,
        }
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frames.follow(bytes).map_err(|_| {
            edge_record::dropped(&self.state, self.peer.ip(), Dropped::FrameFlood);
            io::ErrorKind::ConnectionAborted.into()
        })
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(front) = &mut self.front {
            front.answering(bytes);
        }
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "connection ended without a clean close");
        }
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        match &self.transport {
            Transport::Plain(stream) => stream.get_ref().as_raw_fd(),
            Transport::Tls(stream) => stream.get_ref().get_ref().0.as_raw_fd(),
        }
    }
}

impl Ssl for Connection {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => match stream.get_ref().get_ref().1.alpn_protocol() {
                Some(b"h2") => Some(ALPN::H2),
                Some(_) => Some(ALPN::H1),
                None => None,
            },
        }
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl Peek for Connection {}
