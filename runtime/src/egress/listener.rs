//! The proxy of one sandbox: waits for the listener that `loki-jail` hands over, and accepts on it.
//!
//! Invariant: the proxy ends with its [`Door`], and every connection with it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::relay::{self, Proxy};
use super::{Outlet, Pending};

/// Where one sandbox's listener is awaited. Dropping it ends the proxy.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    proxy: JoinHandle<()>,
}

/// Says why the proxy cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the egress proxy's door {path}: {source}", path = .path.display())]
pub struct DoorError {
    path: PathBuf,
    source: io::Error,
}

impl Door {
    /// Opens the door: a socket in a folder that nobody else can enter. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(
        path: PathBuf,
        outlet: Outlet,
        decisions: mpsc::Sender<Pending>,
    ) -> Result<Self, DoorError> {
        let listener = UnixListener::bind(&path).map_err(|source| DoorError {
            path: path.clone(),
            source,
        })?;
        let proxy = tokio::spawn(async move {
            if let Err(error) = run(listener, Proxy { outlet, decisions }).await {
                tracing::warn!(%error, "egress proxy ended");
            }
        });
        Ok(Self { path, proxy })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.proxy.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "door of the proxy not removed");
        }
    }
}

async fn run(door: UnixListener, proxy: Proxy) -> io::Result<()> {
    let (bringer, _) = door.accept().await?;
    let inside = take_listener(&bringer).await?;
    drop((bringer, door));
    let proxy = Arc::new(proxy);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Those who wait are in the kernel's queue, which is bounded.
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, _) = inside.accept().await?;
        let proxy = Arc::clone(&proxy);
        connections.spawn(async move {
            relay::serve(&proxy, stream).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn take_listener(bringer: &UnixStream) -> io::Result<TcpListener> {
    let descriptor = bringer
        .async_io(Interest::READABLE, || receive(bringer))
        .await?;
    let listener = std::net::TcpListener::from(descriptor);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn receive(bringer: &UnixStream) -> io::Result<OwnedFd> {
    let mut letter = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut letter)];
    recvmsg(bringer, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut messages = control.drain();
    let descriptor = messages.find_map(|message| {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptors.next()
        } else {
            None
        }
    });
    descriptor.ok_or_else(|| io::Error::other("the jail sent no listener"))
}

/// Most connections of one sandbox at once.
const CONNECTIONS_MAX: usize = 64;
