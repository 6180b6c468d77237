//! One accepted connection as Pingora wants it: bytes, and facts about the peer.
//!
//! Invariant: whatever comes is followed before anybody reads it, and a peer that takes nothing ends
//! its own connection alone.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::authn::client_certificate::PeerCertificate;
use crate::control_frames::ControlFrames;
use crate::edge_record;
use crate::front::Front;
use crate::gather::Gather;
use crate::metrics::Dropped;
use crate::places::Place;
use crate::stall::Stall;
use crate::state::State;
use crate::transport::Transport;

/// A connection and its place among the live ones.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    peer: SocketAddr,
    state: Arc<State>,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    /// Kept for the requests that come by this connection.
    certificate: Option<Arc<PeerCertificate>>,
    /// Follows HTTP/1.
    front: Option<Front>,
    /// Follows HTTP/2, whose framing is otherwise the library's business.
    frames: Option<ControlFrames>,
    stall: Stall,
    /// Whether the peer was found to take nothing.
    cut: bool,
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
            transport: Transport::Plain(Gather::new(stream)),
            peer,
            tls: None,
            certificate: None,
            frames: None,
            front: Some(Front::new(peer, Arc::clone(&state))),
            stall: stall(&state),
            cut: false,
            state,
            _place: place,
        }
    }

    /// Wraps a connection whose handshake is done, and has proven the certificate.
    pub(crate) fn tls(
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        place: Place,
        state: Arc<State>,
        certificate: Option<Arc<PeerCertificate>>,
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
        let sha256 = certificate
            .as_ref()
            .map_or_else(Vec::new, |certificate| certificate.sha256().to_vec());
        let tls = SslDigest::new(cipher, version, None, None, sha256);
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let snapshot = state.snapshot();
        let limits = &snapshot.settings.limits;
        Self {
            socket: digest(tcp, peer),
            peer,
            tls: Some(Arc::new(tls)),
            frames: is_http2.then(|| ControlFrames::new(limits)),
            front: (!is_http2).then(|| Front::new(peer, Arc::clone(&state))),
            certificate,
            transport: Transport::Tls(Box::new(Gather::new(stream))),
            stall: stall(&state),
            cut: false,
            state,
            _place: place,
        }
    }

    /// Returns the certificate that the handshake proved.
    pub(crate) const fn certificate(&self) -> Option<&Arc<PeerCertificate>> {
        self.certificate.as_ref()
    }

    /// Returns whether the connection speaks HTTP/2.
    pub(crate) const fn is_http2(&self) -> bool {
        self.frames.is_some()
    }

    /// Waits for the first byte of a request and reads none; returns whether there is one. While it
    /// waits, no memory is held that only a request needs.
    pub(crate) async fn begins(&mut self) -> bool {
        let mut released = false;
        poll_fn(|context| {
            if self.front.as_ref().is_some_and(Front::has_more) {
                return Poll::Ready(true);
            }
            let begins = self.transport.poll_begins(context);
            if begins.is_pending() && !std::mem::replace(&mut released, true) {
                self.transport.release();
                if let Some(front) = &mut self.front {
                    front.release();
                }
            }
            begins
        })
        .await
    }

    /// Ends the connection of a peer that takes nothing.
    fn mind<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if !self.stall.is_over(&written, context) {
            return written;
        }
        if !std::mem::replace(&mut self.cut, true) {
            edge_record::dropped(&self.state, self.peer.ip(), Dropped::TooSlow);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn stall(state: &State) -> Stall {
    Stall::new(state.snapshot().settings.limits.write_timeout + STALL_MARGIN)
}

/// What a request's own bound, which knows more to tell, comes before the connection's.
const STALL_MARGIN: Duration = Duration::from_secs(1);

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
        let this = &mut *self;
        if let Some(front) = &mut this.front {
            return front.poll_read(&mut this.transport, context, buffer);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.transport).poll_read(context, buffer))?;
        if let Some(frames) = &mut this.frames
            && frames.came(&buffer.filled()[before..]).is_err()
        {
            edge_record::dropped(&this.state, this.peer.ip(), Dropped::FrameFlood);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
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
        let written = Pin::new(&mut self.transport).poll_write(context, bytes);
        if let (Some(frames), Poll::Ready(Ok(count))) = (&mut self.frames, &written) {
            frames.left(&bytes[..*count]);
        }
        self.mind(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(context);
        self.mind(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.transport).poll_shutdown(context);
        self.mind(ended, context)
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
        self.transport.descriptor()
    }
}

impl Ssl for Connection {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.transport.protocol() {
            Some(b"h2") => Some(ALPN::H2),
            Some(_) => Some(ALPN::H1),
            None => None,
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
