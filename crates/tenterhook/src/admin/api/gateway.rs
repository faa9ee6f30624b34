//! The gateway as a whole: ledger, sources, destinations, refusals, config, audit, reload.

use std::collections::BTreeSet;

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
    AuditWire, DestinationWire, LedgerWire, PageWire, PausedWire, RejectionWire, ReloadWire, SourceWire,
    TestWire,
};
use crate::model::DestinationName;

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
