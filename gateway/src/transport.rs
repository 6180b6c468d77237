//! The bytes of a connection, with or without TLS.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::gather::Gather;

/// What bytes come and leave by.
#[derive(Debug)]
pub(crate) enum Transport {
    /// TCP alone.
    Plain(Gather<TcpStream>),
    /// TLS, its handshake done.
    Tls(Box<Gather<TlsStream<TcpStream>>>),
}

impl Transport {
    /// Becomes ready when bytes can be read, with true, or when the connection is over, with false
    /// as far as that is known. Nothing is read that somebody else would miss.
    pub(crate) fn poll_begins(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        match self {
            Self::Plain(stream) => {
                let ready = stream.get_ref().poll_read_ready(context);
                ready.map(|ready| ready.is_ok())
            }
            Self::Tls(stream) => {
                let bytes = Pin::new(stream.get_mut()).poll_fill_buf(context);
                bytes.map(|bytes| bytes.is_ok_and(|bytes| !bytes.is_empty()))
            }
        }
    }

    /// Gives memory back that nothing waits in.
    pub(crate) fn release(&mut self) {
        match self {
            Self::Plain(stream) => stream.release(),
            Self::Tls(stream) => stream.release(),
        }
    }

    /// Returns the protocol that the handshake agreed on, if there was one.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().get_ref().1.alpn_protocol(),
        }
    }

    /// Returns the socket's descriptor.
    pub(crate) fn descriptor(&self) -> RawFd {
        match self {
            Self::Plain(stream) => stream.get_ref().as_raw_fd(),
            Self::Tls(stream) => stream.get_ref().get_ref().0.as_raw_fd(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
