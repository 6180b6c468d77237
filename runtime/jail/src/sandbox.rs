//! What the sandbox adds to the base jail: the words of its policy.
//!
//! Invariant: everything here tightens; a policy without it is the base jail alone.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Asks for the sandbox: own namespaces, a root built from what is declared, the list of system calls,
/// limits of the whole tree.
///
/// The policy's lists `read` and `read_if_present` appear under their own names and can only be read.
/// Its list `write` must be empty: what can be written is listed in `mounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxPolicy {
    /// What else of the host appears inside. A later one may lie within an earlier one.
    pub mounts: Vec<Mount>,
    /// The size of each private temporary file system, in bytes.
    pub temporary_bytes_max: u64,
    /// Limits of the whole tree.
    pub resources: Resources,
    /// Resources whose limit the program may start without, where this host cannot enforce it.
    #[serde(default)]
    pub may_lack: BTreeSet<ResourceName>,
    /// The name of the tree's control groups: letters, digits, `-` and `.`, used by no other tree.
    pub group: String,
    /// How the program reaches what it may reach outside; none is nothing.
    #[serde(default)]
    pub egress: Option<Egress>,
    /// The Unix socket at which the runtime waits to talk with the program, which has the connection as
    /// its standard input; none is none.
    #[serde(default)]
    pub control: Option<PathBuf>,
}

/// A place of the host under a name inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The file or folder outside. No part of its name may be a symbolic link.
    pub source: PathBuf,
    /// Its name inside.
    pub target: PathBuf,
    /// Whether it can be changed.
    pub access: Access,
}

/// Tells what can be done below a [`Mount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reading and executing.
    Read,
    /// Changing besides.
    Write,
}

/// Limits of a whole process tree, enforced by control groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Processor time, in hundredths of one processor.
    pub cpu_percent: Option<u32>,
    /// Memory and swap together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// Names a limited resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceName {
    /// See [`Resources::cpu_percent`].
    Cpu,
    /// See [`Resources::memory_bytes`].
    Memory,
    /// See [`Resources::processes`].
    Processes,
}

/// The way to the egress proxy. The sandbox's network has no way out; `loki-jail` makes a listener on
/// its loopback address and hands that to the proxy, which accepts there and connects outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// The Unix socket on which the proxy waits for the listener.
    pub socket: PathBuf,
    /// The listener's port on `127.0.0.1` inside.
    pub port: u16,
}

/// Asks for what the sandbox adds to the base jail within a container that an engine has made: the list
/// of system calls, and the ways out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contained {
    /// See [`SandboxPolicy::egress`].
    #[serde(default)]
    pub egress: Option<Egress>,
    /// See [`SandboxPolicy::control`].
    #[serde(default)]
    pub control: Option<PathBuf>,
}

impl ResourceName {
    /// All names.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Processes];
}

impl fmt::Display for ResourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
        })
    }
}

impl SandboxPolicy {
    /// Returns what is wrong, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        let paths = self
            .mounts
            .iter()
            .flat_map(|mount| [&mount.source, &mount.target]);
        let sockets = self.egress.iter().map(|egress| &egress.socket);
        let sockets = sockets.chain(&self.control);
        if let Some(path) = paths.chain(sockets).find(|path| !path.is_absolute()) {
            return Some(format!("path {} is not absolute", path.display()));
        }
        let climbs = |mount: &&Mount| {
            let mut parts = mount.target.components();
            parts.any(|part| part == std::path::Component::ParentDir)
        };
        if let Some(mount) = self.mounts.iter().find(climbs) {
            return Some(format!("target {} climbs", mount.target.display()));
        }
        let lawful =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
        let named = self
            .group
            .starts_with(|letter: char| letter.is_ascii_alphabetic());
        if !named || !self.group.chars().all(lawful) {
            return Some(format!("group {:?} is no lawful name", self.group));
        }
        None
    }
}

/// Returns the list of system calls as engines of containers read it.
#[must_use]
pub fn engine_profile() -> serde_json::Value {
    crate::allow_list::engine_profile()
}

/// The user that the program is inside. Outside it is the user that runs Loki, without any power.
pub const USER: u32 = 1000;

/// That user's name.
pub const USER_NAME: &str = "appuser";

/// That user's home.
pub const HOME: &str = "/home/appuser";
