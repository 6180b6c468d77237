//! The service manager (systemd): sockets that it holds for us, and what we tell it.
//!
//! By its protocol (`sd_listen_fds(3)`, `sd_notify(3)`) alone; without its variables nothing happens.

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The first descriptor that is passed.
const FIRST: i32 = 3;

/// What the manager's variables say.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager {
    notify: Option<String>,
    sockets: i32,
}

impl ServiceManager {
    /// Reads the variables of this process; sockets that were meant for another are left alone.
    #[expect(
        clippy::disallowed_methods,
        reason = "these are the manager's words to this process, no settings"
    )]
    pub(crate) fn from_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let ours = variable("LISTEN_PID")
            .is_some_and(|pid| pid.parse::<i32>() == Ok(getpid().as_raw_nonzero().get()));
        let sockets = variable("LISTEN_FDS")
            .filter(|_| ours)
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        Self {
            notify: variable("NOTIFY_SOCKET"),
            sockets,
        }
    }

    /// Returns the listening socket that was passed; none if there is none.
    ///
    /// # Errors
    /// When it cannot be used, or more than one was passed.
    pub(crate) fn socket(&self) -> io::Result<Option<TcpListener>> {
        match self.sockets {
            0 => return Ok(None),
            1 => {}
            more => {
                return Err(io::Error::other(format!(
                    "the service manager passed {more} sockets (LISTEN_FDS); one is expected"
                )));
            }
        }
        let ourselves = pidfd_open(getpid(), PidfdFlags::empty())?;
        let passed = pidfd_getfd(ourselves, FIRST, PidfdGetfdFlags::empty())?;
        let socket = TcpListener::from(passed);
        // Fails on what is no listening TCP socket.
        socket.local_addr()?;
        socket.set_nonblocking(true)?;
        Ok(Some(socket))
    }

    /// Tells the manager; one that cannot be told is logged.
    pub(crate) fn tell(&self, news: &str) {
        let Some(path) = &self.notify else {
            return;
        };
        if let Err(error) = send(path, news) {
            tracing::warn!(%error, news, "cannot tell the service manager");
        }
    }
}

fn send(path: &str, news: &str) -> io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(news.as_bytes(), &address)?;
    Ok(())
}
