//! Keys that live at the provider. Fetches nothing: says which key is needed and from where, judges what was fetched, and
//! keeps it in a [`KeyRing`] that verification is given.
//!
//! The URL is never one that a message merely names: it is built in, or it is held to a built-in list of hosts before
//! anything else happens. `jku`, `x5u`, `jwk` and `x5c` of a token are not even read.

pub(crate) mod certificate;
pub(crate) mod host;
pub(crate) mod key;
mod ring;

pub(crate) use ring::Found;
pub use ring::{Fetched, KeyFile, KeyNeed, KeyRing, Roots};
