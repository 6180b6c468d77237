//! Opaque bearer tokens: their format, their records on disk, and the snapshot that requests are
//! judged by.
//!
//! Invariant: only the SHA-256 of a token is ever stored; the token itself is shown once, by the
//! command that made it.

pub mod acknowledge;
pub mod bounds;
pub mod change;
pub mod format;
pub mod index;
pub mod journal;
pub mod record;
pub mod select;
pub mod store;
pub mod usage;
pub mod view;
pub mod watch;
pub mod withdrawal;
