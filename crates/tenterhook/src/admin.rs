//! The admin listener: API, metrics, health. Speaks JSON over `ops`; knows no store and no destination.
//!
//! The same router serves a listener ([`serve_request`]) and, with [`auth::Auth::trusted`], the command line in its own
//! process when no gateway runs: one set of shapes ([`wire`]) either way. `docs/reference/admin-api.md` is for people.

mod api;
pub mod auth;
mod body;
mod mask;
mod params;
mod problem;
mod throttle;
pub mod wire;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use tower::ServiceExt as _;

pub use api::routes::{Access, Route, routes};

use crate::model::Clock;
use crate::net::listener::Peer;
use crate::ops::Ops;
use crate::ops::live::Live;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::rejections::Rejections;
use auth::Auth;
use problem::Problem;

/// The longest body of a request, in bytes: room for a thousand delivery ids.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the admin API speaks for.
#[derive(Clone)]
pub struct AdminState {
    /// The verbs.
    pub ops: Arc<Ops>,
    /// The running gateway; `None` for a stopped store that the command line opened.
    pub live: Option<Arc<dyn Live>>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What `/api/v1/rejections` shows.
    pub rejections: Arc<Rejections>,
    /// Who may ask.
    pub auth: Arc<Auth>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The whole admin surface. Every row of [`routes`] is served, and nothing else.
pub fn router(state: AdminState) -> Router {
    let state = Arc::new(state);
    let mut router = Router::new();
    for (route, handler) in api::routes::table() {
        let guard = from_fn_with_state((Arc::clone(&state), route.access), auth::guard);
        router = router.route(route.path, handler.route_layer(guard));
    }
    router
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(harden))
        .with_state(state)
}

/// Answers one request of the admin listener: what `net::listener::serve` calls.
pub async fn serve_request<B>(router: Router, mut request: Request<B>, peer: Peer) -> Response
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    request.extensions_mut().insert(peer);
    let answered: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Nothing from here is ever a page, a script, or in somebody's cache. What a handler says itself stays.
async fn harden(mut response: Response) -> Response {
    const CSP: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
