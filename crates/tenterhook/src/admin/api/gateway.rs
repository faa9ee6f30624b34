//! The gateway as a whole: ledger, sources, destinations, refusals, config, audit, reload.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::{Answer, Shared, in_path};
use crate::admin::AdminState;
use crate::admin::auth::Caller;
use crate::admin::body::JsonBody;
use crate::admin::params::Params;
use crate::admin::problem::Problem;
use crate::admin::wire::{
    AuditWire, DestinationWire, LedgerWire, PageWire, PausedWire, RegistrationOrderWire, RegistrationWire,
    RejectionWire, ReloadWire, SourceWire, TestWire,
};
use crate::model::{DestinationName, FormerKeys, Registration, SourceName, Timestamp};
use crate::ops::live::RegistrationError;

/// The longest that a window is open.
const OPEN_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest end that a former key is given.
const FORMER_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

type By = Extension<Option<Caller>>;

/// The body of a change that takes no arguments: empty, or `{}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `GET /api/v1/ledger`.
pub(super) async fn ledger(State(state): Shared, uri: Uri) -> Answer<LedgerWire> {
    if !Params::read(&uri, &["verify"])?.flag("verify")? {
        return Ok(Json(LedgerWire::of(&state.ops.stats().await?.ledger)));
    }
    let (counters, rows) = state.ops.compare().await?;
    Ok(Json(LedgerWire::of(&counters).with_recount(&rows, Some(counters == rows))))
}

/// `GET /api/v1/sources`.
pub(super) async fn sources(State(state): Shared, uri: Uri) -> Answer<PageWire<SourceWire>> {
    Params::read(&uri, &[])?;
    let live = state.live.as_ref().ok_or_else(Problem::not_running)?;
    Ok(Json(PageWire::whole(live.sources().into_iter().map(SourceWire::of).collect())))
}

/// `GET /api/v1/destinations`: configured ones, and those that the store still has deliveries for.
pub(super) async fn destinations(State(state): Shared, uri: Uri) -> Answer<PageWire<DestinationWire>> {
    Params::read(&uri, &[])?;
    let stats = state.ops.stats().await?;
    let (views, lanes) =
        state.live.as_ref().map(|live| (live.destinations(), live.lanes())).unwrap_or_default();
    let names: BTreeSet<&DestinationName> =
        views.iter().map(|view| &view.name).chain(stats.destinations.keys()).collect();
    let items = names.into_iter().map(|name| {
        let view = views.iter().find(|view| view.name == *name);
        let lane = lanes.iter().find(|lane| lane.destination == *name);
        let configured = state.live.as_ref().map(|_| view.is_some());
        let figures = stats.destinations.get(name).copied().unwrap_or_default();
        DestinationWire::of(name, configured, view, lane, &figures)
    });
    Ok(Json(PageWire::whole(items.collect())))
}

/// `POST /api/v1/destinations/{name}/pause`.
pub(super) async fn pause(
    State(state): Shared,
    Extension(caller): By,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    _: JsonBody<Nothing>,
) -> Answer<PausedWire> {
    set_paused(&state, caller, path, &uri, true).await
}

/// `POST /api/v1/destinations/{name}/resume`.
pub(super) async fn resume(
    State(state): Shared,
    Extension(caller): By,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    _: JsonBody<Nothing>,
) -> Answer<PausedWire> {
    set_paused(&state, caller, path, &uri, false).await
}

async fn set_paused(
    state: &AdminState,
    caller: Option<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: &Uri,
    paused: bool,
) -> Answer<PausedWire> {
    Params::read(uri, &[])?;
    let name: DestinationName = in_path(path, "destination")?;
    let configured = state.live.iter().any(|live| live.destinations().iter().any(|view| view.name == name));
    if !configured && !state.ops.stats().await?.destinations.contains_key(&name) {
        return Err(Problem::unknown("destination"));
    }
    state.ops.set_paused(name.clone(), paused, &actor(caller)).await?;
    Ok(Json(PausedWire { destination: name.to_string(), paused }))
}

/// `POST /api/v1/destinations/{name}/test`.
pub(super) async fn test(
    State(state): Shared,
    Extension(caller): By,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    _: JsonBody<Nothing>,
) -> Answer<TestWire> {
    Params::read(&uri, &[])?;
    let name: DestinationName = in_path(path, "destination")?;
    let live = state.live.as_ref().ok_or_else(Problem::not_running)?;
    let reply = live.test(&name).await.ok_or_else(|| Problem::unknown("destination"))?;
    let tested = TestWire::of(reply);
    state.ops.audit(&actor(caller), "test", format!("{name}: {}", tested.outcome)).await?;
    Ok(Json(tested))
}

/// `POST /api/v1/sources/{name}/registration`. On the record before the window is open.
pub(super) async fn register(
    State(state): Shared,
    Extension(caller): By,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    JsonBody(wire): JsonBody<RegistrationOrderWire>,
) -> Answer<RegistrationWire> {
    Params::read(&uri, &[])?;
    let name: SourceName = in_path(path, "source")?;
    let order = registration(&wire)?;
    let live = state.live.as_ref().ok_or_else(Problem::not_running)?;
    if !live.sources().iter().any(|view| view.name == name) {
        return Err(Problem::unknown("source"));
    }
    let verb = if order.open_for.is_zero() { "closed" } else { "opened" };
    state.ops.audit(&actor(caller), "register", format!("{name}: {verb}")).await?;
    let until = live.register(&name, order).map_err(|error| unregistered(&name, error))?;
    Ok(Json(RegistrationWire { source: name.to_string(), registration_until: until.map(Timestamp::rfc3339) }))
}

fn registration(wire: &RegistrationOrderWire) -> Result<Registration, Problem> {
    let refused = |what: &str, hint: &str| Problem::bad_request("bad_order", what, hint);
    let millis = |value: Option<u64>, max: Duration| match value.map(Duration::from_millis) {
        Some(value) if value > max => Err(refused(
            "the time is out of range",
            "a window is open for a day at most, and keys end within a year",
        )),
        value => Ok(value),
    };
    let usual = Registration::default();
    let former = match (millis(wire.former_for_ms, FORMER_MAX)?, wire.keep_former) {
        (Some(_), true) => {
            return Err(refused("`keep_former` and `former_for_ms` contradict each other", "leave one out"));
        }
        (None, true) => FormerKeys::Always,
        (Some(time), false) => FormerKeys::For(time),
        (None, false) => usual.former,
    };
    Ok(Registration { open_for: millis(wire.open_for_ms, OPEN_MAX)?.unwrap_or(usual.open_for), former })
}

fn unregistered(name: &SourceName, error: RegistrationError) -> Problem {
    let conflict = Problem::new(StatusCode::CONFLICT, "no_registration");
    match error {
        RegistrationError::UnknownSource => Problem::unknown("source"),
        RegistrationError::NothingToAwait => conflict.because(
            format!("nothing is awaited for `{name}`: its provider brings no key"),
            "its secret is in the provider's settings: write it into the config as `secrets`",
        ),
        RegistrationError::NowhereToKeep => conflict.because(
            "the store is in memory, and a key that is learnt would end with this process",
            "write `url = \"sqlite:PATH\"` in `[store]`",
        ),
    }
}

/// `GET /api/v1/rejections`.
pub(super) async fn rejections(State(state): Shared, uri: Uri) -> Answer<PageWire<RejectionWire>> {
    let limit = Params::read(&uri, &["limit"])?.limit()?;
    let recent = state.rejections.recent(limit as usize);
    Ok(Json(PageWire::whole(recent.into_iter().map(RejectionWire::of).collect())))
}

/// `GET /api/v1/config`.
pub(super) async fn config(State(state): Shared, uri: Uri) -> Answer<serde_json::Value> {
    Params::read(&uri, &[])?;
    state.live.as_ref().map(|live| Json(live.config())).ok_or_else(Problem::not_running)
}

/// `GET /api/v1/audit`.
pub(super) async fn audit(State(state): Shared, uri: Uri) -> Answer<PageWire<AuditWire>> {
    let params = Params::read(&uri, &["limit", "after"])?;
    let before = params.parsed::<i64>("after", "`next` of the page before")?;
    let page = state.ops.audits(before, params.limit()?).await?;
    Ok(Json(PageWire { items: page.items.into_iter().map(AuditWire::of).collect(), next: page.next }))
}

/// `POST /api/v1/reload`.
pub(super) async fn reload(
    State(state): Shared,
    Extension(caller): By,
    uri: Uri,
    _: JsonBody<Nothing>,
) -> Answer<ReloadWire> {
    Params::read(&uri, &[])?;
    let live = state.live.as_ref().ok_or_else(Problem::not_running)?;
    live.reload().await.map_err(|problems| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "config_refused").because(
            problems,
            "the config that runs is unchanged; `tenterhook check` shows the same problems",
        )
    })?;
    state.ops.audit(&actor(caller), "reload", "config".to_owned()).await?;
    Ok(Json(ReloadWire { reloaded: true }))
}

fn actor(caller: Option<Caller>) -> String {
    caller.map_or_else(String::new, |caller| caller.name.to_string())
}
