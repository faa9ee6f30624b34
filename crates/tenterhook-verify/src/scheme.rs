//! A checked scheme: a closed set of signature families, each in a file of its own.

/// How a sender signs, ready to run.
#[derive(Clone, Debug)]
pub struct Scheme {}

impl Scheme {
    /// No signature at all. A gateway asks twice before it uses this.
    #[must_use]
    pub fn unsigned() -> Self {
        Self {}
    }

    /// Whether the secrets of this scheme are public keys (literal keys are then allowed in a config, and it cannot
    /// sign).
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        todo!()
    }

    /// Whether the signature covers the public URL, so that one has to be configured.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        todo!()
    }

    /// Whether what is signed carries a timestamp or a nonce, so that equal digests mean the same transmission.
    #[must_use]
    pub fn signs_time(&self) -> bool {
        todo!()
    }

    /// Whether the signature covers what `locator` points at.
    #[must_use]
    pub fn covers(&self, _locator: &crate::Locator) -> bool {
        todo!()
    }

    /// Headers from which the scheme reads a shared token or credentials: never stored, never forwarded.
    #[must_use]
    pub fn token_headers(&self) -> Vec<http::HeaderName> {
        todo!()
    }

    /// Headers that carry signature, timestamp or id for the scheme: refused when they arrive more than once, and
    /// known before the body is read.
    #[must_use]
    pub fn signature_headers(&self) -> Vec<http::HeaderName> {
        todo!()
    }

    /// Whether the headers alone show that verification cannot succeed (the required ones are missing or malformed, or
    /// the timestamp is stale): judged before any byte of the body is read.
    pub fn screen(
        &self,
        _headers: &http::HeaderMap,
        _now: std::time::SystemTime,
    ) -> Result<(), crate::VerifyError> {
        todo!()
    }
}
