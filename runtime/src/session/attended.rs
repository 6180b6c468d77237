//! Attends one process tree from its start to its end: its output, its bounds, the wish to stop.
//!
//! Invariant: when attending returns, the tree is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::private;
use config::runtime::Dialect;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::asking::{Asking, Settled, Wanted};
use super::gate::Passage;
use super::halt::{self, Held};
use super::live::Live;
use super::orphans;
use super::output::Output;
use super::spending::Meter;
use super::trail::Trail;
use super::workshop::{WorkError, Workshop};
use crate::provider::Command;
use crate::provider::dialect::{Outcome, Reader, Said, Spent};
use crate::sandbox::{Chunk, Confined, Cut, SandboxError, Stream, Tree};
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
    /// It asked for something, and nobody decided in time.
    Unanswered(String),
    /// A person did not grant what it would have used.
    Rejected {
        /// Who decided.
        by: String,
        /// Why.
        reason: String,
    },
}

/// Where output goes: all of it into a log; into events if wanted, as lines or as what it means.
#[derive(Debug)]
pub(super) struct Recorder {
    log: tokio::fs::File,
    path: PathBuf,
    iteration: u32,
    output: Output,
    as_events: bool,
    reader: Option<Reader>,
    /// What the program said by its own streams.
    spoken: Option<Outcome>,
    /// Whose output it is.
    agent: String,
    last_words: String,
}

/// What was told in the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// The end of the output, or the last message if the program speaks a dialect.
    pub(super) last_words: String,
    /// Whether it speaks one.
    pub(super) speaks: bool,
    /// What it said of its work.
    pub(super) outcome: Outcome,
}

impl Recorder {
    /// Goes on with a log (mode 0600), without events.
    pub(super) fn quiet(path: &Path, iteration: u32) -> Result<Self, WorkError> {
        let log = private::append_file(path).map_err(|source| WorkError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            log: tokio::fs::File::from_std(log),
            path: path.to_owned(),
            iteration,
            output: Output::new(iteration),
            as_events: false,
            reader: None,
            spoken: None,
            agent: String::new(),
            last_words: String::new(),
        })
    }

    /// Goes on with the log of an agent, whose output becomes events.
    pub(super) fn telling(
        path: &Path,
        iteration: u32,
        provider: &Command,
    ) -> Result<Self, WorkError> {
        let reader = match provider.dialect() {
            Dialect::Text => None,
            dialect @ (Dialect::Claude | Dialect::Codex) => Some(Reader::new(dialect)),
        };
        Ok(Self {
            as_events: true,
            reader,
            agent: provider.name().to_owned(),
            ..Self::quiet(path, iteration)?
        })
    }

    /// Goes on with the log of an agent whose program is spoken with.
    pub(super) fn conversing(
        path: &Path,
        iteration: u32,
        provider: &Command,
    ) -> Result<Self, WorkError> {
        Ok(Self {
            as_events: true,
            spoken: Some(Outcome::default()),
            agent: provider.name().to_owned(),
            ..Self::quiet(path, iteration)?
        })
    }

    /// Notes what became of the work of a program that was spoken with.
    pub(super) fn heard(&mut self, outcome: Outcome) {
        self.spoken = Some(outcome);
    }

    /// Returns what the program has used so far, as far as it said.
    fn spent(&self) -> Spent {
        self.reader.as_ref().map(Reader::spent).unwrap_or_default()
    }

    /// Keeps a line of a conversation.
    pub(super) async fn keep(&mut self, line: &[u8]) -> Result<(), WorkError> {
        let written = self.log.write_all(line).await;
        written.map_err(|source| self.failed(source))?;
        let written = self.log.write_all(b"\n").await;
        written.map_err(|source| self.failed(source))
    }

    /// Takes a piece of output.
    pub(super) async fn take(
        &mut self,
        live: &Live,
        trail: &Trail,
        chunk: &Chunk,
    ) -> Result<(), WorkError> {
        let written = self.log.write_all(&chunk.bytes).await;
        written.map_err(|source| self.failed(source))?;
        let said = match (&mut self.reader, chunk.stream) {
            (Some(reader), Stream::Output) => reader.take(&chunk.bytes),
            (Some(_), Stream::Error) | (None, Stream::Output | Stream::Error) => {
                let events = self.output.take(chunk);
                if self.as_events {
                    live.happened(events).await?;
                }
                return Ok(());
            }
        };
        self.tell(live, trail, said).await
    }

    /// Ends the log and tells what there was.
    pub(super) async fn finish(mut self, workshop: &Workshop<'_>) -> Result<Told, WorkError> {
        let (live, trail) = (workshop.live, workshop.trail);
        let flushed = self.log.flush().await;
        flushed.map_err(|source| self.failed(source))?;
        let (events, tail) = std::mem::replace(&mut self.output, Output::new(0)).finish();
        if self.as_events {
            live.happened(events).await?;
        }
        let outcome = match (self.reader.take(), self.spoken.take()) {
            (Some(reader), _) => {
                let (said, outcome) = reader.finish();
                self.tell(live, trail, said).await?;
                outcome
            }
            (None, Some(outcome)) => outcome,
            (None, None) => {
                return Ok(Told {
                    last_words: tail,
                    speaks: false,
                    outcome: Outcome::default(),
                });
            }
        };
        let last_words = if self.last_words.is_empty() {
            tail
        } else {
            self.last_words
        };
        Ok(Told {
            last_words,
            speaks: true,
            outcome,
        })
    }

    /// Records what an agent said; what it did goes into the agent audit too.
    pub(super) async fn tell(
        &mut self,
        live: &Live,
        trail: &Trail,
        said: Vec<Said>,
    ) -> Result<(), WorkError> {
        let mut events = Vec::with_capacity(said.len());
        for said in said {
            if said.kind == "message"
                && let Some(text) = said.data["text"].as_str()
            {
                text.clone_into(&mut self.last_words);
            }
            let mut data = said.data;
            if let Some(action) = audited(said.kind) {
                let mut details = data.clone();
                if let Some(details) = details.as_object_mut() {
                    details.retain(|name, _| name != "raw" && name != "output");
                }
                trail.tell(live, action, &self.agent, details).await?;
            }
            data["kind"] = json!(said.kind);
            data["iteration"] = json!(self.iteration);
            events.push(NewEvent::new("agent", data));
        }
        live.happened(events).await?;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> WorkError {
        WorkError::File {
            path: self.path.clone(),
            source,
        }
    }
}

/// Returns what the agent audit calls something that an agent did; nothing for mere words.
fn audited(kind: &str) -> Option<&'static str> {
    match kind {
        "tool_call" => Some("tool_call"),
        "command" => Some("command"),
        "file_change" => Some("file_change"),
        _ => None,
    }
}

/// Starts a program and attends its tree until that is gone; what it asks meanwhile is answered.
pub(super) async fn attend(
    workshop: &Workshop<'_>,
    confined: Confined,
    bounds: Bounds,
    recorder: &mut Recorder,
    asking: Option<&mut Asking<'_>>,
    meter: Option<&mut Meter<'_>>,
) -> Result<Attended, WorkError> {
    let Workshop { live, trail, .. } = *workshop;
    let held = halt::hold(live, trail).await?;
    if held == Held::Stopped || live.stop_request().is_some() {
        return Ok(Attended::Stopped);
    }
    let in_sandbox = confined.room.is_some();
    let mut tree = workshop.sandbox.start(confined, bounds.output_bytes_max)?;
    remember(live, &tree).await?;
    let followed = follow(workshop, &mut tree, bounds, recorder, asking, meter).await;
    if followed.is_err() {
        tree.kill().await?;
    }
    let ended = tree.wait().await;
    live.store().forget_processes(live.id()).await?;
    let (followed, ended) = match (followed?, ended) {
        (followed, Ok(ended)) => (followed, ended),
        (followed, Err(SandboxError::NoReport(said))) => {
            // Somebody killed the supervisor; what it held together must not live on.
            orphans::end_of(live.id()).await?;
            return Ok(match followed {
                Followed::Stopped => Attended::Stopped,
                Followed::Unanswered(why) => Attended::Unanswered(why),
                Followed::Rejected { by, reason } => Attended::Rejected { by, reason },
                Followed::Concluded => Attended::Exited(0),
                Followed::ToTheEnd | Followed::TooLong => Attended::Cut(said),
            });
        }
        (_, Err(error)) => return Err(error.into()),
    };
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
        (Followed::Unanswered(why), _) => Attended::Unanswered(why),
        (Followed::Rejected { by, reason }, _) => Attended::Rejected { by, reason },
        (Followed::Concluded, _) => Attended::Exited(0),
        (Followed::TooLong, _) => Attended::Cut(too_long(bounds.timeout)),
        (Followed::ToTheEnd, Some(Cut::Output(bytes))) => {
            Attended::Cut(format!("it wrote more than {bytes} bytes"))
        }
        (Followed::ToTheEnd, Some(Cut::Time(timeout))) => Attended::Cut(too_long(timeout)),
        (Followed::ToTheEnd, None) => Attended::Exited(ended.code),
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Followed {
    ToTheEnd,
    TooLong,
    Stopped,
    Unanswered(String),
    Rejected {
        by: String,
        reason: String,
    },
    /// The program has said that its work is over.
    Concluded,
}

/// Takes the output until there is no more; asks the tree to end when it has to.
async fn follow(
    workshop: &Workshop<'_>,
    tree: &mut Tree,
    bounds: Bounds,
    recorder: &mut Recorder,
    mut asking: Option<&mut Asking<'_>>,
    mut meter: Option<&mut Meter<'_>>,
) -> Result<Followed, WorkError> {
    let (live, trail) = (workshop.live, workshop.trail);
    let deadline = tokio::time::sleep_until(Instant::now() + bounds.timeout);
    tokio::pin!(deadline);
    let mut followed = Followed::ToTheEnd;
    loop {
        let held = live.held();
        tokio::select! {
            chunk = tree.next() => match chunk {
                Some(chunk) => {
                    recorder.take(live, trail, &chunk).await?;
                    continue;
                }
                None => return last_heard(followed, tree, recorder, asking).await,
            },
            () = &mut deadline, if followed == Followed::ToTheEnd => {
                followed = Followed::TooLong;
                tree.stop(bounds.grace).await?;
                continue;
            }
            _ = live.stop_asked(), if followed != Followed::Stopped => {
                followed = Followed::Stopped;
                tree.stop(bounds.grace).await?;
                continue;
            }
            () = live.pause_asked(), if followed == Followed::ToTheEnd => {
                tree.freeze().await?;
                followed = after(halt::hold(live, trail).await?, tree, bounds).await?;
            }
            () = look(&mut meter), if followed == Followed::ToTheEnd => {
                let Some(meter) = &mut meter else { continue };
                let said = asking.as_ref().and_then(|asking| asking.outcome());
                let spent = said.map_or_else(|| recorder.spent(), |outcome| outcome.spent);
                let Some(why) = meter.exceeded(spent).await? else { continue };
                tree.freeze().await?;
                followed = match meter.hold(&why).await? {
                    Passage::Open => after(Held::Resumed, tree, bounds).await?,
                    Passage::Stopped => after(Held::Stopped, tree, bounds).await?,
                    Passage::Rejected { by, reason } => {
                        tree.stop(bounds.grace).await?;
                        Followed::Rejected { by, reason }
                    }
                };
            }
            wanted = next(&mut asking), if followed == Followed::ToTheEnd => {
                let Some(asking) = &mut asking else { continue };
                followed = match asking.settle(wanted, tree, recorder).await? {
                    Settled::GoesOn => Followed::ToTheEnd,
                    Settled::Concluded => {
                        tree.stop(bounds.grace).await?;
                        Followed::Concluded
                    }
                    Settled::Stopped => Followed::Stopped,
                    Settled::Unanswered(why) => Followed::Unanswered(why),
                };
            }
        }
        // The time for which it was held does not count.
        let later = deadline.deadline() + live.held().saturating_sub(held);
        deadline.as_mut().reset(later);
    }
}

/// Returns how a tree was followed that is gone: what its program said last counts, although the end of
/// its output was noticed first.
async fn last_heard(
    followed: Followed,
    tree: &Tree,
    recorder: &mut Recorder,
    asking: Option<&mut Asking<'_>>,
) -> Result<Followed, WorkError> {
    let Some(asking) = asking else {
        return Ok(followed);
    };
    if followed != Followed::ToTheEnd || tree.was_cut() {
        return Ok(followed);
    }
    Ok(match asking.hear_out(recorder).await? {
        Settled::Concluded => Followed::Concluded,
        Settled::GoesOn | Settled::Stopped | Settled::Unanswered(_) => Followed::ToTheEnd,
    })
}

/// Lets a frozen tree go on after it was held, or has it end.
async fn after(held: Held, tree: &mut Tree, bounds: Bounds) -> Result<Followed, WorkError> {
    match held {
        Held::Resumed => {
            tree.thaw().await?;
            Ok(Followed::ToTheEnd)
        }
        Held::Stopped => {
            // This thaws the tree, too.
            tree.stop(bounds.grace).await?;
            Ok(Followed::Stopped)
        }
    }
}

/// Waits until it is time to look at what a run uses.
async fn look(meter: &mut Option<&mut Meter<'_>>) {
    match meter {
        Some(meter) => meter.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for what a program that asks wants next.
async fn next(asking: &mut Option<&mut Asking<'_>>) -> Wanted {
    match asking {
        Some(asking) => asking.next().await,
        None => std::future::pending().await,
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
