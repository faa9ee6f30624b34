//! The integration tests of the gateway, one binary. Each area is a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod admin;
mod cli;
mod config;
mod destination;
mod dispatcher;
mod ingress;
mod interop;
mod layering;
mod life;
mod plaid;
mod registration;
mod respond;
mod rig;
mod sqlite;
mod store;
