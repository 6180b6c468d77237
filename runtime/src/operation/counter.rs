//! Where one run of an agent's program asks: a socket in a folder that only this session's programs can
//! read.
//!
//! Invariant: a question is passed on only with the session's own key, whole and in time; whoever asked
//! and has gone away takes the question along; and the counter ends with its [`Counter`], so that
//! whoever still waits then is refused.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::private;
use hook::wire::{
    self, ANSWER_BYTES_MAX, Answer, KEY, Opening, QUESTION_BYTES_MAX, SOCKET, VERSION,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Operation;
use super::arguments::{self, Place};
use crate::identity::{self, NoRandomness};

/// An open counter. Dropping it refuses whoever waits at it.
#[derive(Debug)]
pub struct Counter {
    asked: mpsc::Receiver<Asked>,
    conversations: mpsc::Receiver<UnixStream>,
    variables: BTreeMap<String, String>,
    socket: PathBuf,
    task: JoinHandle<()>,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// What would be done.
    pub operation: Operation,
    /// Takes the answer; closed as soon as whoever asked has gone away.
    pub answer: oneshot::Sender<Answer>,
}

/// Why no counter can be had; then the program is not run.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// Its folder cannot be used.
    #[error("cannot open the place at which the agent asks, {folder}: {source}", folder = .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No key could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Counter {
    /// Opens a counter in a closed folder, for programs that see it at `place` and whose questions wait
    /// for a person no longer than `within`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the folder cannot be used, or there is no randomness.
    pub fn open(folder: &Path, place: &Place, within: Duration) -> Result<Self, CounterError> {
        let failed = |source| CounterError::Folder {
            folder: folder.to_owned(),
            source,
        };
        let key = identity::key()?;
        private::replace_file(&folder.join(KEY), key.as_bytes()).map_err(failed)?;
        arguments::write(folder, place, within).map_err(failed)?;
        let listener = listen(folder).map_err(failed)?;
        let (sender, asked) = mpsc::channel(WAITING_MAX);
        let (speaks, conversations) = mpsc::channel(1);
        let takers = Takers {
            key: key.into(),
            asked: sender,
            conversations: speaks,
        };
        let task = tokio::spawn(async move {
            if let Err(error) = accept(listener, takers).await {
                tracing::warn!(%error, "the place at which an agent asks was closed");
            }
        });
        Ok(Self {
            asked,
            conversations,
            variables: arguments::variables(place, within),
            socket: folder.join(SOCKET),
            task,
        })
    }

    /// Returns the variables that the program needs to ask.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Waits for the next question. Safe to cancel: none is lost.
    pub async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            // Nobody can ask any more; what the program does then it is refused by its own rules.
            None => std::future::pending().await,
        }
    }

    /// Waits for the conversation of a program that speaks by its streams; there is one. Safe to cancel.
    pub async fn conversation(&mut self) -> UnixStream {
        match self.conversations.recv().await {
            Some(stream) => {
                self.conversations.close();
                stream
            }
            None => std::future::pending().await,
        }
    }
}

/// Who takes what is said at the counter.
#[derive(Clone, Debug)]
struct Takers {
    key: Arc<str>,
    asked: mpsc::Sender<Asked>,
    conversations: mpsc::Sender<UnixStream>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(path = %self.socket.display(), %error, "socket not removed");
        }
    }
}

/// Listens in a folder by way of its descriptor: the path of a socket may be short only.
fn listen(folder: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(folder.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let folder = std::fs::File::open(folder)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    UnixListener::bind(short)
}

async fn accept(listener: UnixListener, takers: Takers) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Those who wait are in the kernel's queue, which is bounded.
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        let takers = takers.clone();
        connections.spawn(async move {
            if let Err(error) = serve(stream, &takers).await {
                tracing::debug!(%error, "a question of an agent's program was not answered");
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one question, passes a conversation on, or closes the connection, which is a refusal.
async fn serve(mut stream: UnixStream, takers: &Takers) -> io::Result<()> {
    let opening = timeout(READ_WITHIN, read(&mut stream)).await??;
    let (version, key) = match &opening {
        Opening::Question(question) => (question.version, &question.key),
        Opening::Conversation(opening) => (opening.version, &opening.key),
    };
    let known = version == VERSION
        && aws_lc_rs::constant_time::verify_slices_are_equal(key.as_bytes(), takers.key.as_bytes())
            .is_ok();
    if !known {
        return Err(io::Error::other("another version or key"));
    }
    let question = match opening {
        Opening::Question(question) => question,
        Opening::Conversation(_) => {
            let mut line = Vec::new();
            wire::write_line(&mut line, &Answer::new(true, ""))?;
            stream.write_all(&line).await?;
            return takers
                .conversations
                .try_send(stream)
                .map_err(io::Error::other);
        }
    };
    let (answer, answered) = oneshot::channel();
    let asking = Asked {
        operation: question.into(),
        answer,
    };
    takers.asked.send(asking).await.map_err(io::Error::other)?;
    let mut more = [0; 1];
    let answer = tokio::select! {
        answer = answered => answer.map_err(io::Error::other)?,
        // There is nothing more to say; whoever does, or goes away, does not wait any more.
        _ = stream.read(&mut more) => return Err(io::Error::other("it has gone away")),
    };
    let mut line = Vec::new();
    wire::write_line(&mut line, &shortened(answer))?;
    stream.write_all(&line).await
}

async fn read(stream: &mut UnixStream) -> io::Result<Opening> {
    let mut line = Vec::new();
    let mut from = BufReader::new(stream.take(QUESTION_BYTES_MAX));
    from.read_until(b'\n', &mut line).await?;
    wire::read_line(line.as_slice(), QUESTION_BYTES_MAX)
}

/// Keeps an answer within what the other end reads.
fn shortened(mut answer: Answer) -> Answer {
    let most = usize::try_from(ANSWER_BYTES_MAX / 16).unwrap_or(usize::MAX);
    let end = answer.reason.floor_char_boundary(most);
    answer.reason.truncate(end);
    answer
}

const CONNECTIONS_MAX: usize = 64;
const WAITING_MAX: usize = 16;
const READ_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::time::Duration;

    use hook::wire::{Answer, Asker, KEY, Question, SOCKET, VERSION, read_line, write_line};
    use serde_json::json;

    use super::{Counter, Place};

    fn open(folder: &Path) -> Counter {
        let place = Place {
            hook: "/usr/bin/loki-hook".into(),
            gate: folder.to_owned(),
        };
        Counter::open(folder, &place, Duration::from_secs(60)).unwrap()
    }

    fn question(folder: &Path) -> Question {
        Question {
            version: VERSION,
            key: fs::read_to_string(folder.join(KEY)).unwrap(),
            asker: Asker::ToolUse,
            call: "t1".to_owned(),
            tool: "Bash".to_owned(),
            input: json!({"command": "ls"}),
            directory: "/app".to_owned(),
        }
    }

    /// Says something and returns what comes back.
    async fn say(folder: &Path, bytes: Vec<u8>) -> Vec<u8> {
        let socket = folder.join(SOCKET);
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(&bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).ok();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok();
            answer
        })
        .await
        .unwrap()
    }

    fn line(question: &Question) -> Vec<u8> {
        let mut line = Vec::new();
        write_line(&mut line, question).unwrap();
        line
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_has_not_the_key_or_speaks_otherwise_is_not_answered() {
        let folder = tempfile::tempdir().unwrap();
        let mut counter = open(folder.path());
        let good = question(folder.path());
        let other_key = Question {
            key: "0".repeat(64),
            ..good.clone()
        };
        let other_version = Question {
            version: 2,
            ..good.clone()
        };
        let torn = line(&good);
        for bytes in [
            Vec::new(),
            b"allow\n".to_vec(),
            line(&other_key),
            line(&other_version),
            torn[..torn.len() - 1].to_vec(),
        ] {
            assert_eq!(say(folder.path(), bytes).await, b"");
        }
        let waits = tokio::time::timeout(Duration::ZERO, counter.next()).await;
        assert!(waits.is_err(), "nothing was passed on: {waits:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_is_answered_once_and_one_who_has_gone_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut counter = open(folder.path());
        let asks = line(&question(folder.path()));
        let socket = folder.path().join(SOCKET);
        let asking = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(&asks).unwrap();
            read_line::<Answer>(&stream, 4096).unwrap()
        });
        let asked = counter.next().await;
        assert_eq!(asked.operation.command(), Some("ls"));
        asked.answer.send(Answer::new(true, "fine")).unwrap();
        assert_eq!(asking.await.unwrap(), Answer::new(true, "fine"));

        let mut stream = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
        stream.write_all(&line(&question(folder.path()))).unwrap();
        let mut asked = counter.next().await;
        drop(stream);
        asked.answer.closed().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_when_the_counter_closes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut counter = open(folder.path());
        let mut stream = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
        stream.write_all(&line(&question(folder.path()))).unwrap();
        let mut asked = counter.next().await;
        drop(counter);
        asked.answer.closed().await;
        assert!(asked.answer.send(Answer::new(true, "")).is_err());
        let ended = tokio::task::spawn_blocking(move || {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map(|_| answer)
        });
        assert_eq!(ended.await.unwrap().unwrap_or_default(), b"");
        assert!(!folder.path().join(SOCKET).exists());
    }
}
