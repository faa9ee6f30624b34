//! Redrive, replay, purge, cancel: what is ordered is read strictly, and never everything by accident.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::Uri;

use super::{Answer, Shared, in_path};
use crate::admin::AdminState;
use crate::admin::auth::Caller;
use crate::admin::body::JsonBody;
use crate::admin::params::{LIMIT_MAX, Params, parse, time, word};
use crate::admin::problem::Problem;
use crate::admin::wire::{OrderWire, ReportWire};
use crate::model::{DeliveryState, EventId};
use crate::ops::order::{Order, Verb};
use crate::store::Selection;

type By = Extension<Option<Caller>>;

/// `POST /api/v1/dead/redrive`.
pub(super) async fn redrive(
    State(state): Shared,
    Extension(caller): By,
    uri: Uri,
    JsonBody(wire): JsonBody<OrderWire>,
) -> Answer<ReportWire> {
    let verb = Verb::Redrive { out_of_order: wire.out_of_order };
    carry_out(&state, caller, &uri, verb, &wire).await
}

/// `POST /api/v1/replay`.
pub(super) async fn replay(
    State(state): Shared,
    Extension(caller): By,
    uri: Uri,
    JsonBody(wire): JsonBody<OrderWire>,
) -> Answer<ReportWire> {
    let verb = Verb::Replay { out_of_order: wire.out_of_order };
    carry_out(&state, caller, &uri, verb, &wire).await
}

/// `POST /api/v1/dead/purge`.
pub(super) async fn purge(
    State(state): Shared,
    Extension(caller): By,
    uri: Uri,
    JsonBody(wire): JsonBody<OrderWire>,
) -> Answer<ReportWire> {
    carry_out(&state, caller, &uri, Verb::Purge, &wire).await
}

/// `POST /api/v1/deliveries/cancel`.
pub(super) async fn cancel(
    State(state): Shared,
    Extension(caller): By,
    uri: Uri,
    JsonBody(wire): JsonBody<OrderWire>,
) -> Answer<ReportWire> {
    carry_out(&state, caller, &uri, Verb::Cancel, &wire).await
}

/// `POST /api/v1/events/{id}/replay`.
pub(super) async fn replay_event(
    State(state): Shared,
    Extension(caller): By,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    JsonBody(mut wire): JsonBody<OrderWire>,
) -> Answer<ReportWire> {
    let id: EventId = in_path(path, "event")?;
    if wire.event.is_some() || wire.ids.is_some() {
        return Err(refused("the path names the event already", "leave `event` and `ids` out"));
    }
    if state.ops.event(id).await?.is_none() {
        return Err(Problem::unknown("event"));
    }
    wire.event = Some(id.to_string());
    let verb = Verb::Replay { out_of_order: wire.out_of_order };
    carry_out(&state, caller, &uri, verb, &wire).await
}

async fn carry_out(
    state: &AdminState,
    caller: Option<Caller>,
    uri: &Uri,
    verb: Verb,
    wire: &OrderWire,
) -> Answer<ReportWire> {
    // Parameters of an order are in its body: a `?dry_run=true` that nobody reads would be a real run.
    Params::read(uri, &[])?;
    let selection = selection(state, verb, wire)?;
    let deliveries_max = match wire.limit {
        Some(0) => return Err(refused("`limit` is 0", "leave it out for all of them")),
        limit => limit,
    };
    let actor = caller.map_or_else(String::new, |caller| caller.name.to_string());
    let order = Order { verb, selection, dry_run: wire.dry_run, deliveries_max, actor };
    let report = state.ops.order(order).await?;
    Ok(Json(ReportWire::of(&report, wire.dry_run)))
}

fn selection(state: &AdminState, verb: Verb, wire: &OrderWire) -> Result<Selection, Problem> {
    let now = state.clock.now();
    refuse_what_does_not_apply(verb, wire)?;
    let narrowed = wire.ids.is_some()
        || wire.event.is_some()
        || wire.source.is_some()
        || wire.destination.is_some()
        || wire.event_type.is_some()
        || wire.since.is_some()
        || wire.until.is_some()
        || wire.orphaned;
    if !narrowed && !wire.all {
        return Err(refused(
            "nothing says which deliveries",
            "name `ids`, a filter (`event`, `source`, `destination`, `type`, `since`, `until`), or `\"all\": true`",
        ));
    }
    if narrowed && wire.all {
        return Err(refused("`all` and a filter contradict each other", "leave one out"));
    }
    let text = |key: &'static str, value: &Option<String>| value.clone().map(|value| (key, value));
    Ok(Selection {
        ids: ids(wire)?,
        event: read(text("event", &wire.event), "an event's id (`evt_…`)")?,
        state: wire.state.as_deref().map(|state| word("state", state, &REPLAYABLE)).transpose()?,
        source: read(text("source", &wire.source), "a source's name")?,
        destination: read(text("destination", &wire.destination), "a destination's name")?,
        event_type: wire.event_type.clone(),
        since: wire.since.as_deref().map(|text| time("since", text, now)).transpose()?,
        until: wire.until.as_deref().map(|text| time("until", text, now)).transpose()?,
        not_to: if wire.orphaned { Some(configured(state)?) } else { None },
        after_id: read(text("after", &wire.after), "`next` of the answer before")?,
        limit: LIMIT_MAX,
    })
}

const REPLAYABLE: [(&str, DeliveryState); 2] =
    [("delivered", DeliveryState::Delivered), ("dead", DeliveryState::Dead)];

fn refuse_what_does_not_apply(verb: Verb, wire: &OrderWire) -> Result<(), Problem> {
    let requeues = matches!(verb, Verb::Redrive { .. } | Verb::Replay { .. });
    for (key, given, applies) in [
        ("orphaned", wire.orphaned, verb == Verb::Purge),
        ("out_of_order", wire.out_of_order, requeues),
        ("state", wire.state.is_some(), matches!(verb, Verb::Replay { .. })),
    ] {
        if given && !applies {
            return Err(refused(&format!("`{key}` means nothing to a {}", verb.as_str()), "leave it out"));
        }
    }
    Ok(())
}

fn ids(wire: &OrderWire) -> Result<Option<Vec<crate::model::DeliveryId>>, Problem> {
    let Some(ids) = &wire.ids else { return Ok(None) };
    if ids.is_empty() || ids.len() > LIMIT_MAX as usize {
        return Err(refused("`ids` has to name 1 to 1000 deliveries", "send several requests"));
    }
    let read = |id: &String| parse("ids", id, "a delivery's id (`evt_…/destination`)");
    ids.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// The destinations that are not orphaned. Only a running gateway knows its config.
fn configured(state: &AdminState) -> Result<Vec<crate::model::DestinationName>, Problem> {
    let live = state.live.as_ref().ok_or_else(Problem::not_running)?;
    Ok(live.destinations().into_iter().map(|destination| destination.name).collect())
}

fn read<T: std::str::FromStr>(given: Option<(&str, String)>, expected: &str) -> Result<Option<T>, Problem> {
    given.map(|(key, text)| parse(key, &text, expected)).transpose()
}

fn refused(detail: &str, hint: &str) -> Problem {
    Problem::bad_request("bad_order", detail, hint)
}
