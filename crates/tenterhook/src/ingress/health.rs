//! `GET /healthz`, `/webhooks/health` and `/readyz`: the only other things that the ingress listener answers.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::model::Timestamp;
use crate::store::Store;

use super::budget::Budget;
use super::reply;

/// The answer, where the path is one of these. A `Host` is not asked for: load balancers often send none.
pub(super) fn answer<B>(
    request: &Request<B>,
    store: &dyn Store,
    budget: &Budget,
    now: Timestamp,
) -> Option<Response<Full<Bytes>>> {
    let is_ready = match request.uri().path() {
        "/healthz" | "/webhooks/health" => None,
        // Not ready whenever the next event would be answered 503.
        "/readyz" => Some(store.ready().is_ok() && budget.has_room()),
        _ => return None,
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        // `None` lets a source be configured at that path; else the path is unknown to POST.
        return None;
    }
    let (status, text) = match is_ready {
        None => (StatusCode::OK, "healthy"),
        Some(true) => (StatusCode::OK, "ready"),
        Some(false) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let body = format!(r#"{{"status":"{text}","timestamp":"{}"}}"#, now.rfc3339());
    Some(reply::json(status, body))
}
