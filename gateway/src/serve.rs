//! The life of the gateway: build the parts in order, announce, serve until told to stop, drain,
//! and flush the audit trail last.

use std::fs;
use std::io;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use config::contract::caller::StatementKey;
use config::contract::id::InstanceId;
use config::gateway::{GatewaySettings, Loaded};
use config::home::Home;
use config::load::Effective;
use config::private;
use config::secret::{self, KeyFileError};
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinError;

use crate::audit::syslog::Forwarder;
use crate::audit::{Audit, AuditError};
use crate::authn::client_certificate::PeerCertificates;
use crate::certificate::{self, CertificateError};
use crate::clock;
use crate::edge_record;
use crate::endpoint::EndpointFile;
use crate::forward::{self, Kept};
use crate::idempotency::Answers;
use crate::listener::{ListenError, Listener};
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::random::{self, NoRandomness};
use crate::rates::Rates;
use crate::reload::{Looks, Reload, Reloads, Signals};
use crate::runtime_client::RuntimeClient;
use crate::service_manager::ServiceManager;
use crate::settings_change;
use crate::settings_source::SettingsSource;
use crate::side::Side;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::state::State;
use crate::statement::Statements;
use crate::stream::Streams;
use crate::suppression::Suppression;
use crate::throttle::Throttle;
use crate::tokens::store::StoreError;
use crate::tokens::watch::{Notice, TokenWatch};

/// Why the gateway could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The audit trail cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A directory or file of the data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}")]
    Home {
        /// The data directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The issuer's settings cannot be used.
    #[error("cannot use the issuer: {0}")]
    Issuer(String),
    /// The statement key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The system refused threads, signals or the like.
    #[error("cannot set up the process: {0}")]
    System(io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] StoreError),
}

impl Failure {
    /// Returns the exit code: 64 where the settings are at fault, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Certificate(_) | Self::Issuer(_) => 64,
            Self::Audit(_)
            | Self::Home { .. }
            | Self::Key(_)
            | Self::Listen(_)
            | Self::NoRandomness(_)
            | Self::System(_)
            | Self::Tls(_)
            | Self::Tokens(_) => 1,
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Certificate(error) => Self::Certificate(error),
            SnapshotError::Issuer(error) => Self::Issuer(error.to_string()),
            SnapshotError::Tls(error) => Self::Tls(error),
        }
    }
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot be built; nothing is served then.
pub fn run(loaded: Loaded<GatewaySettings>, source: SettingsSource) -> Result<(), Failure> {
    // One crypto library for everything; it fails only if another was installed before.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("the crypto library was installed before");
    }
    if let Some(tls) = &loaded.settings.tls {
        certificate::load(&tls.pair, clock::now())?;
    }
    prepare_home(&loaded.settings)?;
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .enable_all()
        .build()
        .map_err(Failure::System)?
        .block_on(serve(loaded, source))
}

fn threads() -> usize {
    thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Each connection needs descriptors; the usual soft limit of 1,024 is made for other programs.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files; see ulimit -n");
    }
}

fn prepare_home(settings: &GatewaySettings) -> Result<(), Failure> {
    let home = &settings.home;
    let failure = |source| Failure::Home {
        path: home.directory().display().to_string(),
        source,
    };
    private::create_directory(home.directory()).map_err(failure)?;
    for directory in [home.dashboard(), home.run(), home.gateways()] {
        private::create_closed_directory(&directory).map_err(failure)?;
    }
    fs::metadata(home.directory()).map(|_| ()).map_err(failure)
}

async fn serve(loaded: Loaded<GatewaySettings>, source: SettingsSource) -> Result<(), Failure> {
    let settings = loaded.settings.clone();
    let statements = statements(&settings)?;
    let manager = ServiceManager::from_process();
    let listener = Listener::begin(settings.listen.address, &manager)?;
    let address = listener.address().map_err(Failure::System)?;
    let side = Side::bind(settings.side, address.port())?;
    let audit = Audit::start(
        &settings.home,
        &settings.audit,
        settings.limits.audit_queue_max,
    )?;
    note_settings(&settings.home, &loaded.effective, &audit).await?;
    let forwarder = forwarder(&settings, &audit)?;
    let watch = TokenWatch::start(&settings.home, report_tokens)?;
    let tokens = watch.index();
    let snapshot = Snapshot::build(loaded, &tokens, None, clock::now())?;
    let (reloads, asks) = Reloads::new(source.file().to_owned());
    let state = Arc::new(State {
        current: ArcSwap::from_pointee(snapshot),
        reloads,
        audit_enabled: settings.audit.enabled,
        audit: audit.clone(),
        metrics: metrics(&settings, &audit),
        statements,
        runtime: RuntimeClient::new(settings.runtime.socket),
        suppression: Suppression::default(),
        kept: Kept::default(),
        streams: Streams::default(),
        peer_certificates: PeerCertificates::default(),
        throttle: Throttle::new(settings.limits.failed_credentials_max),
        idempotency: Answers::default(),
        rates: Rates::default(),
        stopping: watch::Sender::new(false),
        reloaded: watch::Sender::new(1),
        home: settings.home,
    });
    let proxy = http_proxy(Arc::clone(&state));

    let signals = Signals::install().map_err(Failure::System)?;
    let endpoint = EndpointFile::write(&state.snapshot(), address).map_err(Failure::System)?;
    tracing::info!(url = endpoint.url(), "listening");
    let stopping = state.stopping.subscribe();
    side.serve(&state, &stopping);
    let serving = tokio::spawn(listener.serve(proxy, Arc::clone(&state), stopping));
    manager.tell(&format!("READY=1\nSTATUS=listening on {}", endpoint.url()));

    let summarising = tokio::spawn(edge_record::summarise(Arc::clone(&state)));
    let sweeping = tokio::spawn(forward::sweep(Arc::clone(&state)));
    let mut reload = Reload {
        state: Arc::clone(&state),
        looks: Looks::default(),
        source,
        tokens,
        endpoint,
        signals,
        asks,
        manager,
    };

    let cause = reload.until_told_to_stop().await;
    tracing::info!(cause, "stopping");
    reload.manager.tell("STOPPING=1");
    state.stopping.send_replace(true);
    report_drain(serving.await);
    reload.endpoint.remove();
    summarising.abort();
    sweeping.abort();
    edge_record::summary(&state, &state.suppression.turn());
    drop(watch);
    close(audit, forwarder).await;
    Ok(())
}

/// Records whether the settings are other ones than the last time.
async fn note_settings(home: &Home, effective: &[Effective], audit: &Audit) -> Result<(), Failure> {
    settings_change::record(home, effective, audit)
        .await
        .map_err(|source| Failure::Home {
            path: home.dashboard().display().to_string(),
            source,
        })
}

/// Brings the last audit records to the disk, and then to the syslog receiver.
async fn close(audit: Audit, forwarder: Option<Forwarder>) {
    if audit.close().await.is_err() {
        tracing::error!("the last audit records could not be written");
    }
    let Some(forwarder) = forwarder else {
        return;
    };
    let ended = tokio::task::spawn_blocking(|| forwarder.end()).await;
    if ended.is_err() {
        tracing::error!("the syslog thread failed");
    }
}

/// Begins to send the audit trail to the syslog receiver, if one is set.
fn forwarder(settings: &GatewaySettings, audit: &Audit) -> Result<Option<Forwarder>, AuditError> {
    let receiver = settings.audit.syslog.as_ref();
    receiver
        .filter(|_| audit.is_enabled())
        .map(|receiver| Forwarder::start(&settings.home, receiver, audit.tally()))
        .transpose()
}

fn metrics(settings: &GatewaySettings, audit: &Audit) -> Metrics {
    let metrics = Metrics::new(audit.tally());
    if settings.audit.syslog.is_some() {
        metrics.with_forwarding()
    } else {
        metrics
    }
}

/// Begins to state callers, with the newest key and a name for this run.
fn statements(settings: &GatewaySettings) -> Result<Statements, Failure> {
    let path = &settings.runtime.statement_key;
    // A key at another place is the runtime's, which lets our group read it.
    let keys = if *path == settings.home.statement_key() {
        secret::load_or_create_keys(path)?
    } else {
        secret::load_keys(path)?
    };
    let key = StatementKey::new(&keys[0]);
    let instance = InstanceId::from_random(random::bytes()?);
    Ok(Statements::new(key, instance))
}

fn report_drain(cut: Result<u32, JoinError>) {
    match cut {
        Ok(0) => tracing::info!("every request under way has ended"),
        Ok(cut) => tracing::warn!(cut, "connections were cut at the end of the drain time"),
        Err(error) => tracing::error!(%error, "the listener failed"),
    }
}

fn http_proxy(state: Arc<State>) -> Arc<HttpProxy<Proxy>> {
    let conf = ServerConf {
        threads: threads(),
        // A request is tried once more at most, and only where that cannot repeat a mutation.
        max_retries: 2,
        ..ServerConf::default()
    };
    let limits = state.snapshot().settings.limits.clone();
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(limits.idle_timeout);
    let mut http2 = default_h2_options();
    http2.max_concurrent_streams(limits.http2_streams_max);
    http2.max_header_list_size(limits.header_bytes_max);
    http2.max_send_buffer_size(SEND_BYTES_MAX);
    let mut proxy = HttpProxy::new(Proxy::new(state), Arc::new(conf));
    proxy.server_options = Some(options);
    proxy.h2_options = Some(http2);
    proxy.handle_init_modules();
    Arc::new(proxy)
}

/// Most bytes of an answer that one HTTP/2 stream holds for a caller who does not take them.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Tells the operator what becomes of the token file.
fn report_tokens(notice: Notice) {
    match notice {
        Notice::Reloaded { generation } => tracing::info!(generation, "tokens reloaded"),
        Notice::Failed(error) => {
            tracing::error!(%error, "tokens cannot be reloaded; the last good ones stay in use");
        }
    }
}
