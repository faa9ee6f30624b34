//! Health, readiness and the metrics page: never slower than the store allows.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, Uri, header};

use super::Shared;
use crate::admin::auth::Caller;
use crate::admin::params::Params;
use crate::admin::problem::Problem;
use crate::admin::wire::{HealthWire, LaneWire, ReadyWire, StoreHealthWire};
use crate::model::BreakerState;
use crate::telemetry::metrics;

/// A scrape waits no longer than this for the store's figures; counters are shown without them.
const STATS_WITHIN: Duration = Duration::from_secs(5);

/// `GET /healthz` and `GET /webhooks/health`: the process answers.
pub(super) async fn healthy(State(state): Shared) -> Json<HealthWire> {
    Json(HealthWire { status: "healthy".to_owned(), timestamp: state.clock.now().rfc3339() })
}

/// `GET /readyz`: whether the next event would be taken; with details for whoever may read.
pub(super) async fn ready(State(state): Shared, Extension(caller): Extension<Option<Caller>>) -> Response {
    let ready = state.ops.ready();
    let (status, text) = match &ready {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let mut wire = ReadyWire {
        status: text.to_owned(),
        timestamp: state.clock.now().rfc3339(),
        store: None,
        lanes: None,
    };
    if caller.is_some() {
        let trouble = ready.err();
        wire.store = Some(StoreHealthWire {
            ready: trouble.is_none(),
            code: trouble.as_ref().map(|error| error.kind.code().to_owned()),
            detail: trouble.map(|error| error.message),
        });
        let lanes = state.live.iter().flat_map(|live| live.lanes());
        let troubled = lanes.filter(|lane| {
            lane.breaker != BreakerState::Closed || lane.alarm.is_some() || lane.paused_until.is_some()
        });
        wire.lanes = Some(troubled.map(|lane| (lane.destination.to_string(), LaneWire::of(&lane))).collect());
    }
    (status, Json(wire)).into_response()
}

/// `GET /metrics`.
pub(super) async fn metrics(State(state): Shared, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let stats = tokio::time::timeout(STATS_WITHIN, state.ops.stats()).await;
    let stats = stats.ok().and_then(Result::ok);
    let lanes = state.live.as_ref().map(|live| live.lanes()).unwrap_or_default();
    let mut response = state.metrics.render(stats.as_ref(), &lanes).into_response();
    let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
