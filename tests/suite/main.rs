//! The promises, one file each, checked against the real programs from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and tests start programs and read clocks"
)]

mod audit;
mod audit_proof;
mod bind;
mod command_line;
mod confinement;
mod crash;
mod dashboard;
mod documents;
mod egress;
mod events;
mod header_hygiene;
mod layout;
mod limits;
mod links;
mod main_job;
mod metrics;
mod oidc;
mod projects;
mod promises;
mod protocols;
mod refusals;
mod reload;
mod revocation;
mod runtime_socket;
mod sandbox;
mod scopes;
mod settings;
mod site;
mod streams;
mod throttling;
mod tls;
mod tokens;
mod variables;
