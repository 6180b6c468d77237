//! What agents do: isolation, git, and the record of it.

pub mod agent_audit;
pub mod branch;
pub mod folder;
pub mod project;
pub mod sandbox;

#[cfg(test)]
mod scene;
