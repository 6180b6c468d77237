//! The edge: who may come in.

pub mod tokens;
