//! What the sender is told. Refusals are RFC 9457 problems; every refusal for want of authenticity reads the same.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tenterhook_verify::{HandshakeError, HandshakeReason, Reason, VerifyError};

use crate::model::{Accepted, Known, Timestamp};
use crate::source::{Refusal, ResponsePolicy, Source};
use crate::store::{StoreError, StoreErrorKind};

use super::journal::EventFacts;

/// What the sender of a handshake is told, whatever is wrong with it.
const NOT_GRANTED: &str = "this handshake is not granted";

/// Why a request was refused.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    /// The answer's status.
    pub(super) status: StatusCode,
    /// The stable reason code, in logs and in the list of rejections; never in the answer.
    pub(super) reason: &'static str,
    /// For logs: one sentence, no secret, nothing from the body.
    pub(super) detail: String,
    /// What verification said, where it was that.
    pub(super) unverified: Option<Reason>,
    /// For the sender.
    told: String,
    retry_after: Option<Duration>,
    allow: Option<String>,
}

impl Rejection {
    fn new(status: StatusCode, reason: &'static str, told: impl Into<String>) -> Self {
        let told = told.into();
        let detail = told.clone();
        Self { status, reason, detail, told, unverified: None, retry_after: None, allow: None }
    }

    fn unavailable(reason: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let told = "the event was not stored; send it again later";
        let rejection = Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, told);
        Self { detail: detail.into(), retry_after: Some(retry_after), ..rejection }
    }

    pub(super) fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_source", "there is no source at this path")
    }

    pub(super) fn method(source: &Source) -> Self {
        let allow =
            source.handshakes.methods().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let told = format!("only {allow} is allowed here");
        let rejection = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", told);
        Self { allow: Some(allow), ..rejection }
    }

    /// What a source says of a request that is neither an event nor a handshake that it grants.
    pub(super) fn refused(refusal: Refusal, source: &Source) -> Self {
        match refusal {
            Refusal::Unverified(error) => Self::unverified(error),
            Refusal::Method => Self::method(source),
            Refusal::Handshake(HandshakeError::Unverified(error)) => Self::unverified(error),
            Refusal::Handshake(HandshakeError::Refused { reason, detail, status }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
                let detail = match reason {
                    HandshakeReason::UnexpectedHandshake => with_way_out(&detail, source),
                    _ => detail,
                };
                Self { detail, ..Self::new(status, reason.code(), NOT_GRANTED) }
            }
        }
    }

    /// A key came that cannot be one of this source, or that came second.
    pub(super) fn unlearnt(
        reason: HandshakeReason,
        status: StatusCode,
        detail: &str,
        source: &Source,
    ) -> Self {
        Self { detail: with_way_out(detail, source), ..Self::new(status, reason.code(), NOT_GRANTED) }
    }

    /// A key that was to be learnt could not be made durable.
    pub(super) fn key_not_kept(detail: String) -> Self {
        let told = "the key could not be kept; ask again later";
        let rejection = Self::new(StatusCode::SERVICE_UNAVAILABLE, "key_not_kept", told);
        Self { detail, retry_after: Some(Duration::from_secs(30)), ..rejection }
    }

    /// The provider's key could not be had: its request may be as good as any.
    pub(super) fn no_key(detail: String) -> Self {
        Self::unavailable("key_not_fetched", detail, Duration::from_secs(30))
    }

    /// A handshake asked for something to be done, and that failed.
    pub(super) fn unconfirmed(detail: impl Into<String>) -> Self {
        let told = "the subscription could not be confirmed; ask again later";
        let rejection = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", told);
        Self { detail: detail.into(), retry_after: Some(Duration::from_secs(30)), ..rejection }
    }

    pub(super) fn host(told: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "host", told)
    }

    pub(super) fn coding() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "coding", "the only transfer coding is `chunked`")
    }

    pub(super) fn address() -> Self {
        Self::new(StatusCode::FORBIDDEN, "address", "this address may not send to this source")
    }

    pub(super) fn rate(reason: &'static str, wait: Duration) -> Self {
        let rejection =
            Self::new(StatusCode::TOO_MANY_REQUESTS, reason, "too many requests; send it again later");
        Self { retry_after: Some(wait), ..rejection }
    }

    pub(super) fn too_large(bytes_max: u64) -> Self {
        let told = format!("the body is longer than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", told)
    }

    pub(super) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in time")
    }

    pub(super) fn broken_body(error: &dyn std::fmt::Display) -> Self {
        let rejection =
            Self::new(StatusCode::BAD_REQUEST, "body_broken", "the body is malformed or incomplete");
        Self { detail: format!("the body ended early: {error}"), ..rejection }
    }

    pub(super) fn no_memory() -> Self {
        let detail = "the memory for unverified bodies is in use";
        Self::unavailable("body_budget", detail, Duration::from_secs(1))
    }

    pub(super) fn commit_timeout() -> Self {
        let detail = "the store did not confirm in time; the event may still have been stored";
        Self::unavailable("commit_timeout", detail, Duration::from_secs(5))
    }

    pub(super) fn no_answer() -> Self {
        Self::unavailable("store_invalid", "the store confirmed nothing", Duration::from_secs(5))
    }

    pub(super) fn store(error: &StoreError) -> Self {
        let (reason, wait_s) = match error.kind {
            StoreErrorKind::Unavailable => ("store_unavailable", 5),
            StoreErrorKind::Full => ("store_full", 30),
            StoreErrorKind::Corrupt => ("store_corrupt", 60),
            StoreErrorKind::Incompatible => ("store_incompatible", 60),
            StoreErrorKind::Locked => ("store_locked", 60),
            StoreErrorKind::Invalid => ("store_invalid", 60),
        };
        Self::unavailable(reason, error.message.clone(), Duration::from_secs(wait_s))
    }

    /// Time and form are judged before the signature and whatever it is, so they may be told apart; the rest may not.
    pub(super) fn unverified(error: VerifyError) -> Self {
        let (status, told) = match error.reason {
            reason if reason.is_about_time() => {
                (StatusCode::BAD_REQUEST, "the timestamp is missing, malformed or outside the tolerance")
            }
            Reason::MalformedContent => (
                StatusCode::BAD_REQUEST,
                "the request does not hold what its signature covers, or too much of it",
            ),
            _ => (StatusCode::UNAUTHORIZED, "the request is not authentic"),
        };
        let rejection = Self::new(status, error.reason.code(), told);
        Self { unverified: Some(error.reason), detail: error.detail, ..rejection }
    }
}

/// What to do about a key that nobody awaits.
fn with_way_out(detail: &str, source: &Source) -> String {
    format!("{detail}; to let the provider bring one: `tenterhook sources pending {}`", source.name)
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    correlation_id: &'a str,
}

/// The problem document of a refusal.
pub(super) fn rejection(rejection: &Rejection, correlation_id: &str) -> Response<Full<Bytes>> {
    let problem = Problem {
        r#type: "about:blank",
        title: rejection.status.canonical_reason().unwrap_or("Refused"),
        status: rejection.status.as_u16(),
        detail: &rejection.told,
        correlation_id,
    };
    let mut response = json(rejection.status, to_json(&problem));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(wait) = rejection.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s(wait)));
    }
    if let Some(allow) = rejection.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    response
}

/// Whole seconds, upwards, from 1 to 300: `0` would invite a hot loop.
fn retry_after_s(wait: Duration) -> u64 {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    whole.clamp(1, 300)
}

#[derive(Serialize)]
struct NewReceipt<'a> {
    status: &'static str,
    id: String,
    event_id: Option<&'a str>,
}

#[derive(Serialize)]
struct KnownReceipt<'a> {
    status: &'static str,
    id: String,
    event_id: Option<&'a str>,
    state: &'static str,
    processed_at: Option<String>,
}

/// The receipt for an event that is durable: as in the contract, or as the source overrides it.
pub(super) fn receipt(
    accepted: &Accepted,
    event: &EventFacts,
    policy: &ResponsePolicy,
) -> Response<Full<Bytes>> {
    let event_id = event.provider_event_id.as_deref();
    let (usual, own_status, body) = match accepted {
        Accepted::New { id, .. } => {
            let receipt = NewReceipt { status: "accepted", id: id.to_string(), event_id };
            (StatusCode::ACCEPTED, None, to_json(&receipt))
        }
        Accepted::Duplicate(known) => {
            (StatusCode::OK, None, known_json("duplicate", known, event_id, policy))
        }
        Accepted::Conflict(known) => {
            (StatusCode::OK, policy.conflict_status, known_json("conflict", known, event_id, policy))
        }
    };
    let status = own_status.or(policy.status).unwrap_or(usual);
    let mut response = json(status, body);
    // A status that somebody chose for conflicts keeps the body that explains it.
    if let (Some((body, content_type)), None) = (&policy.body, own_status) {
        *response.body_mut() = Full::new(Bytes::from(body.clone()));
        if let Ok(content_type) = HeaderValue::from_str(content_type) {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) {
        *response.body_mut() = Full::default();
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

fn known_json(
    status: &'static str,
    known: &Known,
    event_id: Option<&str>,
    policy: &ResponsePolicy,
) -> String {
    let mut json = to_json(&KnownReceipt {
        status,
        id: known.id.to_string(),
        event_id,
        state: known.state.as_str(),
        processed_at: known.processed_at.map(Timestamp::rfc3339),
    });
    let result = known.result.as_deref().filter(|_| policy.duplicate_result);
    // The handler's own JSON goes in as it is; what is no JSON after all goes in as text.
    if let Some(result) = result
        && json.pop().is_some()
    {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(result).is_ok();
        let value = if is_json { result.to_owned() } else { to_json(&result) };
        json.push_str(r#","result":"#);
        json.push_str(&value);
        json.push('}');
    }
    json
}

/// A JSON answer with the headers that every answer has.
pub(super) fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Strings, numbers and `null` in structs always serialise; an empty object stands for the impossible.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}
