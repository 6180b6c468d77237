//! Measures the audit trail on a directory's disk: records that nobody waits for, and durable
//! ones with many waiters at once; then how long checking and reading take, the latter also in a
//! trail of 30 days with 1 GB each (the older files are further names of one).
//!
//! `cargo run --release -p gateway --example audit_rate -- DIRECTORY`
#![expect(clippy::print_stdout, reason = "the figures are the program's output")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use config::contract::caller::AuthMethod;
use config::contract::id::{RequestId, TokenId};
use config::contract::scope::Scope;
use config::home::Home;
use gateway::audit::record::{Draft, Outcome, Phase};
use gateway::audit::{Audit, query, summary, verify};

const QUEUE_MAX: u32 = 8_192;
const PRODUCERS: usize = 2;
const RECORDS: usize = 2_000_000;
const WAITERS: usize = 64;
const DURABLE_FOR: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).context("name a directory")?;
    let home = Home::new(PathBuf::from(directory));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(PRODUCERS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        later(&home).await?;
        durable(&home).await
    })?;
    check(&home)?;
    read(&home)?;
    add_a_month(&home)?;
    read_newest(&home)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn check(home: &Home) -> anyhow::Result<()> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(home.audit())? {
        bytes += entry?.metadata()?.len();
    }
    let asked = Instant::now();
    let report = verify::verify(home, &verify::Trust::in_keys_of(home)?)?;
    let seconds = asked.elapsed().as_secs_f64();
    anyhow::ensure!(report.valid, "the trail does not verify: {report:?}");
    println!(
        "verify: {} records, {bytes} bytes in {seconds:.2} s, {:.0} MB/s",
        report.records,
        bytes as f64 / 1e6 / seconds
    );
    Ok(())
}

/// Gives the oldest file 450 further names: what 30 days of 1 GB look like to a query.
fn add_a_month(home: &Home) -> anyhow::Result<()> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(home.audit())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    names.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    names.sort();
    let oldest = names.first().context("no file")?;
    for day in 1..=30 {
        for part in 1..=15 {
            let name = format!("audit-2026-01-{day:02}.{part}.jsonl");
            std::fs::hard_link(oldest, home.audit().join(name))?;
        }
    }
    Ok(())
}

fn read_newest(home: &Home) -> anyhow::Result<()> {
    for _ in 0..5 {
        let asked = Instant::now();
        let page = query::query(home, &query::Query::default())?;
        println!(
            "newest {} of 30 days: {:.1} ms",
            page.entries.len(),
            asked.elapsed().as_secs_f64() * 1_000.0
        );
    }
    Ok(())
}

fn read(home: &Home) -> anyhow::Result<()> {
    let asked = Instant::now();
    let page = query::query(home, &query::Query::default())?;
    println!(
        "newest {}: {:.1} ms",
        page.entries.len(),
        asked.elapsed().as_secs_f64() * 1_000.0
    );
    let asked = Instant::now();
    let counted = summary::summary(home, 7, gateway::clock::now())?;
    let seconds = asked.elapsed().as_secs_f64();
    println!(
        "summary: {} events in {seconds:.2} s, {:.0} records/s",
        counted.total_events,
        rate(counted.total_events, seconds)
    );
    Ok(())
}

async fn later(home: &Home) -> anyhow::Result<()> {
    let audit = Audit::open(home, true, QUEUE_MAX)?;
    let begun = Instant::now();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let audit = audit.clone();
            tokio::spawn(async move {
                let (request, token) = ids();
                for _ in 0..RECORDS / PRODUCERS {
                    audit.later(draft(&request, &token)).await;
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await?;
    }
    let tally = audit.tally();
    audit.close().await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "asynchronous: {} written, {} lost, {:.2} s until all were on the disk, {:.0} records/s",
        tally.written(),
        tally.lost(),
        seconds,
        rate(tally.written(), seconds),
    );
    Ok(())
}

async fn durable(home: &Home) -> anyhow::Result<()> {
    let audit = Audit::open(home, true, QUEUE_MAX)?;
    let begun = Instant::now();
    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            let audit = audit.clone();
            tokio::spawn(async move {
                let (request, token) = ids();
                let mut slowest = Duration::ZERO;
                while begun.elapsed() < DURABLE_FOR {
                    let asked = Instant::now();
                    audit.durable(draft(&request, &token)).await?;
                    slowest = slowest.max(asked.elapsed());
                }
                Ok::<_, anyhow::Error>(slowest)
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for waiter in waiters {
        slowest = slowest.max(waiter.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let written = audit.tally().written();
    audit.close().await?;
    println!(
        "durable, {WAITERS} waiters: {written} in {seconds:.2} s, {:.0} records/s, slowest {:.1} ms",
        rate(written, seconds),
        slowest.as_secs_f64() * 1_000.0,
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn rate(records: u64, seconds: f64) -> f64 {
    records as f64 / seconds
}

fn ids() -> (RequestId, TokenId) {
    (
        RequestId::from_random([7; 20]),
        TokenId::from_random([7; 8]),
    )
}

fn draft<'a>(request: &'a RequestId, token: &'a TokenId) -> Draft<'a> {
    Draft {
        user: "token:ci-bot",
        resource: "session:sess-0123456789ab",
        ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        request_id: Some(request),
        status: Some(200),
        scope: Some(Scope::Read),
        auth_method: Some(AuthMethod::Token),
        token_id: Some(token),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        duration: Some(Duration::from_micros(1_234)),
        bytes: Some(512),
        ..Draft::new("session.show", Phase::End, Outcome::Done)
    }
}
