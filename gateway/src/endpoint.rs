//! Announces the listening gateway to the command line of the same user.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::SecondsFormat;
use config::contract::endpoint::Endpoint;
use config::load::variables::{KNOWN, Standing};
use config::private;

use crate::clock;
use crate::snapshot::Snapshot;

/// The written endpoint file.
#[derive(Debug)]
pub(crate) struct EndpointFile {
    path: PathBuf,
    endpoint: Endpoint,
}

impl EndpointFile {
    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(snapshot: &Snapshot, address: SocketAddr) -> io::Result<Self> {
        let settings = &snapshot.settings;
        // The unspecified address is no destination; this machine reaches itself by loopback.
        let reachable = match address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
                SocketAddr::from(([127, 0, 0, 1], v4.port()))
            }
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port()))
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => address,
        };
        let endpoint = Endpoint {
            url: format!("{}://{reachable}", snapshot.scheme()),
            pid: std::process::id(),
            certificate_sha256: leaf_of(snapshot),
            tokens_required: settings.tokens_required,
            started_at: clock::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            variables: daemon_variables(),
        };
        let path = settings.home.endpoint();
        private::replace_file(&path, &serde_json::to_vec_pretty(&endpoint)?)?;
        Ok(Self { path, endpoint })
    }

    /// Writes the file anew where another snapshot says something else.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn follow(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let endpoint = Endpoint {
            certificate_sha256: leaf_of(snapshot),
            tokens_required: snapshot.settings.tokens_required,
            ..self.endpoint.clone()
        };
        if endpoint == self.endpoint {
            return Ok(());
        }
        self.endpoint = endpoint;
        private::replace_file(&self.path, &serde_json::to_vec_pretty(&self.endpoint)?)
    }

    /// Returns the address to use.
    pub(crate) fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// Removes the file, unless a later gateway has replaced it.
    pub(crate) fn remove(&self) {
        let ours = fs::read(&self.path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Endpoint>(&bytes).ok())
            .is_some_and(|endpoint| endpoint == self.endpoint);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the endpoint file");
        }
    }
}

fn leaf_of(snapshot: &Snapshot) -> Option<String> {
    snapshot.tls.as_ref().map(|tls| tls.leaf_sha256.clone())
}

fn daemon_variables() -> BTreeMap<String, String> {
    let environment = config::load::Sources::from_process().environment;
    KNOWN
        .iter()
        .filter(|(_, standing)| matches!(standing, Standing::Daemon | Standing::Session))
        .filter_map(|(name, _)| Some(((*name).to_owned(), environment.get(*name)?.clone())))
        .collect()
}
