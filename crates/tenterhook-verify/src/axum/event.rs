//! A verified request in its own hands. [`Verified`] is made by verification and by nothing else.

use std::fmt;
use std::ops::Deref;
use std::time::SystemTime;

use axum_core::body::Body;
use axum_core::extract::{FromRef, FromRequest};
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde::de::DeserializeOwned;

use super::rejection::Rejection;
use super::source::Source;

/// What a sender sent, whole.
#[derive(Clone)]
#[non_exhaustive]
pub struct Event {
    /// The request method.
    pub method: Method,
    /// Path and query as the router saw them.
    pub uri: Uri,
    /// The headers as they arrived. Those from which the scheme reads a shared token are marked as sensitive.
    pub headers: HeaderMap,
    /// The exact bytes of the body.
    pub body: Bytes,
    /// The sender's id for this notification, where it gives one: what to recognise duplicates by.
    pub event_id: Option<String>,
    /// The type of the event, such as `invoice.paid`.
    pub event_type: Option<String>,
}

impl Event {
    /// The body read as JSON.
    ///
    /// # Errors
    ///
    /// What serde says where the body is not JSON, or not of the form of `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Neither headers nor body are printed: they are a sender's data, and a token may be among them.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.event_id)
            .field("event_type", &self.event_type)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Something that was verified. As an extractor it verifies with the [`Source`] of the router's state; behind a
/// [`VerifyLayer`](super::VerifyLayer) it is an extension of the request. Nothing else makes one, so that a function that
/// takes a `Verified<Event>` cannot be called with what nobody verified.
///
/// (The borrowed proof that the verifier itself gives is [`crate::Verified`].)
#[derive(Clone, Debug)]
pub struct Verified<T> {
    inner: T,
    proof: Proof,
}

/// What verification found.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) secret_index: Option<usize>,
    pub(super) signed_at: Option<SystemTime>,
    pub(super) content_sha256: [u8; 32],
}

impl<T> Verified<T> {
    pub(super) fn new(inner: T, proof: Proof) -> Self {
        Self { inner, proof }
    }

    /// What was verified, without the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Which of the configured secrets matched, from 0; `None` for an unsigned scheme. Where it is not the newest one, the
    /// sender has not changed over yet.
    #[must_use]
    pub fn secret_index(&self) -> Option<usize> {
        self.proof.secret_index
    }

    /// The signed timestamp, where there is one.
    #[must_use]
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.proof.signed_at
    }

    /// SHA-256 of what the signature covers (for a scheme that does not sign the body: of the body).
    #[must_use]
    pub fn content_sha256(&self) -> [u8; 32] {
        self.proof.content_sha256
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<S> FromRequest<S> for Verified<Event>
where
    Source: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Rejection;

    async fn from_request(request: http::Request<Body>, state: &S) -> Result<Self, Rejection> {
        let source = Source::from_ref(state);
        let (mut head, body) = request.into_parts();
        source.mask(&mut head.headers);
        source.receive(head, body).await
    }
}
