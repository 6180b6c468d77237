//! Accepts connections, does the TLS handshake, and hands each to the proxy.
//!
//! Invariant: a connection holds a [`Place`] from accept to close; without a free place it is
//! closed at once. With authentication off, nobody but our own user or root is served.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::contract::id::RequestId;
use config::contract::problem::Problem;
use config::limit::Limits;
use pingora::apps::ServerApp;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::answer;
use crate::connection::Connection;
use crate::edge_record;
use crate::metrics::Dropped;
use crate::peer_user;
use crate::proxy::Proxy;
use crate::random;
use crate::service_manager::ServiceManager;
use crate::snapshot::Snapshot;
use crate::state::State;

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
    ) -> usize {
        let Self { socket, places } = self;
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
            let Some(place) = Places::take(&places, peer.ip(), limits) else {
                edge_record::dropped(&state, peer.ip(), Dropped::NoPlace);
                continue;
            };
            let visit = Visit {
                peer,
                snapshot,
                state: Arc::clone(&state),
            };
            tokio::spawn(visit.run(stream, place, Arc::clone(&proxy), shutdown.clone()));
        }
        drop(socket);
        proxy.cleanup().await;
        let drain_timeout = state.snapshot().settings.limits.drain_timeout;
        places.drained(drain_timeout).await
    }
}

/// One connection from accept to close.
struct Visit {
    peer: SocketAddr,
    snapshot: Arc<Snapshot>,
    state: Arc<State>,
}

impl Visit {
    async fn run(
        self,
        stream: TcpStream,
        place: Place,
        proxy: Arc<HttpProxy<Proxy>>,
        shutdown: ShutdownWatch,
    ) {
        let _open = self.state.metrics.connection();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off Nagle's algorithm");
        }
        let Some(stream) = self.admit_peer(stream).await else {
            return;
        };
        if let Some(connection) = self.shake_hands(stream, place).await {
            proxy.process_new(Box::new(connection), &shutdown).await;
        }
    }

    /// With authentication off, closes the connection unless our own user or root is behind it.
    async fn admit_peer(&self, mut stream: TcpStream) -> Option<TcpStream> {
        if self.snapshot.settings.tokens_required {
            return Some(stream);
        }
        let (peer, local) = (self.peer, stream.local_addr().ok()?);
        let looked_up = tokio::task::spawn_blocking(move || peer_user::of(peer, local)).await;
        let ours = rustix::process::geteuid().as_raw();
        match looked_up {
            Ok(Ok(Some(user))) if user == ours || user == 0 => Some(stream),
            Ok(Ok(user)) => {
                tracing::warn!(%peer, ?user, "refused a connection of another user");
                edge_record::dropped(&self.state, self.peer.ip(), Dropped::OtherUser);
                if self.snapshot.tls.is_none()
                    && let Err(error) = stream.write_all(&other_user_answer()).await
                {
                    tracing::debug!(%error, "the refused peer was gone");
                }
                None
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot tell whose connection it is, so it is refused");
                edge_record::dropped(&self.state, self.peer.ip(), Dropped::OtherUser);
                None
            }
            Err(error) => {
                tracing::error!(%error, "looking up the peer's user failed");
                None
            }
        }
    }

    async fn shake_hands(&self, stream: TcpStream, place: Place) -> Option<Connection> {
        let Some(tls) = &self.snapshot.tls else {
            return Some(Connection::plain(
                stream,
                self.peer,
                place,
                Arc::clone(&self.state),
            ));
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let handshake_timeout = self.snapshot.settings.limits.handshake_timeout;
        let shaking = tokio::time::timeout(handshake_timeout, acceptor.accept(stream));
        match shaking.await {
            Ok(Ok(stream)) => {
                let (_, agreed) = stream.get_ref();
                let group = agreed.negotiated_key_exchange_group();
                let group = group.map(|group| group.name());
                self.state
                    .metrics
                    .handshake(agreed.protocol_version(), group);
                Some(Connection::tls(
                    stream,
                    self.peer,
                    place,
                    Arc::clone(&self.state),
                ))
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                edge_record::dropped(&self.state, self.peer.ip(), Dropped::HandshakeFailed);
                None
            }
            Err(_) => {
                tracing::debug!(peer = %self.peer, "TLS handshake took too long");
                edge_record::dropped(&self.state, self.peer.ip(), Dropped::HandshakeTimeout);
                None
            }
        }
    }
}

/// What a plain peer of another user reads before the connection ends.
fn other_user_answer() -> Vec<u8> {
    let problem = Problem::new("other_user", "other user", 403)
        .detail("without authentication only the gateway's own user is served")
        .fix("the operator sets LOKI_ENTERPRISE_AUTH=true");
    random::bytes().map_or_else(
        |_| Vec::new(),
        |bytes| answer::raw_problem(&problem, &RequestId::from_random(bytes)),
    )
}

/// The live connections, counted in all and by address.
#[derive(Debug, Default)]
struct Places {
    taken: Mutex<Taken>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    fn take(places: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Place> {
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= count(limits.connections_max) {
            return None;
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= count(limits.connections_per_address_max) {
            return None;
        }
        *here += 1;
        taken.all += 1;
        Some(Place {
            places: Arc::clone(places),
            address,
        })
    }

    fn live(&self) -> usize {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .all
    }

    /// Waits until the last connection is gone; returns how many are left after `timeout`.
    async fn drained(&self, timeout: Duration) -> usize {
        let emptied = async {
            loop {
                let notified = self.emptied.notified();
                if self.live() == 0 {
                    return;
                }
                notified.await;
            }
        };
        match tokio::time::timeout(timeout, emptied).await {
            Ok(()) => 0,
            Err(_) => self.live(),
        }
    }
}

/// A connection's place among the live ones; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Entry::Occupied(mut here) = taken.by_address.entry(self.address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
        if taken.all == 0 {
            self.places.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use config::gateway::GatewaySettings;
    use config::limit::Limits;
    use config::load::Sources;

    use super::{Place, Places};

    #[test]
    fn one_address_cannot_take_every_place() {
        let defaults = GatewaySettings::load(Sources::default()).expect("defaults");
        let limits = Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            ..defaults.settings.limits
        };
        let places: Arc<Places> = Arc::default();
        let take = |address: IpAddr| -> Option<Place> { Places::take(&places, address, &limits) };
        let (one, two): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let held: Vec<_> = (0..2).map(|_| take(one)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(take(one).is_none());
        let other = take(two);
        assert!(other.is_some());
        assert!(take(two).is_none());
        drop(held);
        assert!(take(one).is_some());
        assert_eq!(places.live(), 1);
        drop(other);
        assert!(places.taken.lock().expect("lock").by_address.is_empty());
    }
}
