//! Why a request did not reach its handler, and what its sender is told: nothing by which a forger could learn.

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use thiserror::Error;

use crate::{KeyNeed, Reason, VerifyError};

/// How long a sender is asked to wait for a key that is being fetched, in seconds.
const RETRY_AFTER_S: u64 = 5;

/// A request that was refused. The answer is a problem document (RFC 9457), the same for every refusal of one status; the
/// reason is for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The body is longer than the bound: 413.
    #[error("the body is longer than {body_bytes_max} bytes")]
    BodyTooLarge {
        /// The bound, in bytes.
        body_bytes_max: usize,
    },
    /// The body ended early or broke off: 400.
    #[error("the body could not be read to its end")]
    BodyUnreadable,
    /// Verification refused it: 400 for its timestamp or its form, 503 where a key has to be fetched first, else 401.
    #[error("{0}")]
    Unverified(VerifyError),
}

impl Rejection {
    /// The status of the answer: 400, 401, 413 or 503.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyUnreadable => StatusCode::BAD_REQUEST,
            Self::Unverified(error) if error.needs.is_some() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unverified(error) if error.reason.is_about_time() => StatusCode::BAD_REQUEST,
            Self::Unverified(error) if error.reason == Reason::MalformedContent => StatusCode::BAD_REQUEST,
            Self::Unverified(_) => StatusCode::UNAUTHORIZED,
        }
    }

    /// The reason, where verification refused the request.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Unverified(error) => Some(error.reason),
            Self::BodyTooLarge { .. } | Self::BodyUnreadable => None,
        }
    }

    /// The key that has to be fetched before the request can be judged.
    #[must_use]
    pub fn needs(&self) -> Option<&KeyNeed> {
        match self {
            Self::Unverified(error) => error.needs.as_deref(),
            Self::BodyTooLarge { .. } | Self::BodyUnreadable => None,
        }
    }

    /// What the sender is told.
    fn told(&self) -> &'static str {
        match self {
            Self::BodyTooLarge { .. } => "the body is too large",
            Self::BodyUnreadable => "the body could not be read to its end",
            Self::Unverified(error) if error.needs.is_some() => "a key is not at hand yet",
            Self::Unverified(error) if error.reason.is_about_time() => {
                "the timestamp is missing, malformed or outside the tolerance"
            }
            Self::Unverified(error) if error.reason == Reason::MalformedContent => {
                "the request does not hold what its signature covers, or too much of it"
            }
            Self::Unverified(_) => "the request is not authentic",
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or("Refused");
        let problem = serde_json::json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.told(),
        });
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        // For middleware that logs or counts: axum does not send extensions.
        response.extensions_mut().insert(self);
        response
    }
}
