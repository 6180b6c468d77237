//! One running process tree: its output, its requests, its end.
//!
//! Invariant: the tree lives no longer than its [`Tree`], nor than the runtime itself, because the
//! supervisor kills it when its standard input ends.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use config::private::create_closed_directory;
use jail::request::GRACE_MAX;
use jail::{Exit, Layers, Report, Request, StoppedBy};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::UnixListener;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::Instant;

use super::SandboxError;
use super::container::Container;
use crate::egress::Door;

/// A running process tree. Dropping it kills the tree.
#[derive(Debug)]
pub struct Tree {
    child: Child,
    /// Its end is the end of the tree.
    lifeline: Option<ChildStdin>,
    output: Option<ChildStdout>,
    error: Option<ChildStderr>,
    supervisor: u32,
    files: Files,
    /// The tree's way out, if it has one; it ends with the tree.
    _door: Option<Door>,
    /// Where its keeper comes to talk, if it has one.
    control: Option<UnixListener>,
    /// The container that it is, if it is one.
    container: Option<Container>,
    is_held: bool,
    bytes_left: u64,
    bytes_max: u64,
    cut: Option<Cut>,
    /// When its supervisor was seen to have ended.
    ended_at: Option<Instant>,
    /// The end of standard error, for when the program did not run.
    said: Vec<u8>,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written.
    pub stream: Stream,
    /// What was written; cut anywhere, also within a line or a character.
    pub bytes: Vec<u8>,
}

/// Names one of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Says why the runtime itself ended a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// It wrote more than this many bytes.
    #[error("it wrote more than {0} bytes")]
    Output(u64),
    /// It ran longer than this.
    #[error("it ran longer than {seconds} s", seconds = .0.as_secs_f64())]
    Time(Duration),
}

/// Tells how a tree ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code of the program; 128 + n after signal n.
    pub code: i32,
    /// What the supervisor reports.
    pub report: Report,
    /// What was enforced; `None` if it was ended before it began.
    pub layers: Option<Layers>,
    /// Why the runtime ended it, if it did because of a bound.
    pub cut: Option<Cut>,
}

/// A program that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; 128 + n after signal n.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Why the runtime ended it, if it did because of a bound.
    pub cut: Option<Cut>,
}

/// The files through which the runtime and one supervisor talk.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) policy: PathBuf,
    pub(super) report: PathBuf,
    pub(super) layers: PathBuf,
    pub(super) door: PathBuf,
    pub(super) control: PathBuf,
    /// What a container is given of these.
    pub(super) folder: Option<PathBuf>,
}

impl Finished {
    /// Returns whether the program itself ended with 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == 0 && self.cut.is_none()
    }
}

impl Tree {
    pub(super) fn new(
        mut child: Child,
        files: Files,
        door: Option<Door>,
        control: Option<UnixListener>,
        container: Option<Container>,
        bytes_max: u64,
    ) -> Result<Self, SandboxError> {
        let gone = || SandboxError::NotRun("its supervisor has ended".to_owned());
        Ok(Self {
            lifeline: child.stdin.take(),
            output: child.stdout.take(),
            error: child.stderr.take(),
            supervisor: child.id().ok_or_else(gone)?,
            child,
            files,
            _door: door,
            control,
            container,
            is_held: false,
            bytes_left: bytes_max,
            bytes_max,
            cut: None,
            ended_at: None,
            said: Vec::new(),
        })
    }

    /// Takes the place at which the tree's keeper comes to talk; there is one once, and only for a keeper.
    pub fn control(&mut self) -> Option<UnixListener> {
        self.control.take()
    }

    /// Returns the process id of the tree's supervisor.
    #[must_use]
    pub const fn supervisor(&self) -> u32 {
        self.supervisor
    }

    /// Waits for the next piece of output; `None` after the last one. More output than allowed kills
    /// the tree. Safe to cancel: nothing is lost.
    ///
    /// A supervisor ends last of its tree, and the outputs with it. If somebody killed it, what it held
    /// together may hold them open for ever: then they are not waited for.
    pub async fn next(&mut self) -> Option<Chunk> {
        loop {
            let mut chunk = self.chunk().await?;
            if chunk.stream == Stream::Error {
                self.remember(&chunk.bytes);
            }
            if self.cut.is_some() {
                // The tree is being killed; what it still says is not kept.
                continue;
            }
            let length = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
            if length > self.bytes_left {
                chunk
                    .bytes
                    .truncate(usize::try_from(self.bytes_left).unwrap_or(usize::MAX));
                self.cut(Cut::Output(self.bytes_max));
                if chunk.bytes.is_empty() {
                    continue;
                }
            } else {
                self.bytes_left -= length;
            }
            return Some(chunk);
        }
    }

    /// Asks the whole tree to end, and kills after the grace (at most an hour) what is left. Does not
    /// wait.
    ///
    /// # Errors
    /// When the supervisor cannot be told; a supervisor that has ended is no error.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), SandboxError> {
        let grace = grace.min(GRACE_MAX);
        self.hold(false).await?;
        self.request(Request::Stop { grace }).await
    }

    /// Kills the whole tree. Does not wait.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn kill(&mut self) -> Result<(), SandboxError> {
        self.hold(false).await?;
        self.request(Request::Kill).await
    }

    /// Halts the whole tree and waits until nothing of it runs. A tree that ended meanwhile, or is
    /// about to, is no error.
    ///
    /// # Errors
    /// When the supervisor cannot be told, or something of the tree still runs after a while.
    pub async fn freeze(&mut self) -> Result<(), SandboxError> {
        if self.container.is_some() {
            return self.hold(true).await;
        }
        self.request(Request::Freeze).await?;
        let give_up = Instant::now() + FREEZE_TIME_MAX;
        while is_running(self.supervisor) {
            if Instant::now() > give_up {
                return Err(SandboxError::NotFrozen);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Lets a frozen tree go on. Does not wait.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn thaw(&mut self) -> Result<(), SandboxError> {
        if self.container.is_some() {
            return self.hold(false).await;
        }
        self.request(Request::Thaw).await
    }

    /// Has the engine hold the container still, or let it go on. One that has just ended is no error.
    async fn hold(&mut self, still: bool) -> Result<(), SandboxError> {
        let Some(container) = self.container.as_ref().filter(|_| self.is_held != still) else {
            return Ok(());
        };
        let done = container
            .hold(still)
            .await
            .map_err(SandboxError::Lifeline)?;
        let has_ended = self.child.try_wait().map_err(SandboxError::Lifeline)?;
        if !done && has_ended.is_none() {
            return Err(SandboxError::NotFrozen);
        }
        self.is_held = still;
        Ok(())
    }

    /// Waits until the whole tree is gone. Output that was not fetched is dropped.
    ///
    /// # Errors
    /// When the program never started, or the supervisor did not say how the tree ended.
    pub async fn wait(mut self) -> Result<Ended, SandboxError> {
        while self.next().await.is_some() {}
        let status = self.child.wait().await.map_err(|source| {
            SandboxError::NoReport(format!("its supervisor cannot be waited for: {source}"))
        })?;
        let said = String::from_utf8_lossy(&self.said).trim_end().to_owned();
        let layers: Option<Layers> = read_line(&self.files.layers);
        let report: Option<Report> = read_line(&self.files.report);
        let report = match report {
            // Nothing was enforced, and nobody asked for its end: a step before the program failed.
            Some(report) if layers.is_none() && report.stopped_by == StoppedBy::Itself => {
                return Err(SandboxError::NotRun(said));
            }
            None if layers.is_none() => return Err(SandboxError::NotRun(said)),
            None => {
                return Err(SandboxError::NoReport(format!(
                    "its supervisor ended with {status}: {said}"
                )));
            }
            Some(report) => report,
        };
        match report.exit {
            Some(exit) if report.survivors == 0 => Ok(Ended {
                code: i32::from(Exit::shell_code(exit)),
                report,
                layers,
                cut: self.cut,
            }),
            Some(_) | None => Err(SandboxError::Survivors(report.survivors)),
        }
    }

    /// Returns whether it is being killed, or was, for a bound.
    #[must_use]
    pub const fn was_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Kills the tree by ending its lifeline, and remembers why. Never waits.
    pub(super) fn cut(&mut self, why: Cut) {
        self.cut = self.cut.or(Some(why));
        self.lifeline = None;
        self.remove_held();
    }

    /// Nobody in a container that is held still notices the end of the lifeline.
    fn remove_held(&self) {
        if let Some(container) = self.container.as_ref().filter(|_| self.is_held) {
            container.remove();
        }
    }

    async fn request(&mut self, request: Request) -> Result<(), SandboxError> {
        let Some(lifeline) = &mut self.lifeline else {
            return Ok(());
        };
        match lifeline.write_all(format!("{request}\n").as_bytes()).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(SandboxError::Lifeline(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits for the next piece, or for the end of the supervisor and a little longer.
    async fn chunk(&mut self) -> Option<Chunk> {
        let Self {
            output,
            error,
            child,
            ended_at,
            ..
        } = self;
        if ended_at.is_none() {
            let next = poll_fn(|context| poll_chunk(output, error, context));
            tokio::select! {
                biased;
                chunk = next => return chunk,
                _ = child.wait() => *ended_at = Some(Instant::now()),
            }
        }
        let deadline = ended_at.unwrap_or_else(Instant::now) + LAST_OUTPUT_WITHIN;
        if Instant::now() >= deadline {
            return None;
        }
        let next = poll_fn(|context| poll_chunk(output, error, context));
        tokio::time::timeout_at(deadline, next).await.ok()?
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.said.extend(bytes);
        let surplus = self.said.len().saturating_sub(SAID_BYTES_MAX);
        self.said.drain(..surplus);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.remove_held();
    }
}

impl Files {
    /// Names the files of a program; one in a container has them in a folder of its own.
    pub(super) fn new(folder: &Path, number: u64, is_contained: bool) -> io::Result<Self> {
        let own = is_contained.then(|| folder.join(format!("{number}.container")));
        if let Some(own) = &own {
            create_closed_directory(own)?;
        }
        let file = |name: &str| match &own {
            Some(own) => own.join(name),
            None => folder.join(format!("{number}.{name}")),
        };
        Ok(Self {
            policy: file("policy"),
            report: file("report"),
            layers: file("layers"),
            door: file("door"),
            control: file("control"),
            folder: own,
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.policy, &self.report, &self.layers, &self.control] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(path = %path.display(), %error, "jail file not removed");
                }
                Ok(()) | Err(_) => (),
            }
        }
        if let Some(Err(error)) = self.folder.as_ref().map(std::fs::remove_dir_all) {
            tracing::debug!(%error, "folder of a container not removed");
        }
    }
}

/// Reads from whichever output has something; an output that ended or failed is not asked again.
fn poll_chunk(
    output: &mut Option<ChildStdout>,
    error: &mut Option<ChildStderr>,
    context: &mut Context<'_>,
) -> Poll<Option<Chunk>> {
    let output = poll_stream(output, context);
    if let Poll::Ready(Some(bytes)) = output {
        let stream = Stream::Output;
        return Poll::Ready(Some(Chunk { stream, bytes }));
    }
    let error = poll_stream(error, context);
    if let Poll::Ready(Some(bytes)) = error {
        let stream = Stream::Error;
        return Poll::Ready(Some(Chunk { stream, bytes }));
    }
    if output.is_ready() && error.is_ready() {
        Poll::Ready(None)
    } else {
        Poll::Pending
    }
}

fn poll_stream<S: AsyncRead + Unpin>(
    stream: &mut Option<S>,
    context: &mut Context<'_>,
) -> Poll<Option<Vec<u8>>> {
    let Some(open) = stream else {
        return Poll::Ready(None);
    };
    let mut bytes = [0; CHUNK_BYTES_MAX];
    let mut buffer = ReadBuf::new(&mut bytes);
    match Pin::new(open).poll_read(context, &mut buffer) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
            Poll::Ready(Some(buffer.filled().to_vec()))
        }
        Poll::Ready(Ok(()) | Err(_)) => {
            *stream = None;
            Poll::Ready(None)
        }
    }
}

/// Reads one of the jail's answers; one that is missing, empty or torn is none.
fn read_line<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let line = std::fs::read(path).ok()?;
    serde_json::from_slice(&line).ok()
}

/// Tells whether anything below the supervisor may still run: neither frozen nor gone.
fn is_running(supervisor: u32) -> bool {
    let halted = jail::tree::is_frozen(supervisor).unwrap_or(false);
    !halted && jail::tree::is_inhabited(supervisor).unwrap_or(true)
}

/// The supervisor itself gives up sooner.
const FREEZE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long what was written before the supervisor's end may still be on its way.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_secs(1);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

const CHUNK_BYTES_MAX: usize = 16 * 1024;

const SAID_BYTES_MAX: usize = 4 * 1024;
