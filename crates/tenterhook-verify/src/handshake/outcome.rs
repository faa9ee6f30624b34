//! What a handshake comes to: an answer, a key, a URL to confirm, or a refusal with its reason.

use http::{HeaderName, HeaderValue};
use thiserror::Error;

use crate::{Secret, VerifyError};

/// What a handshake asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Handshake {
    /// Answer, and nothing else. The request is no event.
    Answer(Answer),
    /// Keep `secret` as the source's key, end the registration, then answer.
    Learn {
        /// The key that the provider brought.
        secret: Secret,
        /// The answer.
        answer: Answer,
    },
    /// Confirm with a GET to `url` (https, on a host of the rule's list; no redirects), then answer.
    Confirm {
        /// Where to.
        url: String,
        /// The answer.
        answer: Answer,
    },
}

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, `x-content-type-options: nosniff` always among them; a body is `text/plain` or JSON.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: String,
}

/// Why a handshake was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// It had to verify, and did not.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// It asks for what this source does not grant.
    #[error("{}", self.code())]
    Refused {
        /// The stable reason.
        reason: HandshakeReason,
        /// A sentence for logs; names places, never values.
        detail: String,
        /// The HTTP status that the provider documents for it, else 400, 401 or 403.
        status: u16,
    },
}

/// Why a handshake was refused, apart from verification. [`HandshakeReason::code`] is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeReason {
    /// The challenge is missing, too short or too long, or holds characters that the provider never sends.
    MalformedChallenge,
    /// A parameter arrived more than once.
    RepeatedParameter,
    /// The verify token is not the configured one, or none is configured.
    TokenMismatch,
    /// The topic is none of the configured ones.
    UnknownTopic,
    /// The origin is none of the allowed ones.
    UnknownOrigin,
    /// A key, but no registration is pending.
    UnexpectedHandshake,
    /// A key that is too short, too long, or no printable text.
    MalformedKey,
    /// The URL to confirm is not on a host of the provider.
    UrlNotAllowed,
    /// The source lacks a setting that the answer needs, such as a key name or service ids.
    NotConfigured,
    /// An event whose signed content reads like a challenge that this source would sign.
    ContentIsChallenge,
}

impl HandshakeReason {
    /// The stable code: metric label and log field.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MalformedChallenge => "malformed_challenge",
            Self::RepeatedParameter => "repeated_parameter",
            Self::TokenMismatch => "token_mismatch",
            Self::UnknownTopic => "unknown_topic",
            Self::UnknownOrigin => "unknown_origin",
            Self::UnexpectedHandshake => "unexpected_handshake",
            Self::MalformedKey => "malformed_key",
            Self::UrlNotAllowed => "url_not_allowed",
            Self::NotConfigured => "not_configured",
            Self::ContentIsChallenge => "content_is_challenge",
        }
    }
}

impl HandshakeError {
    /// The stable code of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unverified(error) => error.reason.code(),
            Self::Refused { reason, .. } => reason.code(),
        }
    }
}

/// A refusal with its sentence.
pub(crate) fn refuse(reason: HandshakeReason, status: u16, detail: impl Into<String>) -> HandshakeError {
    HandshakeError::Refused { reason, status, detail: detail.into() }
}
