//! For services on axum: handlers that are reached only by what was verified. An extractor, [`Verified`], and a layer,
//! [`Source::layer`]. Reads the body once and within a bound, verifies the exact bytes, and refuses before it reads
//! what the headers alone disprove. Knows no handler, no socket and no clock of its own.
//!
//! A body that arrives slowly is not timed here: that is what a timeout layer in front of the router is for.

mod event;
mod layer;
mod rejection;
mod source;

pub use event::{Event, Verified};
pub use layer::{Verify, VerifyLayer};
pub use rejection::Rejection;
pub use source::{BODY_BYTES_MAX, Clock, Source};
