//! The edge: who may come in.
//!
//! A request's journey, file by file: `listener` accepts → `proxy` opens the `request` record →
//! `admission` decides by `limits`, `route`, `authn`, `authz` → `refusal` and `answer`, or
//! `upstream` → `audit` and `metrics` from the same record.

pub mod audit;
pub mod certificate;
pub mod clock;
pub mod credential;
pub mod federation;
pub mod issuer_clock;
pub mod jws_verify;
pub mod logging;
pub mod metrics;
pub mod random;
pub mod refusal;
pub mod serve;
pub mod settings_source;
pub mod tokens;

mod admin;
mod admission;
mod answer;
mod authn;
mod authz;
mod body;
mod connection;
mod control_frames;
mod edge_record;
mod endpoint;
mod forward;
mod front;
mod gather;
mod idempotency;
mod limits;
mod listener;
mod peer_user;
mod places;
mod proxy;
mod rates;
mod reload;
mod request;
mod route;
mod runtime_client;
mod service_manager;
mod settings_change;
mod side;
mod snapshot;
mod stall;
mod state;
mod statement;
mod stream;
mod suppression;
mod throttle;
mod transport;
mod upload;
mod upstream;
mod visit;
mod wire;
