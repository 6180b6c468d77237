//! The base jail's promises, checked with the real program, the real kernel and real processes.
//!
//! Invariant: whatever must be refused inside is done outside as well, where it must succeed, so that
//! no test passes because of a spelling mistake.

#![expect(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

mod arena;
mod entering;
mod files;
mod network;
mod outside_processes;
mod process_tree;
mod sandbox;
