//! What this host can enforce, found out by trying.
//!
//! Invariant: a layer is only called enforced after the forbidden thing was tried and refused.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::capabilities;
use crate::landlock::{self, LandlockError};
use crate::layers::{Layer, LayerName, Layers};
use crate::policy::Policy;
use crate::trial;

/// Says why a host's abilities could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The program cannot be started.
    #[error("cannot start {program} probe: {source}; fix: install loki-jail there", program = .program.display())]
    Unstartable {
        /// The path of `loki-jail`.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program said something else than layers.
    #[error(
        "cannot understand what loki-jail probe said: {said:?}; fix: use the loki-jail that belongs to this runtime"
    )]
    Unintelligible {
        /// What it wrote to standard output and standard error.
        said: String,
    },
}

/// Says why the trials could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    #[error("cannot prepare the trials: {0}; fix: run it on Linux with Unix sockets")]
    Unprepared(#[from] io::Error),
}

/// Runs `program probe`, where `program` is the path of `loki-jail`, and returns what it found. Takes
/// some milliseconds.
///
/// # Errors
/// [`ProbeError`] if the program cannot be run or says something else than layers.
#[expect(
    clippy::disallowed_methods,
    reason = "the trials narrow the process that makes them"
)]
pub fn ask(program: &Path) -> Result<Layers, ProbeError> {
    let output = Command::new(program)
        .arg("probe")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ProbeError::Unstartable {
            program: program.to_owned(),
            source,
        })?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = [output.stdout, output.stderr].concat();
        ProbeError::Unintelligible {
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    })
}

/// Narrows this process as far as the host allows, tries what must be refused, and returns what was.
pub(crate) fn try_out() -> Result<Layers, TrialError> {
    // In a copy of this process, which is still free to enter.
    let sandbox = trial::try_out()?;

    // Made before, this socket belongs to the outside.
    let name = format!("loki-jail-probe-{}", std::process::id());
    let outside = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&outside)?;

    capabilities::drop_all().map_err(io::Error::from)?;
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
    let policy = Policy {
        devices: Vec::new(),
        may_be_missing: BTreeSet::from(LayerName::ALL),
        ..Policy::new("/".into(), "/".into())
    };
    let mut layers = landlock::narrow(&policy)?;
    layers.sandbox = Some(sandbox);

    confirm(&mut layers.file_system, std::fs::read_dir("/").err());
    confirm(
        &mut layers.network_tcp,
        TcpStream::connect((Ipv4Addr::LOCALHOST, UNLISTED_PORT)).err(),
    );
    confirm(&mut layers.signals, signal_parent().err());
    confirm(
        &mut layers.abstract_sockets,
        UnixStream::connect_addr(&outside).err(),
    );
    drop(listener);
    Ok(layers)
}

/// Takes a layer back if what it forbids was not refused.
fn confirm(layer: &mut Layer, refusal: Option<io::Error>) {
    match layer {
        Layer::Unavailable { .. } | Layer::NotAsked => return,
        Layer::Enforced | Layer::Partial { .. } => (),
    }
    if refusal.is_none_or(|error| error.kind() != io::ErrorKind::PermissionDenied) {
        *layer = Layer::Unavailable {
            reason: "the kernel said yes, and then let it happen".to_owned(),
        };
    }
}

/// Asks whether the parent, which is outside, could be signalled. Nothing is sent. A parent in another
/// process namespace cannot be asked about, and cannot be signalled either.
fn signal_parent() -> io::Result<()> {
    match rustix::process::getppid() {
        Some(parent) => Ok(rustix::process::test_kill_process(parent)?),
        None => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Refused by the kernel's port list before anything is sent, so nobody needs to listen there.
const UNLISTED_PORT: u16 = 1;
