//! Approvals: what a person has to decide before a session goes on.
//!
//! Invariant: where the runtime executes, nothing that needs an approval happens without one that was
//! given for exactly this, and never twice; an approval that nobody gives pauses, it never lets go on.

pub mod desk;
pub mod rules;
pub mod state;
pub mod webhook;

pub use desk::{DecideError, Desk};
