//! Small plain listeners beside the main one: operations, and the way to HTTPS.
//!
//! Invariant: neither takes a credential, reads a body, or reaches the runtime's operations; both are
//! bounded in connections, time and bytes of their own, so that they cannot starve the main one.

mod operations;
mod redirect;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::edge_record;
use crate::listener::{self, ListenError};
use crate::metrics::Dropped;
use crate::places::{Bounds, Places};
use crate::state::State;

/// Most connections of one such listener at once. Silent ones of one address leave places for others.
const BOUNDS: Bounds = Bounds {
    all: 128,
    per_address: 32,
};

/// Longest header in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most header fields.
const FIELDS_MAX: usize = 64;

/// Longest time for a request's header, and for a whole connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after the system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one of these listeners answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Operations,
    /// With the port of the main listener.
    Redirect(u16),
}

/// The bound listeners.
#[derive(Debug, Default)]
pub(crate) struct Side(Vec<(tokio::net::TcpListener, Kind)>);

impl Side {
    /// Binds what the settings switch on; `main_port` is where HTTPS is found.
    ///
    /// # Errors
    /// When a port is taken or may not be used.
    pub(crate) fn bind(
        settings: config::gateway::side::Side,
        main_port: u16,
    ) -> Result<Self, ListenError> {
        let wanted = [
            (settings.operations, Kind::Operations),
            (settings.redirect, Kind::Redirect(main_port)),
        ];
        let mut bound = Vec::new();
        for (address, kind) in wanted {
            if let Some(address) = address {
                bound.push((listener::bind(address)?, kind));
            }
        }
        Ok(Self(bound))
    }

    /// Serves each until `stopping` turns true; probes are answered until the very end.
    pub(crate) fn serve(self, state: &Arc<State>, stopping: &watch::Receiver<bool>) {
        for (socket, kind) in self.0 {
            let address = socket.local_addr().map_or_else(
                |error| error.to_string(),
                |address: SocketAddr| address.to_string(),
            );
            tracing::info!(?kind, address, "listening beside the main listener");
            tokio::spawn(accept(socket, kind, Arc::clone(state), stopping.clone()));
        }
    }
}

async fn accept(
    socket: tokio::net::TcpListener,
    kind: Kind,
    state: Arc<State>,
    mut stopping: watch::Receiver<bool>,
) {
    let places: Arc<Places> = Arc::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop), if kind != Kind::Operations => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = Places::take(&places, peer.ip(), BOUNDS) else {
            edge_record::dropped(&state, peer.ip(), Dropped::NoPlace);
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            serve(stream, kind, state).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, kind: Kind, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let answer = match kind {
                Kind::Operations => operations::answer(&request, &state).await,
                Kind::Redirect(port) => redirect::answer(&request, &state, port),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection beside the main listener ended"),
        Err(_) => tracing::debug!("a connection beside the main listener took too long"),
    }
}

/// Makes an answer of a status and a body.
fn plain(status: u16, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let fields = answer.headers_mut();
    let constant = http::HeaderValue::from_static;
    fields.insert(http::header::CONTENT_TYPE, constant(content_type));
    fields.insert(http::header::CACHE_CONTROL, constant("no-store"));
    fields.insert(http::header::X_CONTENT_TYPE_OPTIONS, constant("nosniff"));
    answer
}
