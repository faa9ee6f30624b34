//! A handler whose answer somebody waits for: it notes who asked as soon as it is asked, and answers when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use tokio::sync::{Semaphore, watch};

use crate::rig::PATIENCE;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Counted from 1.
    pub(super) number: usize,
    /// `webhook-id`.
    pub(super) event: String,
    /// `tenterhook-attempt`.
    pub(super) attempt: String,
}

/// The handler. Its server ends with the test's runtime.
pub(super) struct Desk {
    address: SocketAddr,
    asked: watch::Receiver<Vec<Asked>>,
}

impl Desk {
    /// Answers as `answer` says.
    pub(super) async fn open<F, A>(answer: F) -> Self
    where
        F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (note, asked) = watch::channel(Vec::new());
        let note = Arc::new(note);
        let router = Router::new().fallback(move |headers: HeaderMap, _body: Bytes| {
            let (note, answer) = (Arc::clone(&note), answer.clone());
            async move {
                let header = |name: &str| headers[name].to_str().unwrap().to_owned();
                let mut asked =
                    Asked { number: 0, event: header("webhook-id"), attempt: header("tenterhook-attempt") };
                note.send_modify(|all: &mut Vec<Asked>| {
                    asked.number = all.len() + 1;
                    all.push(asked.clone());
                });
                answer(asked).await
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    /// Answers one request for each permit that it is given.
    pub(super) async fn behind_a_gate() -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let desk = Self::open(move |_| {
            let held = Arc::clone(&held);
            async move {
                held.acquire().await.unwrap().forget();
                says(200, "late but fine")
            }
        });
        (desk.await, gate)
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Everything it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// The same, once there are so many.
    pub(super) async fn asked_of(&self, count: usize) -> Vec<Asked> {
        let mut asked = self.asked.clone();
        let waited = tokio::time::timeout(PATIENCE, asked.wait_for(|all| all.len() >= count)).await;
        assert!(waited.is_ok(), "asked {} of {count} times", self.asked().len());
        drop(waited);
        self.asked()
    }
}

/// An answer without a content type.
pub(super) fn says(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}
