//! Builders for the suite: real programs on free ports, real repositories, real clients.
//!
//! Invariant: hermetic. Every process starts with an empty environment but for `PATH`, in a home of
//! its own; nothing outside loopback is reached, and nothing is left when a deployment is dropped.

#![allow(
    clippy::disallowed_methods,
    reason = "the suite starts programs, reads clocks and polls, as a user would"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness that cannot go on has failed the test"
)]

pub mod agent;
pub mod approval;
pub mod audit_reader;
pub mod capture;
pub mod certificate;
pub mod client;
pub mod command;
pub mod composed;
pub mod counterpart;
pub mod deployment;
pub mod engine;
pub mod forge;
pub mod http2;
pub mod image;
pub mod installation;
pub mod issuer;
pub mod job;
pub mod model_api;
pub mod poll;
pub mod process;
pub mod programs;
pub mod provider;
pub mod repository;
pub mod rsyslog;
pub mod statement;
pub mod token;
