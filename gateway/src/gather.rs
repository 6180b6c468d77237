//! Gathers small writes, so that header and body leave together.
//!
//! Invariant: bytes leave in the order in which they came, and none is lost; memory is held from the
//! first byte that waits until somebody says that it is not needed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered before they are written.
const GATHERED_BYTES_MAX: usize = 4 * 1024;

/// A transport whose small writes are gathered.
#[derive(Debug)]
pub(crate) struct Gather<T> {
    transport: T,
    waiting: Vec<u8>,
    /// How many of those that wait have left.
    left: usize,
}

impl<T> Gather<T> {
    /// Begins with nothing that waits.
    pub(crate) const fn new(transport: T) -> Self {
        Self {
            transport,
            waiting: Vec::new(),
            left: 0,
        }
    }

    /// Returns the transport.
    pub(crate) const fn get_ref(&self) -> &T {
        &self.transport
    }

    /// Returns the transport; what is written to it overtakes what waits.
    pub(crate) const fn get_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Gives memory back that nothing waits in.
    pub(crate) fn release(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left < self.waiting.len() {
            let rest = &self.waiting[self.left..];
            let count = ready!(Pin::new(&mut self.transport).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left += count;
        }
        self.waiting.clear();
        self.left = 0;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() + bytes.len() > GATHERED_BYTES_MAX {
            ready!(self.poll_waiting(context))?;
        }
        if bytes.len() >= GATHERED_BYTES_MAX {
            return Pin::new(&mut self.transport).poll_write(context, bytes);
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(GATHERED_BYTES_MAX);
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(context))?;
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(context))?;
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{GATHERED_BYTES_MAX, Gather};

    #[tokio::test]
    async fn bytes_leave_in_order_however_they_are_cut() {
        for size in [
            1,
            7,
            1_000,
            GATHERED_BYTES_MAX - 1,
            GATHERED_BYTES_MAX,
            9_000,
        ] {
            let (near, mut far) = duplex(512);
            let sent: Vec<u8> = (0_u8..251).cycle().take(20_000).collect();
            let expected = sent.clone();
            let writing = tokio::spawn(async move {
                let mut gather = Gather::new(near);
                for piece in sent.chunks(size) {
                    gather.write_all(piece).await.expect("it is taken");
                }
                gather.shutdown().await.expect("it ends");
            });
            let mut came = Vec::new();
            far.read_to_end(&mut came).await.expect("it comes");
            writing.await.expect("no failure");
            assert_eq!(came, expected, "{size}");
        }
    }

    #[tokio::test]
    async fn small_writes_wait_for_each_other_and_hold_no_memory_afterwards() {
        let (near, mut far) = duplex(64 * 1024);
        let mut gather = Gather::new(near);
        gather.write_all(b"header").await.expect("it is taken");
        gather.release();
        gather.write_all(b"body").await.expect("it is taken");
        assert_eq!(gather.waiting, b"headerbody");
        gather.flush().await.expect("it leaves");
        gather.release();
        assert_eq!(gather.waiting.capacity(), 0);
        drop(gather);
        let mut came = Vec::new();
        far.read_to_end(&mut came).await.expect("it comes");
        assert_eq!(came, b"headerbody");
    }
}
