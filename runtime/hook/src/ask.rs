//! Asks the runtime, and waits for its answer as long as a person takes.
//!
//! Invariant: the answer is of the known version and came whole, or there is none.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::wire::{self, ANSWER_BYTES_MAX, Answer, Conversation, KEY, Question, SOCKET, VERSION};

/// The place at which one session's programs ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    key: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The gate's folder cannot be used.
    #[error("cannot enter the gate {folder}: {source}", folder = .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The runtime does not answer.
    #[error("the runtime does not answer: {0}")]
    NoAnswer(#[from] io::Error),
    /// The runtime answers in other words.
    #[error("the runtime answers in version {0}")]
    Version(u32),
}

impl Gate {
    /// Enters the folder of a gate; the process stays in it.
    ///
    /// # Errors
    /// When the folder cannot be entered, or its key cannot be read.
    pub fn enter(folder: &Path) -> Result<Self, AskError> {
        let failed = |source| AskError::Folder {
            folder: folder.to_owned(),
            source,
        };
        let mut key = String::new();
        std::env::set_current_dir(folder)
            .and_then(|()| File::open(KEY))
            .and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut key))
            .map_err(failed)?;
        if key.is_empty() {
            return Err(failed(io::Error::other("its key is empty")));
        }
        Ok(Self { key })
    }

    /// Opens a conversation, and waits until the runtime takes it up.
    ///
    /// # Errors
    /// When it does not.
    pub fn converse(&self) -> Result<UnixStream, AskError> {
        let stream = UnixStream::connect(SOCKET)?;
        let opening = Conversation {
            version: VERSION,
            key: self.key.clone(),
            conversation: true,
        };
        wire::write_line(&stream, &opening)?;
        // Nothing more is said by the other end before the program has begun to speak.
        let answer: Answer = wire::read_line(&stream, ANSWER_BYTES_MAX)?;
        if answer.version != VERSION {
            return Err(AskError::Version(answer.version));
        }
        if answer.allowed {
            Ok(stream)
        } else {
            Err(AskError::NoAnswer(io::Error::other(answer.reason)))
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When there is none that can be understood.
    pub fn ask(&self, mut question: Question) -> Result<Answer, AskError> {
        question.key.clone_from(&self.key);
        let stream = UnixStream::connect(SOCKET)?;
        wire::write_line(&stream, &question)?;
        let answer: Answer = wire::read_line(&stream, ANSWER_BYTES_MAX)?;
        if answer.version == VERSION {
            Ok(answer)
        } else {
            Err(AskError::Version(answer.version))
        }
    }
}

const KEY_BYTES_MAX: u64 = 1024;
