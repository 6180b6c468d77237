//! The edge: who may come in.
//!
//! Invariant: everything here that decides is testable without a network.

pub mod audit;
pub mod clock;
pub mod metrics;
