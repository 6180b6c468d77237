//! What the kernel enforces on an agent, layer by layer.
//!
//! Invariant: a layer is called enforced only where every way around it that we know of is closed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tells for each layer of the jail what is really enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// No program can gain privileges by being executed.
    pub no_new_privileges: bool,
    /// The process holds no capability, not even as root.
    pub no_capabilities: bool,
    /// The kernel's Landlock version as far as we know it; 0 where there is none.
    pub landlock_abi: u32,
    /// The content of files and folders outside the policy can be neither read nor changed: nothing is
    /// opened, listed, made, removed, moved or truncated. Modes, owners, times and extended attributes
    /// are guarded by ordinary ownership alone.
    pub file_system: Layer,
    /// TCP connections reach the policy's ports alone.
    pub network_tcp: Layer,
    /// Processes outside the jail cannot be signalled.
    pub signals: Layer,
    /// Abstract Unix sockets of processes outside the jail cannot be reached.
    pub abstract_sockets: Layer,
    /// What the sandbox adds; none where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxLayers>,
}

/// Tells for each layer of the sandbox what is really enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxLayers {
    /// Users, processes, mounts, messages, names and control groups are the tree's own.
    pub namespaces: Layer,
    /// Only what was declared can be seen, and only what was declared writable can be written.
    pub root: Layer,
    /// There is no way out but the egress proxy's listener.
    pub network: Layer,
    /// Only listed system calls exist.
    pub system_calls: Layer,
    /// Processor time of the tree is limited.
    pub cpu: Layer,
    /// Memory of the tree is limited.
    pub memory: Layer,
    /// The number of the tree's processes is limited.
    pub processes: Layer,
}

/// Tells how far one layer is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// The kernel enforces the layer.
    Enforced,
    /// The kernel enforces the layer, but a hostile program knows a way around it.
    Partial {
        /// The way around.
        gap: String,
    },
    /// The kernel does not enforce the layer.
    Unavailable {
        /// Why not.
        reason: String,
    },
    /// The policy does not ask for the layer.
    NotAsked,
}

/// Names a layer that an old kernel may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerName {
    /// See [`Layers::file_system`].
    FileSystem,
    /// See [`Layers::network_tcp`].
    NetworkTcp,
    /// See [`Layers::signals`].
    Signals,
    /// See [`Layers::abstract_sockets`].
    AbstractSockets,
}

impl LayerName {
    /// All names.
    pub const ALL: [Self; 4] = [
        Self::FileSystem,
        Self::NetworkTcp,
        Self::Signals,
        Self::AbstractSockets,
    ];
}

impl fmt::Display for LayerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::FileSystem => "file_system",
            Self::NetworkTcp => "network_tcp",
            Self::Signals => "signals",
            Self::AbstractSockets => "abstract_sockets",
        })
    }
}
