//! Why a request was refused. The reasons are stable: they are metric labels and log fields, and people alert on them.

use thiserror::Error;

use crate::remote::KeyNeed;

/// Why verification refused a request. Stable codes; [`Reason::code`] is the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The header (or field) that carries the signature is absent or empty.
    MissingSignature,
    /// The signature is there but not in the provider's form (grammar, encoding, length, duplicated header).
    MalformedSignature,
    /// The signature list holds no entry of a scheme that this source accepts.
    NoSupportedScheme,
    /// A header that the scheme needs besides the signature (id, body hash, …) is absent or not usable.
    MissingHeader,
    /// The timestamp is absent.
    MissingTimestamp,
    /// The timestamp is not a canonical number or date of the provider's form.
    MalformedTimestamp,
    /// The timestamp is older than the tolerance.
    TimestampTooOld,
    /// The timestamp is further ahead than the tolerance.
    TimestampInFuture,
    /// Every live secret and every candidate was tried; none matched.
    SignatureMismatch,
    /// A hash of the body that the signed content carries does not fit the body.
    BodyHashMismatch,
    /// A shared token, or basic credentials, did not match.
    TokenMismatch,
    /// The scheme signs the public URL and none is configured.
    MissingUrl,
    /// The scheme needs a setting of the source that is not configured.
    MissingSetting,
    /// More signature candidates than any provider sends.
    TooManyCandidates,
    /// No secret is live at this time.
    NoLiveSecret,
    /// The signed content cannot be assembled from this request (for example a form that is not a form).
    MalformedContent,
    /// The algorithm that the request names is none that the provider uses.
    UnsupportedAlgorithm,
    /// The key that the request names is none of the known ones.
    UnknownKey,
    /// The key has to be fetched first: see [`VerifyError::needs`].
    KeyNotAtHand,
    /// The request names a key at a place where the provider keeps none. Nothing was fetched.
    KeyUrlNotAllowed,
    /// A claim of a token is not what it has to be: issuer, audience, account, application, URL.
    ClaimMismatch,
    /// The topic is none of the configured ones.
    UnknownTopic,
}

impl Reason {
    /// The stable code: metric label, log field, `--json` output.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::MalformedSignature => "malformed_signature",
            Self::NoSupportedScheme => "no_supported_scheme",
            Self::MissingHeader => "missing_header",
            Self::MissingTimestamp => "missing_timestamp",
            Self::MalformedTimestamp => "malformed_timestamp",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampInFuture => "timestamp_in_future",
            Self::SignatureMismatch => "signature_mismatch",
            Self::BodyHashMismatch => "body_hash_mismatch",
            Self::TokenMismatch => "token_mismatch",
            Self::MissingUrl => "missing_url",
            Self::MissingSetting => "missing_setting",
            Self::TooManyCandidates => "too_many_candidates",
            Self::NoLiveSecret => "no_live_secret",
            Self::MalformedContent => "malformed_content",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::KeyNotAtHand => "key_not_at_hand",
            Self::KeyUrlNotAllowed => "key_url_not_allowed",
            Self::ClaimMismatch => "claim_mismatch",
            Self::UnknownTopic => "unknown_topic",
        }
    }

    /// Every reason, for tables of metrics and docs.
    pub const ALL: [Self; 22] = [
        Self::MissingSignature,
        Self::MalformedSignature,
        Self::NoSupportedScheme,
        Self::MissingHeader,
        Self::MissingTimestamp,
        Self::MalformedTimestamp,
        Self::TimestampTooOld,
        Self::TimestampInFuture,
        Self::SignatureMismatch,
        Self::BodyHashMismatch,
        Self::TokenMismatch,
        Self::MissingUrl,
        Self::MissingSetting,
        Self::TooManyCandidates,
        Self::NoLiveSecret,
        Self::MalformedContent,
        Self::UnsupportedAlgorithm,
        Self::UnknownKey,
        Self::KeyNotAtHand,
        Self::KeyUrlNotAllowed,
        Self::ClaimMismatch,
        Self::UnknownTopic,
    ];

    /// Whether the refusal is about the timestamp. Such a refusal is judged before the MAC, so that it says nothing
    /// about the signature, and a gateway may answer it as 400 where every other one is 401.
    #[must_use]
    pub fn is_about_time(self) -> bool {
        matches!(
            self,
            Self::MissingTimestamp
                | Self::MalformedTimestamp
                | Self::TimestampTooOld
                | Self::TimestampInFuture
        )
    }
}

/// A refusal. Carries no secret, no expected signature and nothing computed from one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.reason.code())]
pub struct VerifyError {
    /// The stable reason.
    pub reason: Reason,
    /// A sentence for logs and for `--explain`: names headers and lengths, never key material.
    pub detail: String,
    /// The key that has to be fetched before the request can be judged ([`Reason::KeyNotAtHand`]), or that may have come
    /// into a set since it was fetched ([`Reason::UnknownKey`]). Then ask again, with
    /// [`Verifier::verify_with`](crate::Verifier::verify_with).
    pub needs: Option<Box<KeyNeed>>,
}

/// A refusal with its sentence.
pub(crate) fn refuse(reason: Reason, detail: impl Into<String>) -> VerifyError {
    VerifyError { reason, detail: detail.into(), needs: None }
}

/// Why a request could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SignError(pub String);

/// What is wrong with a scheme, a locator or a secret as written. The config adds file and line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SpecError {
    /// The key within the spec that is wrong, such as `timestamp.tolerance`; empty for the whole.
    pub key: String,
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}
