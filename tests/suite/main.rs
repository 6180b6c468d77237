//! The promises, one file each, checked against the real programs from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and tests start programs and read clocks"
)]

mod agent_actions;
mod agent_trail;
mod approvals;
mod asking;
mod audit;
mod audit_actions;
mod audit_archive;
mod audit_crash;
mod audit_disk;
mod audit_failure;
mod audit_follow;
mod audit_proof;
mod bind;
mod board;
mod broken_runtime;
mod budgets;
mod carrying_on;
mod client_certificates;
mod command_blocks;
mod command_line;
mod confinement;
mod crash;
mod dangers;
mod dashboard;
mod deployment_files;
mod doctor;
mod documents;
mod egress;
mod events;
mod exchange;
mod federation;
mod floods;
mod full_disk;
mod guarded_names;
mod header_hygiene;
mod hostile_repositories;
mod http2;
mod installing;
mod issuer_faults;
mod jws_vectors;
mod layout;
mod limits;
mod links;
mod load;
mod main_job;
mod many_tokens;
mod methods;
mod metric_formats;
mod metrics;
mod migration;
mod oidc;
mod opting_in;
mod pausing;
mod policy;
mod projects;
mod promises;
mod protocols;
mod provider;
mod provider_faults;
mod providers;
mod publishing;
mod refusals;
mod reload;
mod request_attacks;
mod restarts;
mod revocation;
mod runtime_socket;
mod sandbox;
mod scopes;
mod service_manager;
mod sessions;
mod settings;
mod side_listeners;
mod signature_vectors;
mod site;
mod standing;
mod steering;
mod streams;
mod syslog;
mod throttling;
mod tls;
mod token_api;
mod token_attacks;
mod token_bounds;
mod tokens;
mod toolchains;
mod variables;
mod webhook;
mod websocket_frames;
