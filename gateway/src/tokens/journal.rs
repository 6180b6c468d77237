//! The journal of revocations: one line for each token that was revoked or deleted, and for each
//! withdrawal of many.
//!
//! Invariant: a line is durable before the token file changes, generations only rise, and a line
//! that was once complete is never taken back. A torn last line was never confirmed to anybody
//! and does not count.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use config::contract::id::TokenId;
use config::home::Home;
use config::private;
use serde::{Deserialize, Serialize};

use super::store::{StoreError, open_private};
use super::withdrawal::Withdrawal;

/// Length in bytes from which the journal is rewritten without what the token file says too.
pub const BYTES_COMPACTED: u64 = 1024 * 1024;

/// Longest journal in bytes that is read.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Line", try_from = "Line")]
pub struct Entry {
    /// Rises with each change of the token file.
    pub generation: u64,
    /// What is refused from now on.
    pub target: Target,
    /// When.
    pub revoked_at: DateTime<Utc>,
    /// By whom.
    pub revoked_by: String,
}

/// What a revocation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One token.
    Token(TokenId),
    /// All credentials that fit.
    Credentials(Withdrawal),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<TokenId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withdrawal: Option<Withdrawal>,
    revoked_at: DateTime<Utc>,
    revoked_by: String,
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        let (id, withdrawal) = match entry.target {
            Target::Token(id) => (Some(id), None),
            Target::Credentials(withdrawal) => (None, Some(withdrawal)),
        };
        Self {
            generation: entry.generation,
            id,
            withdrawal,
            revoked_at: entry.revoked_at,
            revoked_by: entry.revoked_by,
        }
    }
}

impl TryFrom<Line> for Entry {
    type Error = &'static str;

    fn try_from(line: Line) -> Result<Self, Self::Error> {
        let target = match (line.id, line.withdrawal) {
            (Some(id), None) => Target::Token(id),
            (None, Some(withdrawal)) => Target::Credentials(withdrawal),
            (Some(_), Some(_)) | (None, None) => return Err("expected an id or a withdrawal"),
        };
        Ok(Self {
            generation: line.generation,
            target,
            revoked_at: line.revoked_at,
            revoked_by: line.revoked_by,
        })
    }
}

/// What the journal gained since it was last read.
#[derive(Debug, Default)]
pub struct News {
    /// New entries, oldest first; after the file was replaced, all of them.
    pub entries: Vec<Entry>,
    /// Whether the file is another one than at the last look: what it said before, and what was never
    /// read of it, may be in the token file alone.
    pub replaced: bool,
    /// The first line that is not an entry; the others were read all the same.
    pub damage: Option<StoreError>,
}

/// Reads the journal bit by bit, as it grows.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    followed: Option<Followed>,
    offset: u64,
    line: usize,
}

/// The file that is followed. The open handle keeps the system from giving its inode to the next.
#[derive(Debug)]
struct Followed {
    inode: u64,
    _file: File,
}

impl Tail {
    /// Starts before the first line.
    #[must_use]
    pub fn new(home: &Home) -> Self {
        Self {
            path: home.revocations(),
            followed: None,
            offset: 0,
            line: 0,
        }
    }

    /// Returns what is new; nothing, usually.
    ///
    /// # Errors
    /// When the file cannot be read or others may write it.
    pub fn read(&mut self) -> Result<News, StoreError> {
        let Some(mut file) = open_private(&self.path)? else {
            return Ok(News {
                replaced: self.start_over(None),
                ..News::default()
            });
        };
        let io_error = |source| StoreError::io("read", &self.path, source);
        let metadata = file.metadata().map_err(io_error)?;
        if metadata.len() > BYTES_MAX {
            return Err(StoreError::TooLong {
                path: self.path.clone(),
                bytes_max: BYTES_MAX,
            });
        }
        let inode = metadata.ino();
        let same = self.followed.as_ref().is_some_and(|old| old.inode == inode);
        if same && metadata.len() == self.offset {
            return Ok(News::default());
        }
        let replaced = (!same || metadata.len() < self.offset)
            && self.start_over(Some(Followed {
                inode,
                _file: file.try_clone().map_err(io_error)?,
            }));
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.take(BYTES_MAX).read_to_end(&mut text))
            .map_err(|source| StoreError::io("read", &self.path, source))?;
        Ok(self.parse(&text, replaced))
    }

    /// Follows another file from its start; returns whether one was followed before.
    fn start_over(&mut self, followed: Option<Followed>) -> bool {
        self.offset = 0;
        self.line = 0;
        std::mem::replace(&mut self.followed, followed).is_some()
    }

    fn parse(&mut self, text: &[u8], replaced: bool) -> News {
        let mut news = News {
            replaced,
            ..News::default()
        };
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            self.offset += line.len() as u64;
            self.line += 1;
            match serde_json::from_slice(line) {
                Ok(entry) => news.entries.push(entry),
                Err(error) => {
                    news.damage.get_or_insert(StoreError::Malformed {
                        path: self.path.clone(),
                        line: self.line,
                        column: error.column(),
                        message: error.to_string(),
                    });
                }
            }
        }
        news
    }
}

/// Reads the whole journal, for who is about to write it.
///
/// # Errors
/// When it cannot be read or a line is not an entry.
pub(crate) fn read(home: &Home) -> Result<Vec<Entry>, StoreError> {
    let news = Tail::new(home).read()?;
    match news.damage {
        Some(damage) => Err(damage),
        None => Ok(news.entries),
    }
}

/// Appends entries durably; the caller holds the token lock.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn append(home: &Home, entries: &[Entry]) -> Result<(), StoreError> {
    let path = home.revocations();
    let write = || -> io::Result<()> {
        let mut file = private::append_file(&path)?;
        let old_bytes = drop_torn_line(&mut file)?;
        file.write_all(&lines(entries)?)?;
        file.sync_all()?;
        if old_bytes == 0 {
            private::sync_parent(&path)?;
        }
        Ok(())
    };
    write().map_err(|source| StoreError::io("append to", &path, source))
}

/// Rewrites the journal with what the token file does not say; the caller holds the token lock.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn compact(home: &Home, kept: &[Entry]) -> Result<(), StoreError> {
    let path = home.revocations();
    lines(kept)
        .and_then(|bytes| private::replace_file(&path, &bytes))
        .map_err(|source| StoreError::io("rewrite", &path, source))
}

/// Returns the journal's length in bytes; 0 if there is none.
pub(crate) fn bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

fn lines(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut bytes, entry)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Cuts what a crash left after the last complete line, and returns the length that remains.
fn drop_torn_line(file: &mut File) -> io::Result<u64> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file)
        .take(BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let complete = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |position| position as u64 + 1);
    if complete < text.len() as u64 {
        file.set_len(complete)?;
    }
    Ok(complete)
}
