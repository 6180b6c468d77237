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
mod board;
mod budgets;
mod carrying_on;
mod command_line;
mod confinement;
mod crash;
mod dashboard;
mod documents;
mod events;
mod header_hygiene;
mod layout;
mod limits;
mod links;
mod main_job;
mod metrics;
mod oidc;
mod pausing;
mod projects;
mod promises;
mod protocols;
mod providers;
mod publishing;
mod refusals;
mod reload;
mod revocation;
mod runtime_socket;
mod scopes;
mod settings;
mod site;
mod steering;
mod streams;
mod throttling;
mod tls;
mod tokens;
mod variables;
