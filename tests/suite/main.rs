//! The promises, one file each, checked against the real programs from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and tests start programs and read clocks"
)]
