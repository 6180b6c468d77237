//! The long attacks: scanners, vendors' programs and endurance, against the real programs.
//!
//! `make attack` runs them; `make test` does not. What they need is installed by
//! `tests/counterparts/install.sh attack`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and tests start programs and read clocks"
)]

mod compose_profiles;
mod container_sandbox;
mod containers;
mod document;
mod fan_out;
mod hundred_times;
mod idle_connections;
mod large_answers;
mod manifests;
mod sandbox_in_container;
mod scanners;
mod slow_clients;
mod soak;
mod vendors;
