//! The integration tests of the gateway, one binary. Each area is a file.

mod admin;
mod cli;
mod config;
mod destination;
mod dispatcher;
mod ingress;
mod layering;
mod store;
