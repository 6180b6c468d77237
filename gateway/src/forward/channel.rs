//! A connection to the runtime as Pingora's client wants it.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use config::gateway::Upstream;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::{Error, ErrorType};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Bytes over the runtime's Unix socket, without buffers: what is written and read are whole heads.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

/// Connects to the runtime.
///
/// # Errors
/// When nothing listens, or not in time.
pub(super) async fn connect(settings: &Upstream) -> pingora::Result<Stream> {
    let failed = |kind, cause: &dyn std::error::Error| {
        Error::explain(kind, format!("cannot reach the runtime: {cause}")).into_up()
    };
    match timeout(
        settings.connect_timeout,
        UnixStream::connect(&settings.socket),
    )
    .await
    {
        Ok(Ok(stream)) => Ok(Box::new(Channel::new(stream))),
        Ok(Err(error)) => Err(failed(ErrorType::ConnectError, &error)),
        Err(error) => Err(failed(ErrorType::ConnectTimedout, &error)),
    }
}

impl Channel {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Asks the system whether the runtime has neither ended the connection nor said anything on it.
    pub(super) fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut byte = [0; 1];
        let peeked = rustix::net::recv(&self.0, &mut byte, flags);
        matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Channel {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "a connection to the runtime ended without a clean close");
        }
    }
}

impl UniqueID for Channel {
    fn id(&self) -> UniqueIDType {
        self.0.as_raw_fd()
    }
}

impl Ssl for Channel {}

impl GetTimingDigest for Channel {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Channel {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Channel {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Channel {}
