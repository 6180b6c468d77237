//! One connection from accept to close: whose it is, the handshake, and one request after the other.
//!
//! Invariant: a connection that waits for a request holds itself and nothing that only a request
//! needs, and it ends when nobody vouches for its client's certificate any more.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use config::contract::id::RequestId;
use config::contract::problem::Problem;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answer;
use crate::authn::client_certificate::PeerCertificate;
use crate::clock;
use crate::connection::Connection;
use crate::edge_record;
use crate::metrics::Dropped;
use crate::peer_user;
use crate::places::Place;
use crate::proxy::Proxy;
use crate::random;
use crate::snapshot::{Snapshot, Tls};
use crate::state::State;
use crate::upload::Paced;

/// What serves requests.
#[derive(Clone)]
pub(crate) struct Servers {
    /// HTTP/1, where the front watches over the pace of bodies.
    pub(crate) one: Arc<HttpProxy<Proxy>>,
    /// HTTP/2, where each stream has a pace of its own.
    pub(crate) two: Arc<Paced>,
}

/// One accepted connection.
pub(crate) struct Visit {
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// What the handshake is judged by.
    pub(crate) snapshot: Arc<Snapshot>,
    /// What requests share.
    pub(crate) state: Arc<State>,
}

impl Visit {
    /// Serves the connection to its end.
    pub(crate) async fn run(
        self,
        stream: TcpStream,
        place: Place,
        servers: Servers,
        shutdown: ShutdownWatch,
    ) {
        let state = Arc::clone(&self.state);
        let _open = state.metrics.connection();
        let peer = self.peer;
        // Memory of the handshake, and the state that it was judged by, go before requests come.
        let Some(connection) = Box::pin(self.enter(stream, place)).await else {
            return;
        };
        let certificate = connection.certificate().cloned();
        let serving = serve(connection, &servers, &state, shutdown);
        let Some(certificate) = certificate else {
            serving.await;
            return;
        };
        tokio::select! {
            () = serving => {}
            () = disowned(&certificate, &state) => {
                edge_record::dropped(&state, peer.ip(), Dropped::AuthorityRemoved);
            }
        }
    }

    /// Does what comes before the first request.
    async fn enter(self, stream: TcpStream, place: Place) -> Option<Box<Connection>> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off Nagle's algorithm");
        }
        let stream = self.admit_peer(stream).await?;
        self.shake_hands(stream, place).await.map(Box::new)
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
                self.dropped(Dropped::OtherUser);
                if self.snapshot.tls.is_none()
                    && let Err(error) = stream.write_all(&other_user_answer()).await
                {
                    tracing::debug!(%error, "the refused peer was gone");
                }
                None
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot tell whose connection it is, so it is refused");
                self.dropped(Dropped::OtherUser);
                None
            }
            Err(error) => {
                tracing::error!(%error, "looking up the peer's user failed");
                None
            }
        }
    }

    async fn shake_hands(self, stream: TcpStream, place: Place) -> Option<Connection> {
        let Some(tls) = &self.snapshot.tls else {
            return Some(Connection::plain(stream, self.peer, place, self.state));
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
                let certificate = self.certificate(&stream, tls);
                Some(Connection::tls(
                    stream,
                    self.peer,
                    place,
                    self.state,
                    certificate,
                ))
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                self.dropped(Dropped::HandshakeFailed);
                None
            }
            Err(_) => {
                tracing::debug!(peer = %self.peer, "TLS handshake took too long");
                self.dropped(Dropped::HandshakeTimeout);
                None
            }
        }
    }

    /// Keeps the certificate that the handshake proved.
    fn certificate(
        &self,
        stream: &TlsStream<TcpStream>,
        tls: &Tls,
    ) -> Option<Arc<PeerCertificate>> {
        let chain = stream.get_ref().1.peer_certificates()?;
        let certificate = PeerCertificate::read(chain, tls.authorities_since)?;
        Some(self.state.peer_certificates.keep(certificate))
    }

    fn dropped(&self, why: Dropped) {
        edge_record::dropped(&self.state, self.peer.ip(), why);
    }
}

/// Serves one request after the other until a side ends it.
async fn serve(
    mut connection: Box<Connection>,
    servers: &Servers,
    state: &State,
    mut shutdown: ShutdownWatch,
) {
    let mut kept: Option<HttpPersistentSettings> = None;
    let idle_timeout = state.current.load().settings.limits.idle_timeout;
    let mut alarm = pin!(sleep(idle_timeout));
    loop {
        if !begins(&mut connection, alarm.as_mut(), idle_timeout, &mut shutdown).await {
            return;
        }
        if connection.is_http2() {
            let _over = servers.two.process_new(connection, &shutdown).await;
            return;
        }
        let mut session = ServerSession::new_http1(connection);
        match kept.take() {
            Some(settings) => settings.apply_to_session(&mut session),
            None => session.set_keepalive(Some(idle_timeout.as_secs())),
        }
        let served = servers.one.process_new_http(session, &shutdown).await;
        let Some((stream, settings)) = served.map(|served| served.consume()) else {
            return;
        };
        let Ok(again) = stream.into_any().downcast() else {
            tracing::error!("a connection came back as another kind of stream");
            return;
        };
        (connection, kept) = (again, settings);
    }
}

/// Waits for the next request; returns whether one begins before the connection's time is over.
async fn begins(
    connection: &mut Connection,
    mut alarm: Pin<&mut Sleep>,
    idle_timeout: Duration,
    shutdown: &mut ShutdownWatch,
) -> bool {
    let due = Instant::now() + idle_timeout;
    loop {
        tokio::select! {
            biased;
            begins = connection.begins() => return begins,
            _ = shutdown.wait_for(|stop| *stop) => return false,
            () = alarm.as_mut() => {
                if Instant::now() >= due {
                    return false;
                }
                // It was set before the last request: one alarm serves them all.
                alarm.as_mut().reset(due);
            }
        }
    }
}

/// Waits until the operator's authorities vouch for a certificate no longer.
async fn disowned(certificate: &PeerCertificate, state: &State) {
    let mut reloads = state.reloaded.subscribe();
    while state.snapshot().vouches_for(certificate, clock::now()) {
        if reloads.changed().await.is_err() {
            return;
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
