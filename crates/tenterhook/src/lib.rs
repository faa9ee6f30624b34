//! Tenterhook: receive webhooks, verify them, keep them, deliver them.
//!
//! ```text
//!   provider --POST-->  [ INGRESS ] --accept-->  [ STORE ]  --lease-->  [ DISPATCHER ] --deliver--> destination
//!               <--2xx--                         the inbox               <--settle--
//!                                                    ^
//!                                                  [ OPS ]  <- CLI, admin API
//! ```
//!
//! Ingress only writes the store, the dispatcher only leases and settles, people go through ops. Nothing is
//! acknowledged to the sender before it is in the store; nothing leaves the store before a destination confirmed it.
//! `ARCHITECTURE.md` has the walk-through and the table of what may import what; a test holds that table.

pub mod admin;
pub mod cli;
pub mod config;
pub mod destination;
pub mod dispatcher;
pub mod ingress;
pub mod model;
pub mod net;
pub mod ops;
pub mod policy;
pub mod server;
pub mod source;
pub mod store;
pub mod telemetry;
