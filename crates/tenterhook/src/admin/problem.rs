//! Refusals as RFC 9457 problem JSON: a stable code for programs, a sentence and a hint for people.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::wire::ProblemWire;
use crate::store::{StoreError, StoreErrorKind};

/// Why a request was not carried out.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    hint: String,
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str) -> Self {
        let detail = status.canonical_reason().unwrap_or("refused").to_lowercase();
        Self { status, code, detail, hint: String::new(), retry_after_s: None }
    }

    /// 400: the request cannot be read.
    pub(super) fn bad_request(
        code: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code).because(detail, hint)
    }

    /// 404: there is no such thing.
    pub(super) fn unknown(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found").because(format!("no such {what}"), "")
    }

    /// 409: only a running gateway knows.
    pub(super) fn not_running() -> Self {
        Self::new(StatusCode::CONFLICT, "not_running").because(
            "only a running gateway knows this, and there is none here",
            "start it with `tenterhook serve`",
        )
    }

    #[must_use]
    pub(super) fn because(mut self, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        self.detail = detail.into();
        self.hint = hint.into();
        self
    }

    #[must_use]
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, hint) = match error.kind {
            StoreErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
            StoreErrorKind::Full => {
                (StatusCode::SERVICE_UNAVAILABLE, "make room on the disk, or raise `store.max_bytes`")
            }
            StoreErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "restore the event from a backup"),
            StoreErrorKind::Incompatible | StoreErrorKind::Locked => (StatusCode::SERVICE_UNAVAILABLE, ""),
            StoreErrorKind::Invalid => {
                (StatusCode::BAD_REQUEST, "pass `next` of the page before as it was given")
            }
        };
        let problem = Self::new(status, error.kind.code()).because(error.message, hint);
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let wire = ProblemWire {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
            hint: self.hint,
        };
        let mut response = (self.status, Json(wire)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenterhook\""));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
