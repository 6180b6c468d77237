//! A program of the lab: started on a processor of its own, watched from outside, ended by its id.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Longest wait for a program to listen or to end.
const PATIENCE: Duration = Duration::from_secs(60);

const GLANCE: Duration = Duration::from_millis(20);

/// Clock ticks in a second, as `/proc` counts them on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program; ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Watches a program's memory until it is asked.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    watching: JoinHandle<u64>,
}

impl Watch {
    /// Returns the most resident memory that was seen, in KiB.
    pub(crate) fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.watching.join().unwrap_or(0)
    }
}

/// What a program used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Resident memory in KiB.
    pub(crate) resident_kib: u64,
}

impl Process {
    /// Starts a program on one processor; its output goes to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        command: &mut Command,
        processor: Option<usize>,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let program = command.get_program().to_os_string();
        let child = on_processor(processor, || command.spawn())?
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When the program ends before, or it takes too long; with what the program said.
    #[expect(clippy::disallowed_methods, reason = "polls to a deadline")]
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        mut holds: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the program ended ({status}) before {what}:\n{}",
                    self.said()
                );
            }
            if Instant::now() >= deadline {
                bail!("waited in vain for {what}:\n{}", self.said());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Returns what the program and its children used.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        of(self.child.id())
    }

    /// Begins to watch the program's memory.
    pub(crate) fn watch(&self) -> Watch {
        let id = self.child.id();
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let watching = thread::spawn(move || peak(id, &told));
        Watch { over, watching }
    }

    /// Returns what asks the program to look at its settings again.
    pub(crate) fn prompter(&self) -> impl Fn() -> io::Result<()> + Send + 'static {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        move || match id {
            Some(id) => Ok(rustix::process::kill_process(id, Signal::HUP)?),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    #[expect(clippy::disallowed_methods, reason = "polls to a deadline")]
    fn end(&mut self) -> io::Result<()> {
        let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return self.child.kill();
        };
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        rustix::process::kill_process(id, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Ok(());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            // What cannot be ended is said; the next program takes another port anyway.
            drop(fs::write(&self.log, error.to_string()));
        }
    }
}

/// Does something with this thread bound to one processor; what is started meanwhile stays there.
///
/// # Errors
/// When the processor does not exist.
pub(crate) fn on_processor<T>(
    processor: Option<usize>,
    work: impl FnOnce() -> T,
) -> anyhow::Result<T> {
    let Some(processor) = processor else {
        return Ok(work());
    };
    let before = sched_getaffinity(None)?;
    bind(processor)?;
    let done = work();
    sched_setaffinity(None, &before)?;
    Ok(done)
}

/// Binds this thread, and those that it starts, to one processor.
///
/// # Errors
/// When the processor does not exist.
pub(crate) fn bind(processor: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only)
        .with_context(|| format!("cannot run on processor {processor} alone"))
}

#[expect(clippy::disallowed_methods, reason = "looks again and again")]
fn peak(id: u32, over: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !over.load(Ordering::Relaxed) {
        peak = peak.max(of(id).map_or(0, |usage| usage.resident_kib));
        thread::sleep(GLANCE);
    }
    peak
}

/// Returns what a program and its children used.
fn of(id: u32) -> anyhow::Result<Usage> {
    let mut usage = one(id)?;
    for child in children(id)? {
        let child = one(child)?;
        usage.cpu += child.cpu;
        usage.resident_kib += child.resident_kib;
    }
    Ok(usage)
}

fn one(id: u32) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name stands in parentheses and may hold blanks.
    let (_, rest) = stat.rsplit_once(") ").context("no process state")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let ticks = |place: usize| -> anyhow::Result<f64> {
        let word = words.get(place).context("no processor time")?;
        Ok(word.parse::<u32>()?.into())
    };
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let resident_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    Ok(Usage {
        cpu: Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND),
        resident_kib,
    })
}

fn children(id: u32) -> anyhow::Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    Ok(text
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?)
}
