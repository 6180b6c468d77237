//! Attends one process tree from its start to its end: its output, its bounds, the wish to stop.
//!
//! Invariant: when attending returns, the tree is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::private;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::halt::{self, Held};
use super::live::Live;
use super::orphans;
use super::output::Output;
use super::trail::Trail;
use super::workshop::{WorkError, Workshop};
use crate::sandbox::{Chunk, Confined, Cut, Tree};
use crate::store::{NewEvent, Process};

/// Bounds on one process tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Longest run.
    pub(super) timeout: Duration,
    /// Time between asking it to end and ending it.
    pub(super) grace: Duration,
    /// Most bytes of output.
    pub(super) output_bytes_max: u64,
}

/// How an attended tree ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attended {
    /// Its program ended with this code; 128 + n after signal n.
    Exited(i32),
    /// It went over a bound.
    Cut(String),
    /// The session was asked to stop.
    Stopped,
}

/// Where output goes: all of it into a log, its lines into events if wanted.
#[derive(Debug)]
pub(super) struct Recorder {
    log: tokio::fs::File,
    path: PathBuf,
    output: Output,
    as_events: bool,
}

impl Recorder {
    /// Begins a new log (mode 0600).
    pub(super) fn new(path: &Path, iteration: u32, as_events: bool) -> Result<Self, WorkError> {
        let log = private::create_file(path).map_err(|source| WorkError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            log: tokio::fs::File::from_std(log),
            path: path.to_owned(),
            output: Output::new(iteration),
            as_events,
        })
    }

    async fn take(&mut self, live: &Live, chunk: &Chunk) -> Result<(), WorkError> {
        let written = self.log.write_all(&chunk.bytes).await;
        written.map_err(|source| self.failed(source))?;
        let events = self.output.take(chunk);
        if self.as_events {
            live.happened(events).await?;
        }
        Ok(())
    }

    /// Ends the log and returns the end of the output.
    pub(super) async fn finish(mut self, live: &Live) -> Result<String, WorkError> {
        let flushed = self.log.flush().await;
        flushed.map_err(|source| self.failed(source))?;
        let (events, tail) = self.output.finish();
        if self.as_events {
            live.happened(events).await?;
        }
        Ok(tail)
    }

    fn failed(&self, source: io::Error) -> WorkError {
        WorkError::File {
            path: self.path.clone(),
            source,
        }
    }
}

/// Starts a program and attends its tree until that is gone.
pub(super) async fn attend(
    workshop: &Workshop<'_>,
    confined: Confined,
    bounds: Bounds,
    recorder: &mut Recorder,
) -> Result<Attended, WorkError> {
    let Workshop { live, trail, .. } = *workshop;
    let held = halt::hold(live, trail).await?;
    if held == Held::Stopped || live.stop_request().is_some() {
        return Ok(Attended::Stopped);
    }
    let in_sandbox = confined.room.is_some();
    let mut tree = workshop.sandbox.start(confined, bounds.output_bytes_max)?;
    remember(live, &tree).await?;
    let followed = follow(live, trail, &mut tree, bounds, recorder).await;
    if followed.is_err() {
        tree.kill().await?;
    }
    let ended = tree.wait().await;
    live.store().forget_processes(live.id()).await?;
    let (followed, ended) = (followed?, ended?);
    if in_sandbox {
        let report = &ended.report;
        let usage = json!({
            "user_cpu_ms": report.user_cpu_ms,
            "system_cpu_ms": report.system_cpu_ms,
            "memory_peak_bytes": report.memory_peak_bytes,
            "out_of_memory_kills": report.out_of_memory_kills,
        });
        live.happened(vec![NewEvent::new("usage", usage)]).await?;
    }
    Ok(match (followed, ended.cut) {
        (Followed::Stopped, _) => Attended::Stopped,
        (Followed::TooLong, _) => Attended::Cut(too_long(bounds.timeout)),
        (Followed::ToTheEnd, Some(Cut::Output(bytes))) => {
            Attended::Cut(format!("it wrote more than {bytes} bytes"))
        }
        (Followed::ToTheEnd, Some(Cut::Time(timeout))) => Attended::Cut(too_long(timeout)),
        (Followed::ToTheEnd, None) => Attended::Exited(ended.code),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    ToTheEnd,
    TooLong,
    Stopped,
}

/// Takes the output until there is no more; asks the tree to end when it has to.
async fn follow(
    live: &Live,
    trail: &Trail,
    tree: &mut Tree,
    bounds: Bounds,
    recorder: &mut Recorder,
) -> Result<Followed, WorkError> {
    let deadline = tokio::time::sleep_until(Instant::now() + bounds.timeout);
    tokio::pin!(deadline);
    let mut followed = Followed::ToTheEnd;
    loop {
        tokio::select! {
            chunk = tree.next() => match chunk {
                Some(chunk) => recorder.take(live, &chunk).await?,
                None => return Ok(followed),
            },
            () = &mut deadline, if followed == Followed::ToTheEnd => {
                followed = Followed::TooLong;
                tree.stop(bounds.grace).await?;
            }
            () = live.pause_asked(), if followed == Followed::ToTheEnd => {
                let since = Instant::now();
                tree.freeze().await?;
                match halt::hold(live, trail).await? {
                    Held::Resumed => tree.thaw().await?,
                    Held::Stopped => {
                        // This thaws the tree, too.
                        followed = Followed::Stopped;
                        tree.stop(bounds.grace).await?;
                    }
                }
                let later = deadline.deadline() + since.elapsed();
                deadline.as_mut().reset(later);
            }
            _ = live.stop_asked(), if followed != Followed::Stopped => {
                followed = Followed::Stopped;
                tree.stop(bounds.grace).await?;
            }
        }
    }
}

/// Stores which process holds the tree, so that a later run of the runtime can end it.
async fn remember(live: &Live, tree: &Tree) -> Result<(), WorkError> {
    let pid = tree.supervisor();
    // A supervisor that has ended already has nothing left to be ended.
    if let Some(started) = orphans::started(pid) {
        let process = Process { pid, started };
        live.store().remember_process(live.id(), process).await?;
    }
    Ok(())
}

fn too_long(timeout: Duration) -> String {
    format!("it ran longer than {} s", timeout.as_secs())
}
