//! Whole sessions: the real runtime, real git repositories, and agents that are shell scripts.

#![expect(
    clippy::expect_used,
    reason = "a test ends at the first thing that does not hold"
)]

mod crash;
mod deployment;
mod iterations;
mod program;
mod stopping;
