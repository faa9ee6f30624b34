//! Verify and sign webhook requests the way each provider does.
//!
//! Pure: no files, no network, no clock. A request is bytes and headers, the time is an argument, and the answer is
//! either a [`Verified`] (the only proof of verification there is) or a [`VerifyError`] with a stable [`Reason`].
//!
//! | room | what it is for |
//! |---|---|
//! | [`request`] | the request as it is signed: method, URL, headers, exact body bytes |
//! | [`verifier`] | [`Verifier::verify`], [`Verifier::sign`], [`Verifier::explain`] |
//! | [`spec`] | the grammar in which a scheme is written, in the catalog and in a user's own config |
//! | [`scheme`] | a checked scheme, ready to run |
//! | `provider` | the catalog: what is known about each provider (feature `catalog`, on by default) |
//! | [`handshake`] | what a provider asks before it sends, and what to answer |
//! | [`remote`] | keys that live at the provider: which one is needed, and whether what was fetched is it |
//! | [`locate`] | where an id, a type or a timestamp is found in a request |
//! | [`secret`] | key material that never prints itself |
//! | [`settings`] | what a scheme has to know about a source beside its secrets |
//! | `vectors` | files of recorded requests with their expected verdicts, run through the same verifier (`catalog`) |
//! | [`error`] | why a request was refused, or could not be signed |
//! | `axum` | an extractor and a layer that hand on only what was verified (feature `axum`) |

#[cfg(feature = "axum")]
pub mod axum;
pub mod error;
pub mod handshake;
pub mod locate;
#[cfg(feature = "catalog")]
pub mod provider;
pub mod remote;
pub mod request;
pub mod scheme;
pub mod secret;
pub mod settings;
pub mod spec;
#[cfg(feature = "catalog")]
pub mod vectors;
pub mod verifier;

pub use error::{Reason, SignError, SpecError, VerifyError};
pub use handshake::{Answer, Handshake, HandshakeError, HandshakeReason, HandshakeSettings, Handshakes};
pub use locate::{Locator, Locators};
#[cfg(feature = "catalog")]
pub use provider::{Provider, ReadAnswer, catalog};
pub use remote::{KeyNeed, KeyRing};
pub use request::Request;
pub use scheme::Scheme;
pub use secret::Secret;
pub use settings::Settings;
pub use spec::SchemeSpec;
pub use verifier::{Explanation, Sealed, Verified, Verifier};

/// The examples of the README, compiled and run as a test.
#[cfg(all(doctest, feature = "axum", feature = "catalog"))]
#[doc = include_str!("../README.md")]
struct Readme;
