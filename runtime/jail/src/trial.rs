//! What of the sandbox this host can enforce, found out by entering one.
//!
//! Invariant: a layer is only called enforced after the forbidden thing was tried inside and refused.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::cgroup::Groups;
use crate::family::{self, Fork};
use crate::layers::{Layer, SandboxLayers};
use crate::policy::Policy;
use crate::room::{self, Entered, RoomError};
use crate::sandbox::{ResourceName, Resources, SandboxPolicy};

/// Enters a sandbox in a copy of this process, and returns what was enforced there.
///
/// # Errors
/// When the trial itself cannot be made.
pub(crate) fn try_out() -> io::Result<SandboxLayers> {
    let outside = Outside::look()?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let group = format!("loki-probe-{}", std::process::id());
    match family::fork()? {
        Fork::Child => {
            drop(reader);
            let told = match room::enter(&policy(&group), &sandbox(&group)) {
                Ok(Entered::Waited(_)) => std::process::exit(0),
                Ok(Entered::Program(layers, _)) => layers
                    .sandbox
                    .map(|layers| Told::Entered(outside.confirm(layers)))
                    .ok_or_else(|| io::Error::other("the sandbox told nothing")),
                Err(error) => Ok(Told::refused(&error)),
            };
            let told = told.and_then(|told| Ok(serde_json::to_writer(File::from(writer), &told)?));
            std::process::exit(i32::from(told.is_err()))
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut text = Vec::new();
            File::from(reader).read_to_end(&mut text)?;
            family::wait_inside(child)?;
            Groups::find(&group).remove()?;
            let told: Told = serde_json::from_slice(&text)?;
            Ok(told.layers())
        }
    }
}

/// What the copy tells.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Entered(SandboxLayers),
    Refused { step: Step, why: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    Namespaces,
    Root,
    Landlock,
    SystemCalls,
}

impl Told {
    fn refused(error: &RoomError) -> Self {
        let step = match error {
            RoomError::Namespaces(_) => Step::Namespaces,
            RoomError::Root(_) | RoomError::Fault(_) => Step::Root,
            RoomError::Landlock(_) => Step::Landlock,
            RoomError::SystemCalls(_) => Step::SystemCalls,
        };
        Self::Refused {
            step,
            why: error.to_string(),
        }
    }

    /// Returns the layers; those behind the step that failed were not tried.
    fn layers(self) -> SandboxLayers {
        let (step, reason) = match self {
            Self::Entered(layers) => return layers,
            Self::Refused { step, why } => (step, why),
        };
        let missing = Layer::Unavailable { reason };
        let not_tried = || Layer::Unavailable {
            reason: "not tried, because an earlier layer is missing".to_owned(),
        };
        let mut layers = SandboxLayers {
            namespaces: Layer::Enforced,
            root: Layer::Enforced,
            network: not_tried(),
            system_calls: not_tried(),
            cpu: not_tried(),
            memory: not_tried(),
            processes: not_tried(),
        };
        match step {
            Step::Namespaces => {
                layers.namespaces = missing;
                layers.root = not_tried();
            }
            Step::Root | Step::Landlock => layers.root = missing,
            Step::SystemCalls => layers.system_calls = missing,
        }
        layers
    }
}

/// What is outside, and must not be reached from inside.
#[derive(Debug)]
struct Outside {
    namespaces: Vec<PathBuf>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Outside {
    fn look() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            namespaces: namespaces()?,
            address: listener.local_addr()?,
            listener,
        })
    }

    /// Takes a layer back if what it forbids works in this process, which is inside.
    fn confirm(self, mut layers: SandboxLayers) -> SandboxLayers {
        let shared = namespaces().is_ok_and(|own| {
            let mut pairs = own.iter().zip(&self.namespaces);
            !pairs.any(|(own, outside)| own == outside)
        });
        take_back(&mut layers.namespaces, shared);
        let sealed =
            fs::write("/usr/loki-probe", "").is_err() && fs::write("/loki-probe", "").is_err();
        let bare =
            !fs::exists("/etc/shadow").unwrap_or(true) && !fs::exists("/root").unwrap_or(true);
        take_back(&mut layers.root, sealed && bare);
        let alone = TcpStream::connect(self.address).is_err() && no_way_out();
        take_back(&mut layers.network, alone);
        drop(self.listener);
        take_back(&mut layers.system_calls, unshare() == Err(Errno::NOSYS));
        layers
    }
}

/// Tells whether a datagram to an address of nobody finds no way.
fn no_way_out() -> bool {
    let sent = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", DOCUMENTATION));
    sent.is_err()
}

fn namespaces() -> io::Result<Vec<PathBuf>> {
    ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"]
        .iter()
        .map(|name| fs::read_link(format!("/proc/self/ns/{name}")))
        .collect()
}

#[expect(unsafe_code, reason = "the kernel's call has no safe wrapper")]
fn unshare() -> Result<(), Errno> {
    // SAFETY: the table of descriptors, which the call's rule is about, is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }
}

fn take_back(layer: &mut Layer, refused: bool) {
    if *layer == Layer::Enforced && !refused {
        *layer = Layer::Unavailable {
            reason: "the kernel said yes, and then let it happen".to_owned(),
        };
    }
}

fn policy(group: &str) -> Policy {
    Policy {
        read_if_present: vec!["/usr".into()],
        sandbox: Some(sandbox(group)),
        ..Policy::new("/usr/report".into(), "/".into())
    }
}

fn sandbox(group: &str) -> SandboxPolicy {
    SandboxPolicy {
        mounts: Vec::new(),
        temporary_bytes_max: 1024 * 1024,
        resources: Resources {
            cpu_percent: Some(100),
            memory_bytes: Some(256 * 1024 * 1024),
            processes: Some(64),
        },
        may_lack: ResourceName::ALL.into(),
        group: group.to_owned(),
        egress: None,
        control: None,
    }
}

/// An address that belongs to nobody (RFC 5737).
const DOCUMENTATION: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
