//! The runtime: what agents do.
//!
//! Invariant: nothing is answered without a valid caller statement, and nothing is acknowledged
//! before it is stored.

pub mod agent_audit;
pub mod api;
pub mod approval;
pub mod arguments;
pub mod branch;
pub mod clock;
pub mod egress;
pub mod folder;
pub mod identity;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod operation;
pub mod policy;
pub mod project;
pub mod provider;
pub mod registry;
pub mod sandbox;
pub mod session;
pub mod shutdown;
pub mod store;

#[cfg(test)]
mod scene;
