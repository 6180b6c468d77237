//! Follows the token file and the journal while a gateway runs, and publishes snapshots.
//!
//! Invariant: a revocation is in the published snapshot before it is acknowledged. A damaged token
//! file keeps the last good one in use, but revocations always apply. A journal that was compacted
//! between two looks says no longer what was in it: nothing more is acknowledged until the token file,
//! which says it, was read.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::home::Home;

use super::acknowledge::Acknowledgement;
use super::index::Index;
use super::journal::Tail;
use super::store::{self, StoreError};
use super::usage::Recorder;

/// Time between two looks at the files.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Looks between two attempts to read what could not be read: one second.
const ATTEMPTS_SKIPPED: u32 = 20;

/// Looks between two writes of when tokens were last used: five seconds.
const USAGE_SKIPPED: u32 = 100;

/// Something that the operator should know.
#[derive(Debug)]
pub enum Notice {
    /// The token file is in use in its new state.
    Reloaded {
        /// Its generation.
        generation: u64,
    },
    /// Something cannot be read or written; what was good before stays in use.
    Failed(StoreError),
}

/// The thread that follows the files; dropping it ends the thread.
pub struct TokenWatch {
    published: Arc<ArcSwap<Index>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TokenWatch {
    /// Registers this gateway, reads everything once, and starts to follow.
    ///
    /// # Errors
    /// When the files are damaged, open to others, somebody else's, or unreadable: a gateway does
    /// not start on them.
    pub fn start(
        home: &Home,
        report: impl Fn(Notice) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let acknowledgement = Acknowledgement::register(home)?;
        let published = Arc::new(ArcSwap::from_pointee(Index::default()));
        let mut follower = Follower {
            home: home.clone(),
            acknowledgement,
            published: Arc::clone(&published),
            journal: Tail::new(home),
            seen: None,
            behind: false,
            attempts_to_skip: 0,
            last_failure: String::new(),
            recorder: Recorder::new(home.clone()),
            looks: 0,
            report: Box::new(report),
        };
        follower.begin()?;
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = thread::Builder::new()
            .name("tokens".to_owned())
            .spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    thread::park_timeout(INTERVAL);
                    follower.look();
                }
                follower.write_usage();
            })
            .map_err(|source| StoreError::io("follow", &home.tokens(), source))?;
        Ok(Self {
            published,
            ended,
            thread: Some(thread),
        })
    }

    /// Returns where the newest snapshot is found.
    #[must_use]
    pub fn index(&self) -> Arc<ArcSwap<Index>> {
        Arc::clone(&self.published)
    }
}

impl fmt::Debug for TokenWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenWatch")
            .field("generation", &self.published.load().generation())
            .finish_non_exhaustive()
    }
}

impl Drop for TokenWatch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was reported when it happened.
            drop(thread.join());
        }
    }
}

/// Tells one state of the token file from another; it is only ever replaced by a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The state that is in use. The open handle keeps the system from giving its inode to the next.
struct Seen {
    identity: Identity,
    _file: File,
}

struct Follower {
    home: Home,
    acknowledgement: Acknowledgement,
    published: Arc<ArcSwap<Index>>,
    journal: Tail,
    seen: Option<Seen>,
    /// Whether the journal was replaced and the token file not read since.
    behind: bool,
    attempts_to_skip: u32,
    last_failure: String,
    recorder: Recorder,
    looks: u32,
    report: Box<dyn Fn(Notice) + Send>,
}

impl Follower {
    fn begin(&mut self) -> Result<(), StoreError> {
        if let Some(damage) = self.read_journal()? {
            return Err(damage);
        }
        self.read_tokens()?;
        self.acknowledge()
    }

    /// Revocations first: they are short, and somebody waits for them.
    fn look(&mut self) {
        if self.attempts_to_skip > 0 {
            self.attempts_to_skip -= 1;
        }
        self.looks += 1;
        if self.looks == USAGE_SKIPPED {
            self.looks = 0;
            self.write_usage();
        }
        let journal = self.read_journal();
        let said = self.acknowledge();
        let failures = [journal.unwrap_or_else(Some), said.err()];
        for failure in failures.into_iter().flatten() {
            self.fail(failure);
        }
        if self.attempts_to_skip > 0 {
            return;
        }
        match self.read_tokens() {
            Ok(changed) => {
                if changed {
                    self.last_failure.clear();
                    let generation = self.published.load().file_generation();
                    (self.report)(Notice::Reloaded { generation });
                }
                self.behind = false;
                if let Err(failure) = self.acknowledge() {
                    self.fail(failure);
                }
            }
            Err(failure) => {
                self.attempts_to_skip = ATTEMPTS_SKIPPED;
                self.fail(failure);
            }
        }
    }

    /// Publishes new revocations and returns the journal's damage, if there is any.
    fn read_journal(&mut self) -> Result<Option<StoreError>, StoreError> {
        let news = self.journal.read()?;
        self.behind |= news.replaced;
        if !news.entries.is_empty() {
            let next = self.published.load().with_revoked(&news.entries);
            self.published.store(Arc::new(next));
        }
        Ok(news.damage)
    }

    /// Publishes the token file's new state, if it has one.
    fn read_tokens(&mut self) -> Result<bool, StoreError> {
        let path = self.home.tokens();
        let Some(mut file) = store::open_private(&path)? else {
            let vanished = self.seen.take().is_some();
            if vanished {
                let next = self.published.load().with_stored(store::Stored::default());
                self.published.store(Arc::new(next));
            }
            return Ok(vanished);
        };
        let metadata = file
            .metadata()
            .map_err(|source| StoreError::io("read", &path, source))?;
        let identity = Identity {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        if self
            .seen
            .as_ref()
            .is_some_and(|seen| seen.identity == identity)
        {
            return Ok(false);
        }
        let stored = store::read_open(&path, &mut file)?;
        let next = self.published.load().with_stored(stored);
        self.published.store(Arc::new(next));
        self.seen = Some(Seen {
            identity,
            _file: file,
        });
        Ok(true)
    }

    fn write_usage(&mut self) {
        let index = self.published.load_full();
        if let Err(failure) = self.recorder.write(&index) {
            self.fail(failure);
        }
    }

    fn acknowledge(&mut self) -> Result<(), StoreError> {
        if self.behind {
            return Ok(());
        }
        let index = self.published.load();
        self.acknowledgement
            .say(index.generation(), index.file_generation())
    }

    /// Reports a failure once, not with each look.
    fn fail(&mut self, failure: StoreError) {
        let text = failure.to_string();
        if text != self.last_failure {
            self.last_failure = text;
            (self.report)(Notice::Failed(failure));
        }
    }
}

#[cfg(test)]
mod tests;
