//! What an agent's program asks the runtime before it acts, and how it asks.
//!
//! The program `loki-hook` has three parts. `tool-use` is the handler that a vendor's program runs before
//! each of its tools; `permission` is the server (MCP over its standard streams) that it asks where its
//! own rules are silent; `converse` starts a program that asks by its own standard streams. All of them
//! reach the runtime by a socket within reach of one session alone.
//!
//! Invariant: only an answer of the runtime that says so allows anything. Whatever else happens (no
//! runtime, a torn answer, unreadable input, a fault of this program) is a refusal.

pub mod ask;
pub mod command;
pub mod wire;

mod converse;
mod permission;
mod tool_use;
