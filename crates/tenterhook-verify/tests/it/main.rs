//! The integration tests of the library, one binary. Each area is a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod coded;
mod grammar;
mod handshake;
mod hostile;
mod locate;
mod recorded;
mod remote;
mod round_trip;
mod samples;
mod support;
mod tamper;
mod targets;
mod vectors;
mod written;
