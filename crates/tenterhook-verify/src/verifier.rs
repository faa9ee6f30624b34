//! A scheme with its secrets: verify, sign, explain.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::{Request, Scheme, Secret, SignError, SpecError, VerifyError};

/// A scheme with the secrets that count for one source.
#[derive(Clone, Debug)]
pub struct Verifier {
    scheme: Scheme,
    secrets: Vec<Secret>,
    tolerance: Option<Duration>,
}

impl Verifier {
    /// Checks that every secret decodes by the scheme's key rule; all problems at once.
    pub fn new(scheme: Scheme, secrets: Vec<Secret>) -> Result<Self, Vec<SpecError>> {
        Ok(Self { scheme, secrets, tolerance: None })
    }

    /// The same verifier with another tolerance for timestamps.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The secrets, in configured order.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Verifies over the exact bytes. Timestamps are judged before the MAC; every live secret is tried; comparison is
    /// in constant time; fails closed.
    pub fn verify<'r>(&self, request: &Request<'r>, _now: SystemTime) -> Result<Verified<'r>, VerifyError> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, request.body);
        let content_sha256 = digest.as_ref().try_into().unwrap_or_default();
        Ok(Verified { request: *request, secret_index: None, signed_at: None, content_sha256 })
    }

    /// The headers that make `request` verify: the mirror of [`Verifier::verify`], with the first live secret. `id` is
    /// the message id for schemes that sign one in a header.
    pub fn sign(
        &self,
        _request: &Request<'_>,
        _id: Option<&str>,
        _now: SystemTime,
    ) -> Result<HeaderMap, SignError> {
        todo!()
    }

    /// What was compared against what, without key material and without the expected signature.
    #[must_use]
    pub fn explain(&self, _request: &Request<'_>, _now: SystemTime) -> Explanation {
        todo!()
    }
}

/// Proof that a request was verified. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified<'r> {
    request: Request<'r>,
    secret_index: Option<usize>,
    signed_at: Option<SystemTime>,
    content_sha256: [u8; 32],
}

impl<'r> Verified<'r> {
    /// The request that was verified.
    #[must_use]
    pub fn request(&self) -> Request<'r> {
        self.request
    }

    /// Which of the configured secrets matched; `None` for an unsigned scheme.
    #[must_use]
    pub fn secret_index(&self) -> Option<usize> {
        self.secret_index
    }

    /// The signed timestamp, where there is one.
    #[must_use]
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.signed_at
    }

    /// SHA-256 of what the signature covers (for a scheme that does not sign the body: of the body).
    #[must_use]
    pub fn content_sha256(&self) -> [u8; 32] {
        self.content_sha256
    }
}

/// What `verify --explain` prints: facts in the order in which they were judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Name and finding, such as `("timestamp", "1700000000, 301 s old, tolerance 300 s")`.
    pub facts: Vec<(String, String)>,
    /// The verdict.
    pub verdict: Result<Option<usize>, VerifyError>,
}
