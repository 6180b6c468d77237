//! Runs a load against a target and gathers what happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{Client, Prepared};
use crate::figure::{Figure, Latency};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::scenario::{Load, Work};
use crate::target::Target;

/// Longest latency that is told apart, in microseconds: one minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Pause after a connection could not be made: a target that is gone is not asked in a tight loop.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// How much load, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Connections that are kept open.
    pub(crate) connections: u32,
    /// Streams on each HTTP/2 connection.
    pub(crate) streams: u32,
    /// How long to ask before it counts.
    pub(crate) warm_up: Duration,
    /// How long to measure.
    pub(crate) duration: Duration,
    /// Requests per second in all.
    pub(crate) rate: Option<u32>,
}

/// What one worker saw.
#[derive(Debug)]
pub(crate) struct Seen {
    latencies: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    unexpected: u64,
    errors: u64,
    tenths: Vec<u64>,
}

/// When a run begins to count, and when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// From here on it counts.
    pub(crate) start: Instant,
    /// Until here.
    pub(crate) end: Instant,
}

impl Span {
    fn of(plan: &Plan) -> Self {
        let start = Instant::now() + plan.warm_up;
        Self {
            start,
            end: start + plan.duration,
        }
    }
}

impl Seen {
    /// Begins with nothing.
    ///
    /// # Errors
    /// When the histogram cannot be made.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
            statuses: BTreeMap::new(),
            unexpected: 0,
            errors: 0,
            tenths: Vec::new(),
        })
    }

    /// Counts something that was due at `due` and happened now.
    pub(crate) fn happened(&mut self, span: &Span, due: Instant) {
        let now = Instant::now();
        let latency = u64::try_from((now - due).as_micros()).unwrap_or(LATENCY_US_MAX);
        self.took(span, now, latency);
    }

    /// Counts something that happened at `now` after `latency_us`.
    pub(crate) fn took(&mut self, span: &Span, now: Instant, latency_us: u64) {
        // Both bounds are within those of the histogram.
        self.latencies
            .saturating_record(latency_us.clamp(1, LATENCY_US_MAX));
        // What happens before the beginning is in the first tenth.
        let tenth = usize::try_from(now.saturating_duration_since(span.start).as_millis() / 100)
            .unwrap_or(0);
        if self.tenths.len() <= tenth {
            self.tenths.resize(tenth + 1, 0);
        }
        self.tenths[tenth] += 1;
    }

    /// Counts a failure.
    pub(crate) const fn failed(&mut self) {
        self.errors += 1;
    }

    /// Returns how many failures were counted.
    #[cfg(test)]
    pub(crate) const fn errors(&self) -> u64 {
        self.errors
    }

    /// Returns how many things happened.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.latencies.len()
    }

    fn answered(&mut self, status: u16, right: bool) {
        *self.statuses.entry(status).or_default() += 1;
        self.unexpected += u64::from(!right);
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.unexpected += other.unexpected;
        self.errors += other.errors;
        if self.tenths.len() < other.tenths.len() {
            self.tenths.resize(other.tenths.len(), 0);
        }
        for (sum, count) in self.tenths.iter_mut().zip(&other.tenths) {
            *sum += count;
        }
        Ok(())
    }
}

/// Runs the plan; the figure's subject is left empty.
///
/// # Errors
/// When the first connection cannot be made.
pub(crate) async fn run(target: &Target, load: Load, plan: &Plan) -> anyhow::Result<Figure> {
    // Before the load begins: is the target there at all?
    drop(Client::connect(target).await?);
    let scenario = load.name;
    let progress = Progress::begin(scenario, plan.warm_up + plan.duration);
    let span = Span::of(plan);
    let target = Arc::new(target.clone());
    let workers = match load.work {
        Work::Requests { first, later } => {
            let mut prepared = Prepared::all(first, &target);
            let mut changes_at = prepared.len();
            let before = if let Some(later) = later {
                prepared.extend(Prepared::all(later.requests, &target));
                Some(later.before)
            } else {
                changes_at = 0;
                None
            };
            let queue = Arc::new(Queue {
                prepared,
                changes_at,
                changed: AtomicBool::new(false),
                next: AtomicUsize::new(0),
            });
            if let Some(before) = before {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move {
                    sleep_until(span.start + plan_middle(&span)).await;
                    queue.change(before);
                });
            }
            requests(&target, &queue, plan, span).await?
        }
        Work::Idle => crate::idle::spawn(&target, plan, span),
        Work::Handshakes => crate::handshake::spawn(&target, plan, span),
        Work::Fanout(kind) => crate::fanout::spawn(&target, kind, plan, span),
    };
    let figure = gather(workers, scenario, &target, plan, span).await;
    progress.end();
    figure
}

fn plan_middle(span: &Span) -> Duration {
    (span.end - span.start) / 2
}

async fn gather(
    mut workers: JoinSet<anyhow::Result<Seen>>,
    scenario: &str,
    target: &Target,
    plan: &Plan,
    span: Span,
) -> anyhow::Result<Figure> {
    let mut all = Seen::new()?;
    while let Some(seen) = workers.join_next().await {
        all.add(&seen??)?;
    }
    let elapsed = (Instant::now() - span.start).min(plan.duration + Duration::from_secs(60));
    let count = all.latencies.len();
    Ok(Figure {
        subject: String::new(),
        scenario: scenario.to_owned(),
        protocol: target.protocol,
        connections: plan.connections,
        streams: plan.streams,
        rate: plan.rate,
        seconds: elapsed.as_secs_f64(),
        count,
        per_second: rate(count, elapsed),
        statuses: all.statuses,
        unexpected: all.unexpected,
        errors: all.errors,
        latency_us: Latency::of(&all.latencies),
        tenths: all.tenths,
        cpu_us: None,
        resident_kib: None,
        growth_kib: None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a count is below 2^52")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(f64::EPSILON)
}

/// The requests, taken in turn by all workers.
#[derive(Debug)]
struct Queue {
    prepared: Vec<Prepared>,
    /// After the change, requests from this position on are asked; 0 if there is no change.
    changes_at: usize,
    /// Set once what comes before the later requests has happened: none is asked too early, however
    /// late the machine gets to it.
    changed: AtomicBool,
    next: AtomicUsize,
}

impl Queue {
    /// Does what has to come before the later requests, and then has those asked.
    fn change(&self, before: Box<dyn FnOnce() + Send>) {
        before();
        self.changed.store(true, Ordering::Release);
    }

    fn take(&self) -> &Prepared {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let later = self.changed.load(Ordering::Acquire);
        let (from, to) = match (self.changes_at, later) {
            (0, _) => (0, self.prepared.len()),
            (changes_at, false) => (0, changes_at),
            (changes_at, true) => (changes_at, self.prepared.len()),
        };
        &self.prepared[from + number % (to - from)]
    }
}

async fn requests(
    target: &Arc<Target>,
    queue: &Arc<Queue>,
    plan: &Plan,
    span: Span,
) -> anyhow::Result<JoinSet<anyhow::Result<Seen>>> {
    let mut workers = JoinSet::new();
    let pace = Pace::begin(plan.rate, span.start - plan.warm_up, span.end)?;
    for _connection in 0..plan.connections {
        let mut first = match plan.streams {
            1 => None,
            _ => Client::connect(target).await.ok(),
        };
        for _stream in 0..plan.streams {
            let client = first
                .as_ref()
                .and_then(Client::share)
                .or_else(|| first.take());
            let worker = Worker {
                target: Arc::clone(target),
                queue: Arc::clone(queue),
                client,
                span,
            };
            workers.spawn(worker.run(pace.clone()));
        }
    }
    Ok(workers)
}

/// Asks one request after the other.
struct Worker {
    target: Arc<Target>,
    queue: Arc<Queue>,
    client: Option<Client>,
    span: Span,
}

impl Worker {
    async fn run(mut self, pace: Pace) -> anyhow::Result<Seen> {
        let mut seen = Seen::new()?;
        while let Some(due) = pace.due().await {
            let counts = due >= self.span.start;
            let mut client = match self.client.take() {
                Some(client) => client,
                None => match Client::connect(&self.target).await {
                    Ok(client) => client,
                    Err(_) => {
                        seen.failed();
                        sleep(RECONNECT_PAUSE).await;
                        continue;
                    }
                },
            };
            let prepared = self.queue.take();
            match client.ask(&self.target, prepared).await {
                Ok(answer) => {
                    if counts {
                        seen.happened(&self.span, due);
                        let right = prepared.request.statuses.contains(&answer.status);
                        seen.answered(answer.status, right);
                    }
                    self.client = (!answer.closes).then_some(client);
                }
                Err(_) => seen.failed(),
            }
        }
        Ok(seen)
    }
}

impl Prepared {
    fn all(requests: Vec<crate::request::Request>, target: &Target) -> Vec<Self> {
        requests
            .into_iter()
            .map(|request| Self::new(request, target))
            .collect()
    }
}

/// Asks each request once, and says which answer was wrong.
///
/// # Errors
/// When a connection or an answer fails.
pub(crate) async fn probe(target: &Target, load: &Load) -> anyhow::Result<()> {
    let Work::Requests { first, .. } = &load.work else {
        return Ok(());
    };
    let request = first.first().context("the scenario asks nothing")?;
    let mut client = Client::connect(target).await?;
    let prepared = Prepared::new(request.clone(), target);
    let answer = client.ask(target, &prepared).await?;
    anyhow::ensure!(
        request.statuses.contains(&answer.status),
        "{} {} was answered with {}, expected {:?}",
        request.method,
        request.path,
        answer.status,
        request.statuses
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::{Arc, Prepared, Queue, Target};
    use crate::request::Request;
    use crate::target::Protocol;

    #[test]
    fn nothing_is_asked_before_what_has_to_come_first() {
        let target =
            Target::parse("http://127.0.0.1:9/", None, Protocol::Http1, false).expect("a target");
        let request = |path: &str| Request::read(&path.into(), None, &[200]);
        let queue = Arc::new(Queue {
            prepared: Prepared::all(vec![request("/first"), request("/later")], &target),
            changes_at: 1,
            changed: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        });
        let asked = |queue: &Queue| queue.take().request.path.to_string();
        assert_eq!([asked(&queue), asked(&queue)], ["/first", "/first"]);
        let meanwhile = Arc::clone(&queue);
        queue.change(Box::new(move || {
            assert_eq!(&*meanwhile.take().request.path, "/first");
        }));
        assert_eq!([asked(&queue), asked(&queue)], ["/later", "/later"]);
    }
}
