//! The contract between callers, the gateway and the runtime: who may ask for what, in which words.

pub mod agent_audit;
pub mod approval;
pub mod audit;
pub mod board;
pub mod caller;
pub mod cost;
pub mod endpoint;
pub mod figures;
pub mod id;
pub mod learning;
pub mod memory;
pub mod openapi;
pub mod operation;
pub mod policy;
pub mod problem;
pub mod registry;
pub mod reload;
pub mod sandbox;
pub mod scope;
pub mod session;
