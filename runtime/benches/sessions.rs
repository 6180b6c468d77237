//! Measures how the cost of what is asked of sessions grows with their number: 100, 10,000 and 100,000
//! that have ended. What is asked often must cost the same.
//!
//! `cargo bench -p runtime --bench sessions`; it ends with 1 if a cost grows by more than half, and by more
//! than a fifth of a millisecond.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use config::contract::id::{RequestId, SessionId};
use config::contract::session::{AutonomyMode, SessionState, SessionView, Usage, Verification};
use runtime::store::{NewEvent, NewSession, Store};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

const SIZES: [u32; 3] = [100, 10_000, 100_000];
const QUESTIONS: u32 = 300;
/// What a page of the list holds.
const PAGE: u32 = 100;
/// A project of which only the oldest sessions are.
const OLD_PROJECT: &str = "/projects/old";
const PRD_BYTES: usize = 4_096;

fn main() -> anyhow::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut costs = Vec::new();
        for size in SIZES {
            let path = folder.path().join(format!("{size}/runtime.db"));
            costs.push(measure(&path, size).await?);
        }
        Ok(judged(&costs))
    })
}

/// The median cost of each question.
type Costs = Vec<(&'static str, Duration)>;

async fn measure(path: &std::path::Path, size: u32) -> anyhow::Result<Costs> {
    let store = Store::open(path).await?;
    fill(&store, path, size).await?;
    let newest = store.sessions(None, 1).await?;
    let known = newest.first().context("there are sessions")?.id.clone();
    let old = [OLD_PROJECT.to_owned()];
    let s = &store;
    let costs = vec![
        (
            "a page of all",
            asks(async |_| s.sessions(None, PAGE).await.map(drop)).await?,
        ),
        (
            "a page of one project",
            asks(async |_| s.sessions(Some(&old), PAGE).await.map(drop)).await?,
        ),
        (
            "one session",
            asks(async |_| s.session(&known).await.map(drop)).await?,
        ),
        (
            "its events",
            asks(async |_| s.events(&known, 0, PAGE).await.map(drop)).await?,
        ),
        (
            "the cost of all",
            asks(async |_| s.cost_usd().await.map(drop)).await?,
        ),
        (
            "the unfinished ones",
            asks(async |_| s.unfinished().await.map(drop)).await?,
        ),
        (
            "what is over for long",
            asks(async |_| s.ended_before("2026-01-01").await.map(drop)).await?,
        ),
        (
            "live ones by project",
            asks(async |_| s.live_by_project().await.map(drop)).await?,
        ),
        (
            "a new session",
            asks(async |turn| create(s, turn).await).await?,
        ),
    ];
    store.close().await;
    Ok(costs)
}

/// Asks again and again; returns the median.
async fn asks<E: std::error::Error + Send + Sync + 'static>(
    question: impl AsyncFn(u32) -> Result<(), E>,
) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for turn in 0..QUESTIONS {
        let started = Instant::now();
        question(turn).await?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn judged(costs: &[Costs]) -> ExitCode {
    println!(
        "{:<24} {:>12} {:>12} {:>12}",
        "sessions", SIZES[0], SIZES[1], SIZES[2]
    );
    let mut code = ExitCode::SUCCESS;
    for (position, (name, least)) in costs[0].iter().enumerate() {
        let every: Vec<String> = costs
            .iter()
            .map(|of_size| format!("{:>12.1?}", of_size[position].1))
            .collect();
        let most = costs[costs.len() - 1][position].1;
        let grows = most > *least * 3 / 2 && most > *least + Duration::from_micros(200);
        println!(
            "{name:<24} {}{}",
            every.join(" "),
            if grows { "  grows" } else { "" }
        );
        if grows {
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Stores sessions: the first ones through the front door, and copies of the last of those.
async fn fill(store: &Store, path: &std::path::Path, size: u32) -> anyhow::Result<()> {
    for number in 0..10 {
        let mut session = session(number);
        session.view.project = OLD_PROJECT.to_owned();
        remember(store, &session).await?;
    }
    remember(store, &session(10)).await?;
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let columns: Vec<String> = sqlx::query("SELECT name FROM pragma_table_info('session')")
        .fetch_all(&mut connection)
        .await?
        .iter()
        .map(|row| row.get("name"))
        .filter(|name| name != "number")
        .collect();
    let copied: Vec<String> = columns
        .iter()
        .map(|name| match name.as_str() {
            "id" => "printf('sess-%012d', 500000000000 + n.i)".to_owned(),
            other => format!("s.{other}"),
        })
        .collect();
    copy(
        &mut connection,
        &columns.join(", "),
        &copied.join(", "),
        size,
    )
    .await?;
    connection.close().await?;
    Ok(())
}

async fn copy(
    connection: &mut SqliteConnection,
    columns: &str,
    copied: &str,
    size: u32,
) -> anyhow::Result<()> {
    let statement = format!(
        "WITH RECURSIVE n (i) AS (SELECT 12 UNION ALL SELECT i + 1 FROM n WHERE i < {size}) \
         INSERT INTO session ({columns}) SELECT {copied} FROM n, session s WHERE s.number = 11"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(&mut *connection)
        .await?;
    sqlx::query("ANALYZE").execute(connection).await?;
    Ok(())
}

async fn create(store: &Store, turn: u32) -> Result<(), runtime::store::StoreError> {
    remember(store, &session(1_000 + turn)).await
}

async fn remember(store: &Store, session: &NewSession) -> Result<(), runtime::store::StoreError> {
    let first = NewEvent::new("session.created", json!({}));
    store
        .create(session, first, DateTime::<Utc>::UNIX_EPOCH)
        .await
        .map(drop)
}

fn session(number: u32) -> NewSession {
    let mut random = [0; SessionId::RANDOM_BYTES];
    let mut rest = number;
    for byte in &mut random {
        *byte = u8::try_from(rest % 36).unwrap_or_default();
        rest /= 36;
    }
    NewSession {
        view: SessionView {
            id: SessionId::from_random(random),
            state: SessionState::Completed,
            reason: None,
            project: format!("/projects/{}", number % 100),
            prd: "prd.md".to_owned(),
            provider: "command".to_owned(),
            started_by: "token:ci-bot".to_owned(),
            autonomy_mode: AutonomyMode::Perpetual,
            staged_autonomy: false,
            iteration: 3,
            iterations_max: 10,
            branch: "loki/session".to_owned(),
            verification: Verification::Pending,
            hand_off: None,
            effective_enforcement: Vec::new(),
            cost_usd: Some(0.25),
            usage: Usage::default(),
            budget_usd: None,
            model: None,
            created_at: "2026-02-12T18:30:00.000Z".to_owned(),
            ended_at: Some("2026-02-12T18:40:00.000Z".to_owned()),
        },
        prd_text: "a line of the plan\n".repeat(PRD_BYTES / 19),
        principal: "tok-00000000".to_owned(),
        request_id: RequestId::from_random([7; 20]),
        branch_protection: true,
        blocked_commands: Vec::new(),
        sandbox: false,
        allowed_paths: None,
        readable: None,
        start_key: None,
    }
}
