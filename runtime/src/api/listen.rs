//! The runtime's door: one Unix socket per data directory, for its owner alone.
//!
//! Invariant: whoever holds the lock is the only runtime of the data directory; the socket lies in a
//! folder of mode 0700 and has mode 0600; a peer of another user than ours or root is turned away.
//! With a gateway of another user in settings, its group may enter the folder (0750) and connect
//! (0660), and of that group that user alone is served.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use config::home::Home;
use config::private;
use rustix::fs::{FlockOperation, flock};
use tokio::net::{UnixListener, UnixStream};

/// Why the runtime cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another runtime has the data directory.
    #[error("another runtime has data directory {0}: stop it first, or set LOKI_DATA_DIR")]
    Taken(PathBuf),
    /// Another program answers on the socket.
    #[error("another program listens on {0}: stop it, or set socket in runtime.toml")]
    Busy(PathBuf),
    /// Something that is no socket has its name.
    #[error("{0} is in the way and no socket: move it away, or set socket in runtime.toml")]
    InTheWay(PathBuf),
    /// Others may write into its folder.
    #[error("folder {path} of the socket has mode {mode:o}: run chmod {wanted:o} on it")]
    TooOpen {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The widest permission bits allowed.
        wanted: u32,
    },
    /// The gateway's user is not known here.
    #[error("there is no user {0:?}: set gateway_user in runtime.toml to a name or number")]
    NoUser(String),
    /// A file or folder cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The sole right to a data directory; given up when dropped, or when the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// A child that is being started holds the file until it begins its program, and with it a lock that is not taken
    /// back by name.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "the lock of the data directory was not given back");
        }
    }
}

impl Lock {
    /// Takes the data directory for this process.
    ///
    /// # Errors
    /// When another runtime has it.
    pub fn take(home: &Home) -> Result<Self, ListenError> {
        let path = home.run().join("runtime.lock");
        private::create_closed_directory(&home.run()).map_err(failed(&home.run()))?;
        let file = private::append_file(&path).map_err(failed(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(ListenError::Taken(home.directory().to_owned()))
            }
            Err(error) => Err(failed(&path)(error.into())),
        }
    }
}

/// Whom the door is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// A gateway of our own user.
    Ours,
    /// A gateway of this user, with whom we share a group.
    OfUser(u32),
}

impl Gateway {
    /// Returns whom the settings name, by number or by name.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn named(user: Option<&str>) -> Result<Self, ListenError> {
        let Some(user) = user else {
            return Ok(Self::Ours);
        };
        if let Ok(number) = user.parse() {
            return Ok(Self::OfUser(number));
        }
        let path = Path::new("/etc/passwd");
        let text = fs::read_to_string(path).map_err(failed(path))?;
        number_of(&text, user)
            .map(Self::OfUser)
            .ok_or_else(|| ListenError::NoUser(user.to_owned()))
    }

    /// Returns the widest modes of the socket's folder and of the socket.
    const fn modes(self) -> (u32, u32) {
        match self {
            Self::Ours => (0o700, 0o600),
            Self::OfUser(_) => (0o750, 0o660),
        }
    }

    fn admits(self, peer: u32) -> bool {
        let own = rustix::process::geteuid().as_raw();
        peer == own || peer == 0 || self == Self::OfUser(peer)
    }
}

fn number_of(passwd: &str, user: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user && !user.is_empty()).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// The open door. The socket's file is removed when dropped.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    gateway: Gateway,
}

impl Door {
    /// Listens on `path`; a socket that a dead runtime left there is replaced.
    ///
    /// # Errors
    /// When something else is there, its folder is open to others, or the system refuses.
    pub async fn open(path: &Path, gateway: Gateway, _lock: &Lock) -> Result<Self, ListenError> {
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        private::create_directory(folder).map_err(failed(folder))?;
        let mode = fs::metadata(folder)
            .map_err(failed(folder))?
            .permissions()
            .mode()
            & 0o777;
        let (wanted, socket_mode) = gateway.modes();
        if mode & !wanted != 0 {
            return Err(ListenError::TooOpen {
                path: folder.to_owned(),
                mode,
                wanted,
            });
        }
        clear(path).await?;
        let listener = UnixListener::bind(path).map_err(failed(path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(socket_mode)).map_err(failed(path))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            gateway,
        })
    }

    /// Waits for the next caller who is the gateway's user, our own or root.
    ///
    /// # Errors
    /// When the system cannot accept.
    pub(super) async fn next(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.uid();
            if self.gateway.admits(peer) {
                return Ok(stream);
            }
            tracing::warn!(uid = peer, "caller of another user turned away");
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "socket not removed");
        }
    }
}

/// Removes what a dead runtime left.
async fn clear(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path)(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::InTheWay(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed(path))
        }
        Err(error) => Err(failed(path)(error)),
        Ok(_) => Err(ListenError::Busy(path.to_owned())),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ListenError {
    move |source| ListenError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use config::home::Home;

    use super::{Door, Gateway, ListenError, Lock, number_of};

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = Home::new(directory.path().join("loki"));
        (directory, home)
    }

    #[test]
    fn a_data_directory_has_one_runtime() {
        let (_directory, home) = home();
        let lock = Lock::take(&home).expect("first");
        assert!(matches!(Lock::take(&home), Err(ListenError::Taken(_))));
        // As a child has it between its fork and its program.
        let copy = lock.file.try_clone().expect("a copy");
        drop(lock);
        assert!(Lock::take(&home).is_ok());
        drop(copy);
    }

    #[tokio::test]
    async fn a_live_socket_is_not_taken_over_and_a_dead_one_is() {
        let (_directory, home) = home();
        let lock = Lock::take(&home).expect("lock");
        let path = home.runtime_socket();
        let door = Door::open(&path, Gateway::Ours, &lock).await.expect("door");
        let busy = Door::open(&path, Gateway::Ours, &lock).await;
        assert!(matches!(busy, Err(ListenError::Busy(_))));
        drop(door);
        drop(std::os::unix::net::UnixListener::bind(&path).expect("left behind"));
        let door = Door::open(&path, Gateway::Ours, &lock)
            .await
            .expect("again");
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(door);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_and_an_open_folder_are_refused() {
        let (_directory, home) = home();
        let lock = Lock::take(&home).expect("lock");
        let path = home.runtime_socket();
        fs::write(&path, "somebody's").expect("write");
        let refused = Door::open(&path, Gateway::Ours, &lock).await;
        assert!(matches!(refused, Err(ListenError::InTheWay(_))));
        assert_eq!(fs::read_to_string(&path).expect("read"), "somebody's");
        fs::set_permissions(home.run(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let refused = Door::open(&path, Gateway::Ours, &lock).await;
        assert!(matches!(
            refused,
            Err(ListenError::TooOpen { mode: 0o755, .. })
        ));
    }

    #[tokio::test]
    async fn a_gateway_of_another_user_is_let_in_by_its_group_alone() {
        let (_directory, home) = home();
        let lock = Lock::take(&home).expect("lock");
        let path = home.runtime_socket();
        let gateway = Gateway::named(Some("4711")).expect("a number");
        for mode in [0o755, 0o770] {
            fs::set_permissions(home.run(), fs::Permissions::from_mode(mode)).expect("chmod");
            let refused = Door::open(&path, gateway, &lock).await;
            assert!(matches!(refused, Err(ListenError::TooOpen { .. })));
        }
        fs::set_permissions(home.run(), fs::Permissions::from_mode(0o750)).expect("chmod");
        let door = Door::open(&path, gateway, &lock).await.expect("door");
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(gateway.admits(4711) && gateway.admits(0));
        assert!(!gateway.admits(4712) && !Gateway::Ours.admits(4711));
        drop(door);
    }

    #[test]
    fn a_user_is_found_by_name_or_not_at_all() {
        let passwd = "root:x:0:0::/root:/bin/sh\nloki-gateway:x:990:990::/:/bin/false\nbad:x\n";
        assert_eq!(number_of(passwd, "loki-gateway"), Some(990));
        for user in ["loki", "", "bad"] {
            assert_eq!(number_of(passwd, user), None, "{user}");
        }
        assert!(matches!(
            Gateway::named(Some("no-such-user-here")),
            Err(ListenError::NoUser(_))
        ));
    }
}
