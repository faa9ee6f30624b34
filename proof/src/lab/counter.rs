//! A handler that remembers little of each event of a flood, so that millions fit: how often it came, when it first did,
//! and whether its body was the right one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::flood::Stamp;

#[derive(Default)]
struct Seen {
    /// When each event was first answered 2xx, and how often.
    delivered: HashMap<u64, (Instant, u32)>,
    attempts: Vec<Instant>,
    wrong: u64,
}

struct Shared {
    stamp: Arc<Stamp>,
    seen: Mutex<Seen>,
    answer: Box<dyn Fn(u64) -> StatusCode + Send + Sync>,
}

/// The handler. Its server ends when it is dropped.
pub struct Counter {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Counter {
    /// Answers the n-th event of the series as `answer` says.
    pub async fn start(
        stamp: Arc<Stamp>,
        answer: impl Fn(u64) -> StatusCode + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { stamp, seen: Mutex::default(), answer: Box::new(answer) });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, address, server })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// How often each event was answered 2xx, and when first.
    #[must_use]
    pub fn delivered(&self) -> HashMap<u64, (Instant, u32)> {
        self.seen(|seen| seen.delivered.clone())
    }

    /// How many events were answered 2xx.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen(|seen| seen.delivered.len())
    }

    /// When each attempt came.
    #[must_use]
    pub fn attempts(&self) -> Vec<Instant> {
        self.seen(|seen| seen.attempts.clone())
    }

    /// Requests that were not of the series, or with another body.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.seen(|seen| seen.wrong)
    }

    fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers.get("tenterhook-provider-event-id").and_then(|value| value.to_str().ok());
    let number = id.and_then(|id| shared.stamp.number(id)).filter(|&n| shared.stamp.body(n) == body);
    let status = number.map_or(StatusCode::OK, |n| (shared.answer)(n));
    let (now, mut seen) = (Instant::now(), shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
    seen.attempts.push(now);
    match number {
        None => seen.wrong += 1,
        Some(n) if status.is_success() => seen.delivered.entry(n).or_insert((now, 0)).1 += 1,
        Some(_) => {}
    }
    status
}
