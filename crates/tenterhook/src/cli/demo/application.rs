//! The application behind the demo's gateway: a handler that works, one that fails twice for each event and recovers,
//! and one that never works.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

use super::super::failure::Failure;

/// How often the second handler fails for each event.
const FAILURES: u32 = 2;

type Seen = Arc<Mutex<HashMap<String, u32>>>;

/// Starts it on a free port.
pub(super) async fn start() -> Result<SocketAddr, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/works", post(|| async { (StatusCode::OK, "{\"handled\":true}") }))
        .route("/recovers", post(recovers))
        .route("/never", post(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "a bug in the application") }))
        .with_state(Seen::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn recovers(State(seen): State<Seen>, headers: HeaderMap) -> (StatusCode, &'static str) {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let attempts = seen.entry(id).or_default();
    *attempts += 1;
    if *attempts <= FAILURES {
        (StatusCode::SERVICE_UNAVAILABLE, "restarting, come back")
    } else {
        (StatusCode::OK, "back again")
    }
}
