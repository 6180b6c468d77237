//! The runtime's side of the conversation with a sandbox's keeper.
//!
//! Invariant: the keeper is believed nothing. It names shells that were asked for, and a line that is not
//! understood ends the conversation; descriptors are given and never taken.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Pair;
use std::time::Duration;

use jail::order::{Answer, LINE_BYTES_MAX, Order, Size, TerminalKind};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

/// A shell that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: u32,
    /// What is typed goes in and what is shown comes out.
    pub(super) stream: UnixStream,
    /// How it ends.
    pub(super) ended: oneshot::Receiver<u8>,
}

/// Why a shell could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// The sandbox does not run.
    #[error("the sandbox does not run")]
    NotRunning,
    /// As many are open as may be.
    #[error("{SHELLS_MAX} shells are open, which is the most of one sandbox")]
    TooMany,
    /// The sandbox itself could not.
    #[error("the sandbox cannot open a shell: {0}")]
    Inside(String),
}

/// The conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    stream: UnixStream,
    partial: Vec<u8>,
    last: u32,
    asked: HashMap<u32, Asked>,
    open: HashMap<u32, oneshot::Sender<u8>>,
}

#[derive(Debug)]
struct Asked {
    stream: UnixStream,
    answer: oneshot::Sender<Result<Opened, ShellError>>,
}

/// What the keeper said that is worth a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The number of open shells has changed.
    Opened,
    /// A shell has ended.
    Closed { number: u32, code: u8 },
}

impl Conversation {
    /// Waits for the keeper to come.
    pub(super) async fn begin(door: UnixListener) -> io::Result<Self> {
        let came = tokio::time::timeout(COMES_WITHIN, door.accept()).await;
        let late = |_| io::Error::other("the keeper of the sandbox did not come");
        let (stream, _) = came.map_err(late)??;
        Ok(Self {
            stream,
            partial: Vec::new(),
            last: 0,
            asked: HashMap::new(),
            open: HashMap::new(),
        })
    }

    /// Returns how many shells are open.
    pub(super) fn shells(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    /// Asks for a shell.
    pub(super) async fn open(
        &mut self,
        size: Size,
        kind: TerminalKind,
        answer: oneshot::Sender<Result<Opened, ShellError>>,
    ) -> io::Result<()> {
        if self.open.len() + self.asked.len() >= SHELLS_MAX {
            refuse(answer, ShellError::TooMany);
            return Ok(());
        }
        let (ours, theirs) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        self.last = self.last.wrapping_add(1);
        let number = self.last;
        self.asked.insert(number, Asked { stream, answer });
        self.say(&Order::Open { number, size, kind }, Some(&theirs))
            .await
    }

    /// Says that a terminal has another size.
    pub(super) async fn resize(&mut self, number: u32, size: Size) -> io::Result<()> {
        self.say(&Order::Resize { number, size }, None).await
    }

    async fn say(&self, order: &Order, descriptor: Option<&Pair>) -> io::Result<()> {
        let line = format!("{order}\n");
        let send = || {
            let descriptors = descriptor.map(AsFd::as_fd);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if descriptors.is_some()
                && !control.push(SendAncillaryMessage::ScmRights(descriptors.as_slice()))
            {
                return Err(io::Error::other("no room for a descriptor"));
            }
            let slices = [IoSlice::new(line.as_bytes())];
            Ok(sendmsg(
                &self.stream,
                &slices,
                &mut control,
                SendFlags::NOSIGNAL,
            )?)
        };
        let sent = self.stream.async_io(Interest::WRITABLE, send);
        // Whoever is inside may have the keeper not listen.
        match tokio::time::timeout(LISTENS_WITHIN, sent).await {
            Ok(Ok(length)) if length == line.len() => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(io::Error::other("the keeper does not listen")),
        }
    }

    /// Waits for the next thing that the keeper says. Safe to cancel.
    pub(super) async fn next(&mut self) -> io::Result<Said> {
        loop {
            if let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if let Some(said) = self.understand(line.trim_end())? {
                    return Ok(said);
                }
                continue;
            }
            if self.partial.len() > LINE_BYTES_MAX {
                return Err(not_understood());
            }
            if self.stream.read_buf(&mut self.partial).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn understand(&mut self, line: &str) -> io::Result<Option<Said>> {
        match line.parse().map_err(|_| not_understood())? {
            Answer::Opened(number) => {
                let asked = self.asked.remove(&number).ok_or_else(not_understood)?;
                let (sender, ended) = oneshot::channel();
                self.open.insert(number, sender);
                let opened = Opened {
                    number,
                    stream: asked.stream,
                    ended,
                };
                // If nobody waits any more the shell's stream is closed, and it hangs up.
                drop(asked.answer.send(Ok(opened)));
                Ok(Some(Said::Opened))
            }
            Answer::Refused(number, why) => {
                let asked = self.asked.remove(&number).ok_or_else(not_understood)?;
                let why = why.chars().take(WHY_CHARACTERS_MAX).collect();
                refuse(asked.answer, ShellError::Inside(why));
                Ok(None)
            }
            Answer::Closed(number, code) => {
                let ended = self.open.remove(&number).ok_or_else(not_understood)?;
                if ended.send(code).is_err() {
                    tracing::debug!(number, "whoever typed at a shell had left");
                }
                Ok(Some(Said::Closed { number, code }))
            }
        }
    }
}

fn refuse(answer: oneshot::Sender<Result<Opened, ShellError>>, why: ShellError) {
    // Whoever asked may have gone.
    drop(answer.send(Err(why)));
}

fn not_understood() -> io::Error {
    io::Error::other("the keeper of the sandbox says what is not understood")
}

/// Most shells of one sandbox at once.
const SHELLS_MAX: usize = 8;

const WHY_CHARACTERS_MAX: usize = 200;
const COMES_WITHIN: Duration = Duration::from_secs(30);
const LISTENS_WITHIN: Duration = Duration::from_secs(5);
