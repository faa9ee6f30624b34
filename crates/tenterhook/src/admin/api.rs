//! What each route does: one file per noun. A handler reads its request, asks `ops` or the running gateway, and says the
//! answer in [`super::wire`].

mod deliveries;
mod events;
mod gateway;
mod health;
mod orders;
pub(super) mod routes;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};

use super::AdminState;
use super::problem::Problem;

/// The state as handlers take it.
type Shared = State<Arc<AdminState>>;

/// A JSON answer, or a problem.
type Answer<T> = Result<Json<T>, Problem>;

/// An id or name in the path. Text that is none names nothing: 404.
fn in_path<T: std::str::FromStr>(
    path: Result<Path<String>, PathRejection>,
    what: &'static str,
) -> Result<T, Problem> {
    path.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(|| Problem::unknown(what))
}
