//! The runtime: what agents do.
//!
//! Invariant: nothing is answered without a valid caller statement, and nothing is acknowledged
//! before it is stored.

pub mod clock;
pub mod identity;
pub mod logging;
pub mod session;
pub mod store;
