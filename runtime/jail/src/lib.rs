//! The jail: what an agent's process can reach, and how its whole tree is ended.
//!
//! The program `loki-jail` has three parts. `supervise` holds the process tree together and ends it
//! on request, `enter` narrows itself and then becomes the agent, `probe` tells what this host can
//! enforce. The library holds the words that the runtime and the program exchange: the policy, the
//! lifeline's requests, the report and the layers.
//!
//! The base jail needs neither privileges nor namespaces. A policy may ask for the sandbox besides
//! ([`sandbox`]): a world of its own for the whole process tree.
//!
//! Invariant: the agent's program runs only after every step that its policy requires has succeeded.
//!
//! Not covered by the base jail, and left to the sandbox: UDP and raw sockets, Unix sockets with a path
//! name; names, modes, owners, times and extended attributes of files outside, which
//! Landlock neither hides nor guards from their owner; and system calls as such.

pub mod command;
pub mod layers;
pub mod order;
pub mod policy;
pub mod probe;
pub mod report;
pub mod request;
pub mod sandbox;
pub mod tree;

mod allow_list;
mod bait;
mod capabilities;
mod cgroup;
mod descriptors;
mod enter;
mod family;
mod fault;
mod freezer;
mod keeper;
mod landlock;
mod lifeline;
mod limits;
mod mounts;
mod namespaces;
mod private_file;
mod room;
mod root;
mod scorecard;
mod seccomp;
mod supervisor;
mod terminal;
mod trial;

pub use cgroup::remove_abandoned;
pub use layers::{Layer, LayerName, Layers, SandboxLayers};
pub use policy::{Limits, Policy, PolicyError};
pub use report::{Exit, Report, StoppedBy};
pub use request::Request;
