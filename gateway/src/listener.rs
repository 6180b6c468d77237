//! Accepts connections: bound before anybody learns of it, drained when told to stop.
//!
//! Invariant: a connection holds a place from accept to close; without a free one it is closed at
//! once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::ServerApp;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpSocket};

use crate::edge_record;
use crate::metrics::Dropped;
use crate::places::{Bounds, Places};
use crate::proxy::Proxy;
use crate::service_manager::ServiceManager;
use crate::state::State;
use crate::upload::Paced;
use crate::visit::{Servers, Visit};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Pause after the system refused to accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.source))]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; choose another port: --port, LOKI_DASHBOARD_PORT, operations.listen or redirect.listen"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "; ports below 1024 need a privilege"
    } else {
        ""
    }
}

/// Binds an address.
///
/// # Errors
/// When the port is taken or may not be used.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let error = |source| ListenError { address, source };
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
    .map_err(error)?;
    socket.set_reuseaddr(true).map_err(error)?;
    socket.bind(address).map_err(error)?;
    socket.listen(BACKLOG).map_err(error)
}

/// A bound listener.
pub(crate) struct Listener {
    socket: TcpListener,
    places: Arc<Places>,
}

impl Listener {
    /// Binds the address, or takes the socket that the service manager holds for it; must be called
    /// inside the tokio runtime.
    ///
    /// # Errors
    /// When the port is taken or may not be used, or the passed socket is of another address.
    pub(crate) fn begin(
        address: SocketAddr,
        manager: &ServiceManager,
    ) -> Result<Self, ListenError> {
        let error = |source| ListenError { address, source };
        let socket = match manager.socket().map_err(error)? {
            None => bind(address)?,
            Some(passed) => {
                let found = passed.local_addr().map_err(error)?;
                if found != address {
                    return Err(error(io::Error::other(format!(
                        "the service manager holds {found}: set listen.host and listen.port to it"
                    ))));
                }
                TcpListener::from_std(passed).map_err(error)?
            }
        };
        Ok(Self {
            socket,
            places: Arc::default(),
        })
    }

    /// Returns the address that was bound.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `shutdown` turns true, then lets requests under way end within their time.
    /// Returns how many connections were cut.
    pub(crate) async fn serve(
        self,
        proxy: Arc<HttpProxy<Proxy>>,
        state: Arc<State>,
        mut shutdown: ShutdownWatch,
    ) -> u32 {
        let Self { socket, places } = self;
        let servers = Servers {
            two: Arc::new(Paced::new(Arc::clone(&proxy))),
            one: Arc::clone(&proxy),
        };
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let snapshot = state.snapshot();
            let limits = &snapshot.settings.limits;
            let bounds = Bounds {
                all: limits.connections_max,
                per_address: limits.connections_per_address_max,
            };
            let Some(place) = Places::take(&places, peer.ip(), bounds) else {
                edge_record::dropped(&state, peer.ip(), Dropped::NoPlace);
                continue;
            };
            let visit = Visit {
                peer,
                snapshot,
                state: Arc::clone(&state),
            };
            tokio::spawn(visit.run(stream, place, servers.clone(), shutdown.clone()));
        }
        drop(socket);
        proxy.cleanup().await;
        let drain_timeout = state.snapshot().settings.limits.drain_timeout;
        places.drained(drain_timeout).await
    }
}
