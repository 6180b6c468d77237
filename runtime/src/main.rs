//! The runtime's program: settings, log, store, sweep, serve, and an orderly end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use config::contract::caller::{StatementKey, Verifier};
use config::gateway::Loaded;
use config::load::Sources;
use config::runtime::RuntimeSettings;
use config::secret;
use runtime::api::{self, Api, listen::Door, listen::Gateway, listen::Lock, serve::Server};
use runtime::approval::Desk;
use runtime::arguments::Arguments;
use runtime::branch::Credential;
use runtime::egress::Outlet;
use runtime::policy::Policy;
use runtime::provider::Providers;
use runtime::registry::Registry;
use runtime::sandbox::Sandbox;
use runtime::session::{Sessions, recovery, retention, run::Agency, standing::Standing};
use runtime::shutdown::Signals;
use runtime::store::Store;
use runtime::{clock, logging, shutdown};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let sources = Sources::from_process();
    let environment = sources.environment.clone();
    let loaded = match Arguments::parse().settings(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&format!("bad settings:\n{mistakes}"), 64),
    };
    let policy = match Policy::new(&loaded.settings.commands) {
        Ok(policy) => policy,
        Err(mistakes) => {
            let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            return refuse(&format!("bad settings:\n{}", told.join("\n")), 64);
        }
    };
    match start(loaded, policy, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("{error:#}"), 1),
    }
}

fn start(
    loaded: Loaded<RuntimeSettings>,
    policy: Policy,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    logging::install(&loaded.settings.log, &loaded.warnings).map_err(anyhow::Error::from_boxed)?;
    let executor = tokio::runtime::Runtime::new().context("cannot start threads")?;
    executor.block_on(run(Arc::new(loaded.settings), policy, environment))
}

async fn run(
    settings: Arc<RuntimeSettings>,
    policy: Policy,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let lock = Lock::take(&settings.home)?;
    let gateway = Gateway::named(settings.gateway_user.as_deref())?;
    let keys = match gateway {
        Gateway::Ours => secret::load_or_create_keys(&settings.statement_key)?,
        Gateway::OfUser(_) => secret::load_or_create_group_keys(&settings.statement_key)?,
    };
    let store = Store::open(&settings.home.runtime().join("runtime.db")).await?;
    let sandbox = Sandbox::probe(&settings.home, &settings.jail, &settings.sandbox)?;
    let outlet = Outlet::from_settings(&settings.egress, environment)?;
    let desk = Desk::new(store.clone(), settings.approvals.clone()).with_notices()?;
    desk.find_interrupted().await?;
    let gatekeeper = Arc::new(desk.clone());
    let token = Credential::new(environment.get("GH_TOKEN").cloned());
    let settled = Arc::clone(&settings);
    let agency = Agency::new(settled, sandbox, outlet, gatekeeper.clone(), token);
    let agency = Arc::new(agency);
    let providers = Providers::new(&settings, environment);
    let sessions = Sessions::new(
        Arc::clone(&settings),
        providers,
        store.clone(),
        agency.clone(),
        gatekeeper,
    );
    recovery::sweep(&store, &agency, &sessions).await?;
    desk.end_orphans().await?;
    let standing = Standing::new(agency, store.clone(), policy.clone()).await?;

    let keys = keys.iter().map(StatementKey::new).collect();
    let verifier = Verifier::new(keys, clock::now().timestamp_millis());
    let registry = Registry::new(store.clone(), Arc::clone(&settings));
    let api = Api::new(
        (sessions.clone(), standing.clone()),
        store.clone(),
        registry,
        (desk, policy),
        verifier,
    );
    let router = api::router(api)?;
    let server = Server::start(Door::open(&settings.socket, gateway, &lock).await?, router);
    let retention = tokio::spawn(retention::keep_watch(store.clone(), Arc::clone(&settings)));
    tracing::info!(socket = %settings.socket.display(), "runtime ready");

    let signal = signals.asked().await;
    tracing::info!(signal, "runtime shutting down");
    retention.abort();
    shutdown::in_order(server, &sessions, &standing, settings.sessions.stop_grace).await;
    store.close().await;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "there may be no log yet")]
fn refuse(message: &str, code: u8) -> ExitCode {
    eprintln!("loki-runtime: {message}");
    ExitCode::from(code)
}
