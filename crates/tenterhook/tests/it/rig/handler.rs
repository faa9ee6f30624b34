//! A handler behind the gateway: a real HTTP server that keeps a journal of what it was given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::sync::watch;

/// One request that the handler was given.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The exact body.
    pub(crate) body: Bytes,
    /// What it was answered.
    pub(crate) status: StatusCode,
}

impl Received {
    /// A header's text; empty where it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answer = dyn Fn(&Received) -> StatusCode + Send + Sync;

struct Shared {
    journal: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    answer: Box<Answer>,
}

/// The handler. Its server ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Handler {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Handler {
    /// Answers 200 to everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| StatusCode::OK).await
    }

    /// Answers as `answer` says.
    pub(crate) async fn answering(answer: impl Fn(&Received) -> StatusCode + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = watch::Sender::new(0);
        let shared = Arc::new(Shared { journal: Mutex::default(), count, answer: Box::new(answer) });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Everything it was given so far.
    pub(crate) fn journal(&self) -> Vec<Received> {
        self.shared.journal.lock().unwrap().clone()
    }

    /// The journal, once it holds at least `count` requests.
    pub(crate) async fn journal_of(&self, count: usize) -> Vec<Received> {
        let mut seen = self.shared.count.subscribe();
        let waited = tokio::time::timeout(super::PATIENCE, seen.wait_for(|seen| *seen >= count)).await;
        assert!(waited.is_ok(), "the handler was given {} of {count}", self.journal().len());
        drop(waited);
        self.journal()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = Received { headers, body, status: StatusCode::OK };
    let status = (shared.answer)(&received);
    received.status = status;
    shared.journal.lock().unwrap().push(received);
    shared.count.send_modify(|count| *count += 1);
    status
}
