//! Sessions.
pub mod state;
