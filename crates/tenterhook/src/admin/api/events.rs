//! Events: list, show, body.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderValue, Uri, header};

use super::{Answer, Shared, in_path};
use crate::admin::params::Params;
use crate::admin::problem::Problem;
use crate::admin::wire::{EventDetailWire, EventWire, PageWire};
use crate::model::{EventId, EventState};
use crate::store::{EventQuery, StoreErrorKind};

const STATES: [(&str, EventState); 4] = [
    ("pending", EventState::Pending),
    ("delivered", EventState::Delivered),
    ("dead", EventState::Dead),
    ("ignored", EventState::Ignored),
];

/// `GET /api/v1/events`.
pub(super) async fn list(State(state): Shared, uri: Uri) -> Answer<PageWire<EventWire>> {
    let params = Params::read(
        &uri,
        &["source", "type", "event_id", "state", "since", "until", "limit", "after", "order"],
    )?;
    let now = state.clock.now();
    let query = EventQuery {
        source: params.parsed("source", "a source's name")?,
        event_type: params.text("type"),
        provider_event_id: params.text("event_id"),
        state: params.one_of("state", &STATES)?,
        since: params.time("since", now)?,
        until: params.time("until", now)?,
        after: params.text("after"),
        oldest_first: params.one_of("order", &[("desc", false), ("asc", true)])?.unwrap_or(false),
        limit: params.limit()?,
    };
    let page = state.ops.events(query).await?;
    Ok(Json(PageWire { items: page.items.iter().map(EventWire::of).collect(), next: page.next }))
}

/// `GET /api/v1/events/{id}`.
pub(super) async fn show(
    State(state): Shared,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer<EventDetailWire> {
    Params::read(&uri, &[])?;
    let id: EventId = in_path(path, "event")?;
    let event = state.ops.event(id).await?.ok_or_else(|| Problem::unknown("event"))?;
    // An event is also shown when its bytes are damaged: that is when somebody looks.
    let (payload, corrupt) = match state.ops.payload(id, None).await {
        Ok(payload) => (payload, false),
        Err(error) if error.kind == StoreErrorKind::Corrupt => (None, true),
        Err(error) => return Err(error.into()),
    };
    Ok(Json(EventDetailWire::of(&event, payload.as_ref(), corrupt)))
}

/// `GET /api/v1/events/{id}/body`: a stranger's bytes, so never under a type or a name that is theirs.
pub(super) async fn body(
    State(state): Shared,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["conflict"])?;
    let conflict = params.parsed::<u32>("conflict", "the number of a conflict, from 1")?;
    let id: EventId = in_path(path, "event")?;
    let payload = state.ops.payload(id, conflict).await?.ok_or_else(|| {
        Problem::unknown(if conflict.is_some() { "conflict of that event" } else { "event" })
    })?;
    let suffix = conflict.map_or_else(String::new, |number| format!("-conflict-{number}"));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{id}{suffix}.bin\""))
        .unwrap_or(HeaderValue::from_static("attachment"));
    let mut response = Response::new(Body::from(payload.body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}
