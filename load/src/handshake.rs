//! Full TLS handshakes, one after the other: connect, shake hands, hang up.

use std::io;
use std::sync::Arc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use crate::client;
use crate::run::{Plan, RECONNECT_PAUSE, Seen, Span};
use crate::target::Target;

/// Begins the workers.
pub(crate) fn spawn(
    target: &Arc<Target>,
    plan: &Plan,
    span: Span,
) -> JoinSet<anyhow::Result<Seen>> {
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections {
        workers.spawn(worker(Arc::clone(target), span));
    }
    workers
}

async fn worker(target: Arc<Target>, span: Span) -> anyhow::Result<Seen> {
    let mut seen = Seen::new()?;
    loop {
        let due = Instant::now();
        if due >= span.end {
            return Ok(seen);
        }
        match shake_hands(&target).await {
            Ok(()) if due >= span.start => seen.happened(&span, due),
            Ok(()) => {}
            Err(_) => {
                seen.failed();
                sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands and hangs up; returns once the target has hung up too, so that its half of the
/// handshake is done as well.
async fn shake_hands(target: &Target) -> anyhow::Result<()> {
    let stream = client::connect(target).await?;
    let tls = target.tls.as_ref().context("handshakes need https")?;
    let connector = TlsConnector::from(tls.config.clone());
    let mut stream = connector.connect(tls.name.clone(), stream).await?;
    stream.shutdown().await?;
    let mut rest = [0; 512];
    loop {
        match stream.read(&mut rest).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Some servers hang up without a word of farewell.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
