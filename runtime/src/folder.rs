//! The folder of one session: where its workspace, its repository and its records lie.
//!
//! Invariant: an agent can write below [`SessionFolder::workspace`] and [`SessionFolder::private`]
//! alone, and read [`SessionFolder::gate`] besides; everything else of the folder belongs to the
//! runtime.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use config::contract::id::SessionId;
use config::home::Home;
use config::private::create_closed_directory;

/// The places of one session, below `<data directory>/runtime/sessions/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFolder {
    directory: PathBuf,
    session: SessionId,
}

/// A session's folder that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make session folder {path}: {source}", path = .path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

impl SessionFolder {
    /// Makes the folder of a session and the places that must exist before anything runs (mode 0700).
    ///
    /// # Errors
    /// When a place cannot be made, or is a symbolic link.
    pub fn create(home: &Home, session: &SessionId) -> Result<Self, FolderError> {
        let failed = |path: &Path, source| FolderError {
            path: path.to_owned(),
            source,
        };
        let sessions = home.runtime().join("sessions");
        create_closed_directory(&sessions).map_err(|source| failed(&sessions, source))?;
        // Landlock and git compare places, not names: the name is made unique once, here.
        let sessions = sessions
            .canonicalize()
            .map_err(|source| failed(&sessions, source))?;
        let folder = Self {
            directory: sessions.join(session.as_str()),
            session: session.clone(),
        };
        let places = [
            folder.directory.clone(),
            folder.workspace(),
            folder.private(),
            folder.home(),
            folder.temporary(),
            folder.gate(),
            folder.repository(),
            folder.bundle_folder(),
            folder.git_home(),
        ];
        for place in places {
            create_closed_directory(&place).map_err(|source| failed(&place, source))?;
        }
        Ok(folder)
    }

    /// Returns where the folder of a session lies, whether it is there or not.
    #[must_use]
    pub fn place(home: &Home, session: &SessionId) -> PathBuf {
        home.runtime().join("sessions").join(session.as_str())
    }

    /// Empties the places in which a clone is made, because an earlier attempt was broken off.
    ///
    /// # Errors
    /// When a place cannot be emptied or made.
    pub fn renew(&self) -> Result<(), FolderError> {
        for place in [
            self.workspace(),
            self.private(),
            self.repository(),
            self.bundle_folder(),
            self.git_home(),
        ] {
            std::fs::remove_dir_all(&place)
                .and_then(|()| create_closed_directory(&place))
                .map_err(|source| FolderError {
                    path: place.clone(),
                    source,
                })?;
        }
        for place in [self.home(), self.temporary()] {
            create_closed_directory(&place).map_err(|source| FolderError {
                path: place.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Returns whose folder this is.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the agent's own clone.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.directory.join("workspace")
    }

    /// Returns the folder which holds the agent's home and temporary files.
    #[must_use]
    pub fn private(&self) -> PathBuf {
        self.directory.join("private")
    }

    /// Returns the agent's `HOME`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.private().join("home")
    }

    /// Returns the agent's `TMPDIR`.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.private().join("tmp")
    }

    /// Returns the folder by which an agent's program asks before it acts.
    #[must_use]
    pub fn gate(&self) -> PathBuf {
        self.directory.join("gate")
    }

    /// Returns the runtime's own bare repository of the session.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.directory.join("repository.git")
    }

    /// Returns the log of what the agent's program wrote in an iteration.
    #[must_use]
    pub fn output_log(&self, iteration: u32) -> PathBuf {
        log_below(&self.directory, iteration)
    }

    /// Returns the log of a long-lived sandbox.
    #[must_use]
    pub fn sandbox_log(&self) -> PathBuf {
        self.directory.join("sandbox.log")
    }

    /// Returns the session's record of what its agent did.
    #[must_use]
    pub fn agent_audit(&self) -> PathBuf {
        self.directory.join("agent-audit.jsonl")
    }

    /// Returns the folder through which commits travel from the workspace to the repository.
    pub(crate) fn bundle_folder(&self) -> PathBuf {
        self.directory.join("bundle")
    }

    /// Returns the file that names the branch on which the project stood when it was cloned.
    pub(crate) fn base_branch(&self) -> PathBuf {
        self.directory.join("base-branch")
    }

    /// Returns the file of a pack on its way into the repository.
    pub(crate) fn pack(&self) -> PathBuf {
        self.directory.join("work.pack")
    }

    /// Returns the folder in which the names of branches are reserved, for all sessions.
    pub(crate) fn reservations(&self) -> PathBuf {
        self.directory.join("../../branches")
    }

    /// Returns the `HOME` of git: nothing lies there but settings that the runtime wrote.
    pub(crate) fn git_home(&self) -> PathBuf {
        self.directory.join("git-home")
    }
}

/// Returns the log of a session's iteration, whether the folder is still there or not.
#[must_use]
pub fn output_log(home: &Home, session: &SessionId, iteration: u32) -> PathBuf {
    log_below(&SessionFolder::place(home, session), iteration)
}

/// Returns the last bytes of a file as text; nothing if it is not there.
///
/// # Errors
/// When it cannot be read.
pub fn end_of_file(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the size of a folder's files; what cannot be read counts nothing.
#[must_use]
pub fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, found)| {
            if found.is_dir() {
                bytes_below(&path)
            } else {
                found.len()
            }
        })
        .fold(0, u64::saturating_add)
}

fn log_below(folder: &Path, iteration: u32) -> PathBuf {
    folder.join(format!("output-{iteration}.log"))
}
