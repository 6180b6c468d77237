//! Measures the registry and the memory at their promised size: 1,000 projects with queue files and
//! 100,000 learnings; lists, searches and tasks under 100 ms at the 99th percentile.
//!
//! `cargo bench -p runtime --bench registry`; it ends with 1 if a promise is broken.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use config::contract::caller::{AuthMethod, Caller};
use config::contract::id::LearningId;
use config::contract::learning::{LearningKind, LearningSource, LearningView, Trust};
use config::contract::registry::{RegisterProject, TaskStatus};
use config::load::Sources;
use config::runtime::RuntimeSettings;
use runtime::memory::{Asked, Memory};
use runtime::registry::Registry;
use runtime::store::Store;

const PROJECTS: u32 = 1_000;
const LEARNINGS: u32 = 100_000;
const QUESTIONS: usize = 300;
const PROMISED: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().canonicalize()?;
    tokio::runtime::Runtime::new()?.block_on(measure(&root))
}

async fn measure(root: &Path) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(settings(root)?);
    let store = Store::open(&settings.home.runtime().join("runtime.db")).await?;
    let registry = Registry::new(store.clone(), settings);
    let memory = Memory::new(store.clone(), registry.clone());
    let (all, one) = (caller(None)?, caller(Some(project(root, 7)))?);
    fill(root, &store, &registry, &all).await?;

    let (r, m) = (&registry, &memory);
    let mut is_kept = true;
    for who in [&all, &one] {
        let whose = if who.projects.is_some() {
            "bound"
        } else {
            "all"
        };
        let list = asks(async || r.list(who, 100, 0).await.map(drop)).await?;
        is_kept &= told("projects", whose, &list);
        let status = Some(TaskStatus::InProgress);
        let tasks = asks(async || r.tasks(status, &[], (100, 0), who).await.map(drop)).await?;
        is_kept &= told("tasks in progress", whose, &tasks);
        let tasks = asks(async || r.tasks(None, &[], (100, 0), who).await.map(drop)).await?;
        is_kept &= told("tasks", whose, &tasks);
        for (name, query) in [
            ("learnings", None),
            ("search, 1 match", Some("unique4242")),
            ("search, 1,000 matches", Some("seldom")),
            ("search, 10,000 matches", Some("frequent")),
            ("search, 100,000 matches", Some("authentication")),
            ("search, two words", Some("authentication seldom")),
            ("search, prefix", Some("unique42*")),
        ] {
            let asked = Asked {
                query: query.map(str::to_owned),
                ..Asked::default()
            };
            let times = asks(async || m.list(asked.clone(), (20, 0), who).await.map(drop)).await?;
            is_kept &= told(name, whose, &times);
        }
    }
    store.close().await;
    Ok(if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Asks again and again; returns the times from the shortest to the longest.
async fn asks<E: std::error::Error + Send + Sync + 'static>(
    question: impl AsyncFn() -> Result<(), E>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let started = Instant::now();
        question().await?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times)
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn told(name: &str, whose: &str, times: &[Duration]) -> bool {
    let p50 = times[times.len() / 2];
    let p99 = times[times.len() * 99 / 100];
    println!("{name:<26} {whose:<6} p50 {p50:>10.2?}  p99 {p99:>10.2?}");
    p99 < PROMISED
}

async fn fill(
    root: &Path,
    store: &Store,
    registry: &Registry,
    caller: &Caller,
) -> anyhow::Result<()> {
    for number in 0..PROJECTS {
        let path = project(root, number);
        let queue = Path::new(&path).join(".loki/queue");
        fs::create_dir_all(&queue)?;
        for name in ["pending", "in-progress", "completed"] {
            let text = format!("[{{\"id\":\"{name}-1\",\"title\":\"a\"}},{{\"id\":\"{name}-2\"}}]");
            fs::write(queue.join(name).with_extension("json"), text)?;
        }
        let request = RegisterProject {
            path,
            name: None,
            alias: None,
        };
        registry.register(request, caller).await?;
    }
    let learnings: Vec<_> = (0..LEARNINGS)
        .map(|number| learning(root, number))
        .collect();
    for batch in learnings.chunks(5_000) {
        store.learn_all(batch).await?;
    }
    Ok(())
}

fn learning(root: &Path, number: u32) -> LearningView {
    let seldom = if number.is_multiple_of(100) {
        "seldom"
    } else {
        ""
    };
    let frequent = if number.is_multiple_of(10) {
        "frequent"
    } else {
        ""
    };
    let mut random = [0; LearningId::RANDOM_BYTES];
    let mut rest = number;
    for byte in &mut random {
        *byte = u8::try_from(rest % 36).unwrap_or_default();
        rest /= 36;
    }
    LearningView {
        id: LearningId::from_random(random),
        text: format!(
            "the authentication of module {number} failed because its token had expired; the fix \
             was to ask for another one before the call unique{number} {seldom} {frequent}"
        ),
        kind: LearningKind::Mistake,
        trust: Trust::Untrusted,
        source: LearningSource::Session,
        project: Some(project(root, number % PROJECTS)),
        session: None,
        author: "loki".to_owned(),
        created_at: "2026-02-12T18:30:00.000Z".to_owned(),
        expires_at: None,
    }
}

fn project(root: &Path, number: u32) -> String {
    root.join(format!("projects/p{number:04}"))
        .display()
        .to_string()
}

fn caller(project: Option<String>) -> anyhow::Result<Caller> {
    Ok(Caller {
        user: "local".to_owned(),
        principal: "local".to_owned(),
        auth_method: AuthMethod::Local,
        scopes: "*".parse().ok().context("scopes")?,
        projects: project.map(|path| vec![path]),
    })
}

fn settings(root: &Path) -> anyhow::Result<RuntimeSettings> {
    let text = format!(
        "provider = \"none\"\n[providers.none]\ncommand = [\"true\"]\n[projects]\nroots = [{:?}]\n",
        root.join("projects").display().to_string()
    );
    let data = root.join("loki").display().to_string();
    let sources = Sources {
        file: Some(("runtime.toml".into(), text)),
        environment: [("LOKI_DATA_DIR".to_owned(), data)].into(),
        ..Sources::default()
    };
    Ok(RuntimeSettings::load(sources)?.settings)
}
