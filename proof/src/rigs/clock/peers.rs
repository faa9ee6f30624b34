//! The sender and the handler, each on the machine's own clocks: requests signed at any time, and a journal of attempts
//! by the monotonic clock. The handler fails the first attempts of every event, in ways that its id decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tenterhook_verify::{Request, Secret, Verifier, provider};

use crate::lab::{Addresses, SECRET};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Signs no time.
    Github,
    /// Signs its time, which may be five minutes off.
    Stripe,
}

/// Sends an event that was signed at `at`; the answer's status, and its word (`accepted`, `duplicate`).
pub(super) async fn send(
    to: &Addresses,
    source: Source,
    id: &str,
    at: SystemTime,
) -> anyhow::Result<(u16, String)> {
    let name = if source == Source::Github { "github" } else { "stripe" };
    let body = format!("{{\"id\":\"{id}\",\"object\":\"event\",\"type\":\"rig.clock\"}}");
    let entry = provider::provider(name).context("it is in the catalog")?;
    let scheme = entry.scheme(None).context("it has a scheme")?.clone();
    let verifier =
        Verifier::new(scheme, vec![Secret::new(SECRET)]).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let url = format!("{}/webhooks/{name}", to.ingress);
    let (method, headers) = (http::Method::POST, HeaderMap::new());
    let request = Request { method: &method, url: Some(&url), headers: &headers, body: body.as_bytes() };
    let signature = verifier.sign(&request, Some(id), at).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let request =
        reqwest::Client::new().post(&url).headers(signature).header("content-type", "application/json");
    let request = request.header("x-github-event", "push").header("x-github-delivery", id).body(body);
    let response = request.timeout(crate::lab::PATIENCE).send().await?;
    let status = response.status().as_u16();
    let told: Value = serde_json::from_str(&response.text().await?).unwrap_or(Value::Null);
    Ok((status, told["status"].as_str().unwrap_or_default().to_owned()))
}

/// One attempt as the handler saw it.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) event: String,
    /// The gateway's number of it, from 1.
    pub(super) number: u32,
    pub(super) arrived: Instant,
    /// Just before the answer went out.
    pub(super) answered: Instant,
    /// `None`: it succeeded.
    pub(super) failed: Option<Failure>,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What `Retry-After` said.
    pub(super) retry_after: Option<Duration>,
}

/// The attempts that fail, of an event with this id: one or two, plain or with a `Retry-After` that is honoured or is
/// beyond the cap.
pub(super) fn failures(id: &str) -> Vec<Failure> {
    let hash = id.bytes().fold(17_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let after = |choice: usize| match choice % 3 {
        0 => None,
        1 => Some(Duration::from_secs(2)),
        _ => Some(Duration::from_secs(3600)),
    };
    let all = [Failure { retry_after: after(hash) }, Failure { retry_after: after(hash / 3) }];
    all[..1 + hash / 9 % 2].to_vec()
}

/// The handler.
pub(super) struct Clocked {
    journal: Arc<Mutex<Vec<Attempt>>>,
    url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Clocked {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Clocked {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hooks", listener.local_addr()?);
        let journal = Arc::<Mutex<Vec<Attempt>>>::default();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&journal));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { journal, url, server })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn journal(&self) -> Vec<Attempt> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first answers to the events of this prefix, of those that were tried.
    pub(super) fn first_answers(&self, prefix: &str) -> Vec<Instant> {
        let firsts = self.journal().into_iter().filter(|it| it.number == 1 && it.event.starts_with(prefix));
        firsts.map(|it| it.answered).collect()
    }
}

async fn receive(State(journal): State<Arc<Mutex<Vec<Attempt>>>>, headers: HeaderMap) -> Response {
    let arrived = Instant::now();
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let event = text("tenterhook-provider-event-id");
    let number: u32 = text("tenterhook-attempt").parse().unwrap_or(0);
    let failed = failures(&event).get(number.saturating_sub(1) as usize).copied();
    let attempt = Attempt { event, number, arrived, answered: Instant::now(), failed };
    journal.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
    match failed {
        None => StatusCode::OK.into_response(),
        Some(Failure { retry_after: None }) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Failure { retry_after: Some(after) }) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", after.as_secs().to_string())]).into_response()
        }
    }
}
