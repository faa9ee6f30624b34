//! Every route, in one table: the router is built from it, and the reference for people is checked against it.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};

use super::{deliveries, events, gateway, health, orders};
use crate::admin::AdminState;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, who is told little.
    Anybody,
    /// Whoever may read.
    Viewer,
    /// Whoever may change things.
    Operator,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Its path, with `{id}` for what varies.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
}

type Handler = MethodRouter<Arc<AdminState>>;

/// Every route.
#[must_use]
pub fn routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// Every route with its handler.
pub(in crate::admin) fn table() -> Vec<(Route, Handler)> {
    vec![
        anybody("/healthz", get(health::healthy)),
        anybody("/webhooks/health", get(health::healthy)),
        anybody("/readyz", get(health::ready)),
        read("/metrics", get(health::metrics)),
        read("/api/v1/ledger", get(gateway::ledger)),
        read("/api/v1/events", get(events::list)),
        read("/api/v1/events/{id}", get(events::show)),
        read("/api/v1/events/{id}/body", get(events::body)),
        change("/api/v1/events/{id}/replay", post(orders::replay_event)),
        change("/api/v1/replay", post(orders::replay)),
        read("/api/v1/deliveries", get(deliveries::list)),
        change("/api/v1/deliveries/cancel", post(orders::cancel)),
        read("/api/v1/dead", get(deliveries::dead)),
        change("/api/v1/dead/redrive", post(orders::redrive)),
        change("/api/v1/dead/purge", post(orders::purge)),
        read("/api/v1/sources", get(gateway::sources)),
        change("/api/v1/sources/{name}/registration", post(gateway::register)),
        read("/api/v1/destinations", get(gateway::destinations)),
        change("/api/v1/destinations/{name}/pause", post(gateway::pause)),
        change("/api/v1/destinations/{name}/resume", post(gateway::resume)),
        change("/api/v1/destinations/{name}/test", post(gateway::test)),
        read("/api/v1/rejections", get(gateway::rejections)),
        read("/api/v1/config", get(gateway::config)),
        read("/api/v1/audit", get(gateway::audit)),
        change("/api/v1/reload", post(gateway::reload)),
    ]
}

fn anybody(path: &'static str, handler: Handler) -> (Route, Handler) {
    (Route { method: "GET", path, access: Access::Anybody }, handler)
}

fn read(path: &'static str, handler: Handler) -> (Route, Handler) {
    (Route { method: "GET", path, access: Access::Viewer }, handler)
}

fn change(path: &'static str, handler: Handler) -> (Route, Handler) {
    (Route { method: "POST", path, access: Access::Operator }, handler)
}
