//! What the gateway and the runtime agree on: their settings and the contract between them.
//!
//! Invariant: nothing here opens a socket or runs a task. There is no Pingora, no tokio and no
//! HTTP framework below this crate, so both processes and the command line can rely on it.

pub mod address;
pub mod contract;
pub mod gateway;
pub mod home;
pub mod limit;
pub mod load;
pub mod private;
pub mod rate;
pub mod runtime;
pub mod secret;
