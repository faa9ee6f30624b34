//! Deliveries and dead letters: lists.

use axum::Json;
use axum::extract::State;
use http::Uri;

use super::{Answer, Shared};
use crate::admin::AdminState;
use crate::admin::params::Params;
use crate::admin::wire::{DeliveryWire, PageWire};
use crate::model::DeliveryState;
use crate::store::{DeliveryQuery, Selection};

const STATES: [(&str, DeliveryState); 4] = [
    ("pending", DeliveryState::Pending),
    ("leased", DeliveryState::Leased),
    ("delivered", DeliveryState::Delivered),
    ("dead", DeliveryState::Dead),
];

/// `GET /api/v1/deliveries`.
pub(super) async fn list(State(state): Shared, uri: Uri) -> Answer<PageWire<DeliveryWire>> {
    let known = ["event", "state", "source", "destination", "type", "since", "until", "limit", "after"];
    let params = Params::read(&uri, &known)?;
    let wanted = params.one_of("state", &STATES)?;
    page(&state, &params, wanted).await
}

/// `GET /api/v1/dead`.
pub(super) async fn dead(State(state): Shared, uri: Uri) -> Answer<PageWire<DeliveryWire>> {
    let known = ["event", "source", "destination", "type", "since", "until", "limit", "after"];
    let params = Params::read(&uri, &known)?;
    page(&state, &params, Some(DeliveryState::Dead)).await
}

async fn page(
    state: &AdminState,
    params: &Params,
    wanted: Option<DeliveryState>,
) -> Answer<PageWire<DeliveryWire>> {
    let now = state.clock.now();
    let selection = Selection {
        event: params.parsed("event", "an event's id (`evt_…`)")?,
        state: wanted,
        source: params.parsed("source", "a source's name")?,
        destination: params.parsed("destination", "a destination's name")?,
        event_type: params.text("type"),
        since: params.time("since", now)?,
        until: params.time("until", now)?,
        limit: params.limit()?,
        ..Selection::default()
    };
    let page = state.ops.deliveries(DeliveryQuery { selection, after: params.text("after") }).await?;
    Ok(Json(PageWire { items: page.items.iter().map(DeliveryWire::of).collect(), next: page.next }))
}
