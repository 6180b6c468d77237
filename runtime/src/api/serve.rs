//! Serves callers until told to end; then lets answers under way finish, within a bound.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::listen::Door;

/// The running server.
#[derive(Debug)]
pub struct Server {
    ending: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Begins to serve.
    #[must_use]
    pub fn start(door: Door, router: Router) -> Self {
        let (ending, ended) = watch::channel(false);
        let task = tokio::spawn(accept(door, router, ended));
        Self { ending, task }
    }

    /// Takes no more connections and no more requests on those there are.
    pub fn close(&self) {
        self.ending.send_replace(true);
    }

    /// Waits for the answers under way, at most `within`; returns whether all were given.
    pub async fn drained(mut self, within: Duration) -> bool {
        self.close();
        if tokio::time::timeout(within, &mut self.task).await.is_ok() {
            return true;
        }
        self.task.abort();
        false
    }
}

async fn accept(door: Door, router: Router, mut ended: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&door, &places) => accepted,
            Some(_) = connections.join_next() => continue,
            () = told(&mut ended) => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let (router, ended) = (router.clone(), ended.clone());
                connections.spawn(async move {
                    serve(stream, router, ended).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                // Out of descriptors: the next attempt would fail the same way at once.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(door);
    while connections.join_next().await.is_some() {}
}

async fn accept_one(
    door: &Door,
    places: &Arc<Semaphore>,
) -> std::io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    Ok((door.next().await?, place))
}

async fn serve(stream: UnixStream, router: Router, mut ended: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = told(&mut ended) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Waits until the server is told to end, or is gone.
async fn told(ended: &mut watch::Receiver<bool>) {
    while !*ended.borrow_and_update() {
        if ended.changed().await.is_err() {
            return;
        }
    }
}

const CONNECTIONS_MAX: usize = 1_024;
const HEADERS_MAX: usize = 64;
/// Also the longest idle time of a kept connection; above the gateway's, so that it closes first.
const HEADER_WITHIN: Duration = Duration::from_secs(120);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
