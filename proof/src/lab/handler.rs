//! A handler behind the gateway: a real HTTP server that keeps a journal of what it was given.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// One request that the handler was given.
#[derive(Clone, Debug)]
pub struct Received {
    /// The headers.
    pub headers: HeaderMap,
    /// The exact body.
    pub body: Bytes,
    /// What it was answered.
    pub status: StatusCode,
    /// When it came.
    pub at: Instant,
}

impl Received {
    /// A header's text; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Which attempt it is, from 1; 0 where that is not said.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.header("tenterhook-attempt").parse().unwrap_or(0)
    }

    /// The provider's id of the event.
    #[must_use]
    pub fn event(&self) -> &str {
        self.header("tenterhook-provider-event-id")
    }
}

/// What a handler does with a request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// After this long.
    pub after: Duration,
}

impl From<StatusCode> for Answer {
    fn from(status: StatusCode) -> Self {
        Self { status, after: Duration::ZERO }
    }
}

type Behaviour = dyn Fn(&Received) -> Answer + Send + Sync;

struct Shared {
    journal: Mutex<Vec<Received>>,
    answer: Box<Behaviour>,
}

/// The handler. Its server ends when it is dropped.
pub struct Handler {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Handler {
    /// Answers 200 to everything.
    pub async fn start() -> anyhow::Result<Self> {
        Self::answering(|_| StatusCode::OK.into()).await
    }

    /// Answers as `answer` says. The journal has the request before it is answered.
    pub async fn answering(
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { journal: Mutex::default(), answer: Box::new(answer) });
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

    /// Everything it was given so far.
    #[must_use]
    pub fn journal(&self) -> Vec<Received> {
        self.shared.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests it was given so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.journal.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How often each event, by the provider's id, was answered 2xx, and its body.
    #[must_use]
    pub fn delivered(&self) -> HashMap<String, (u64, Bytes)> {
        let mut times: HashMap<String, (u64, Bytes)> = HashMap::new();
        for received in self.journal().iter().filter(|it| it.status.is_success()) {
            times.entry(received.event().to_owned()).or_insert_with(|| (0, received.body.clone())).0 += 1;
        }
        times
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = Received { headers, body, status: StatusCode::OK, at: Instant::now() };
    let answer = (shared.answer)(&received);
    received.status = answer.status;
    shared.journal.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    if !answer.after.is_zero() {
        tokio::time::sleep(answer.after).await;
    }
    answer.status
}
