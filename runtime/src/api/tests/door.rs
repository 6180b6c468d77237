//! The real router behind a real Unix socket, a worker whose end the test decides, and a caller with
//! the real key.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::contract::caller::{
    AuthMethod, Caller, HEADER, Statement, StatementKey, VERSION, Verifier,
};
use config::contract::id::{InstanceId, RequestId};
use config::contract::problem::Problem;
use config::contract::scope::Scopes;
use config::contract::session::{Enforcement, Layer, SessionState, SessionView};
use config::load::Sources;
use config::runtime::RuntimeSettings;
use config::secret::Secret;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::api::listen::{Door, Gateway, Lock};
use crate::api::serve::Server;
use crate::api::{Api, router};
use crate::approval::Desk;
use crate::branch::Credential;
use crate::clock;
use crate::egress::Outlet;
use crate::policy::Policy;
use crate::provider::Providers;
use crate::registry::Registry;
use crate::sandbox::{Profile, Sandbox};
use crate::session::live::Live;
use crate::session::run::Agency;
use crate::session::standing::Standing;
use crate::session::{DiffError, Ending, Sessions, Worker};
use crate::store::Store;

const KEY: [u8; 32] = [7; 32];

/// Runs until it is stopped.
#[derive(Debug)]
struct UntilStopped;

impl Worker for UntilStopped {
    fn admit(&self, _: &Profile) -> Result<Vec<Enforcement>, String> {
        Ok(vec![Enforcement {
            control: "writes outside the workspace".to_owned(),
            layer: Layer::Kernel,
            reason: None,
        }])
    }

    fn diff<'work>(
        &'work self,
        _session: &'work SessionView,
    ) -> Pin<Box<dyn Future<Output = Result<String, DiffError>> + Send + 'work>> {
        Box::pin(std::future::ready(Ok(String::new())))
    }

    fn work<'work>(
        &'work self,
        session: &'work Live,
    ) -> Pin<Box<dyn Future<Output = Ending> + Send + 'work>> {
        Box::pin(async {
            for state in [SessionState::Preparing, SessionState::Running] {
                let moved = session.move_to(state, |_| ()).await;
                moved.expect("a legal move");
            }
            session.stop_asked().await.ending()
        })
    }
}

/// A runtime to be called.
pub(super) struct Called {
    _directory: tempfile::TempDir,
    _lock: Lock,
    socket: PathBuf,
    pub(super) project: PathBuf,
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    pub(super) server: Server,
    counter: AtomicU64,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What a test changes in a statement before it is signed.
pub(super) type Change<'change> = &'change dyn Fn(&mut Statement);

impl Called {
    pub(super) async fn new() -> Self {
        Self::with_settings("").await
    }

    pub(super) async fn with_settings(more: &str) -> Self {
        crate::scene::build_jail();
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().canonicalize().expect("canonical");
        let project = root.join("projects/my-app");
        repository(&project);
        let settings = settings(&root, more);
        let lock = Lock::take(&settings.home).expect("lock");
        let store = Store::open(&settings.home.runtime().join("runtime.db"))
            .await
            .expect("store");
        let providers = Providers::new(&settings, &BTreeMap::new());
        let socket = settings.socket.clone();
        let settings = Arc::new(settings);
        let registry = Registry::new(store.clone(), Arc::clone(&settings));
        let desk = Desk::new(store.clone(), settings.approvals.clone());
        let policy = Policy::new(&settings.commands).expect("policy");
        let gatekeeper = Arc::new(desk.clone());
        let worker = Arc::new(UntilStopped);
        let sandbox = Sandbox::probe(&settings.home, &settings.jail, &settings.sandbox);
        let outlet = Outlet::from_settings(&settings.egress, &BTreeMap::new());
        let agency = Agency::new(
            Arc::clone(&settings),
            sandbox.expect("sandbox"),
            outlet.expect("outlet"),
            gatekeeper.clone(),
            Credential::new(None),
        );
        let standing = Standing::new(Arc::new(agency), store.clone(), policy.clone())
            .await
            .expect("standing");
        let sessions = Sessions::new(settings, providers, store.clone(), worker, gatekeeper);
        let verifier = Verifier::new(vec![key(KEY)], clock::now().timestamp_millis() - 60_000);
        let api = Api::new(
            (sessions.clone(), standing),
            store.clone(),
            registry,
            (desk, policy),
            verifier,
        );
        let door = Door::open(&socket, Gateway::Ours, &lock)
            .await
            .expect("door");
        let server = Server::start(door, router(api).expect("router"));
        Self {
            _directory: directory,
            _lock: lock,
            socket,
            project,
            store,
            sessions,
            server,
            counter: AtomicU64::new(1),
        }
    }

    /// Returns a valid statement of a caller with these scopes.
    pub(super) fn statement(&self, method: &str, target: &str, scopes: &str) -> Statement {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        Statement {
            version: VERSION,
            instance: InstanceId::from_random([1; 12]),
            counter,
            issued_at_ms: clock::now().timestamp_millis(),
            request_id: RequestId::from_random([2; 20]),
            method: method.to_owned(),
            target: target.to_owned(),
            sole_approver: false,
            caller: Caller {
                user: "token:ci-bot".to_owned(),
                principal: "tok-00000000".to_owned(),
                auth_method: AuthMethod::Token,
                scopes: scopes.parse::<Scopes>().expect("scopes"),
                projects: None,
            },
        }
    }

    /// Calls with a statement that is valid but for `change`.
    pub(super) async fn changed(
        &self,
        method: &str,
        target: &str,
        body: &str,
        change: Change<'_>,
    ) -> Answer {
        let mut statement = self.statement(method, target, "*");
        change(&mut statement);
        let header = format!("{HEADER}: {}\r\n", signed(&statement));
        self.raw(method, target, &header, body).await
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.changed("GET", target, "", &|_| ()).await
    }

    pub(super) async fn post(&self, target: &str, body: &str) -> Answer {
        self.changed("POST", target, body, &|_| ()).await
    }

    /// Sends a request as it is on a new connection and reads the answer to its end.
    pub(super) async fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).await.expect("connected");
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: runtime\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        Answer::read(&answer)
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("a status");
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the problem, having checked that the answer is one.
    pub(super) fn problem(&self) -> Problem {
        let problem: Problem = self.json();
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(problem.status, self.status);
        problem
    }
}

pub(super) fn key(bytes: [u8; 32]) -> StatementKey {
    StatementKey::new(&Secret::new(bytes.to_vec()))
}

pub(super) fn signed(statement: &Statement) -> String {
    key(KEY).sign(statement).expect("signed")
}

fn settings(root: &Path, more: &str) -> RuntimeSettings {
    let text = format!(
        "provider = \"scripted\"\n[providers.scripted]\ncommand = [\"true\"]\n\
         [projects]\nroots = [{:?}]\n{more}",
        root.join("projects").display().to_string()
    );
    let environment = [("LOKI_DATA_DIR", root.join("loki"))]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()));
    RuntimeSettings::load(Sources {
        file: Some(("runtime.toml".into(), text)),
        environment: environment.into(),
        ..Sources::default()
    })
    .expect("settings")
    .settings
}

/// Makes what a repository looks like from outside; the worker here never opens it.
fn repository(path: &Path) {
    for folder in ["objects", "refs/heads"] {
        std::fs::create_dir_all(path.join(".git").join(folder)).expect("folder");
    }
    std::fs::write(path.join(".git/HEAD"), "ref: refs/heads/main\n").expect("HEAD");
    std::fs::write(path.join(".git/refs/heads/main"), "1".repeat(40)).expect("main");
    std::fs::write(path.join(".git/config"), "[core]\n\tbare = false\n").expect("config");
}
