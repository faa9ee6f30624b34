//! Senders that sign events the way GitHub does and keep a journal of every answer. They go on across restarts: each
//! event is sent again and again until it is answered 2xx.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use serde_json::Value;
use tenterhook_verify::{Request, Secret, Verifier, provider};
use tokio::sync::watch;

use super::gateway::Addresses;
use super::{PATIENCE, SECRET};

/// What is known of one event that was sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The status and the gateway's word (`accepted`, `duplicate`) of the first 2xx.
    pub acked: Option<(u16, String)>,
    /// When that was asked for, and when it was there.
    pub acked_within: Option<(Instant, Instant)>,
    /// The gateway's id of it.
    pub id: Option<String>,
    /// Tries that got no answer at all: nobody can know what became of them.
    pub unknown: u64,
    /// Answers that were not 2xx, by status.
    pub refused: HashMap<u16, u64>,
}

/// What the senders know.
#[derive(Debug, Default)]
pub struct Journal {
    events: Mutex<HashMap<String, Sent>>,
    slowest: Mutex<Duration>,
}

impl Journal {
    /// Everything, by the provider's id.
    #[must_use]
    pub fn events(&self) -> HashMap<String, Sent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many are acknowledged.
    #[must_use]
    pub fn acked(&self) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.values().filter(|sent| sent.acked.is_some()).count()
    }

    /// The ids that are acknowledged.
    #[must_use]
    pub fn acked_ids(&self) -> Vec<String> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|(_, sent)| sent.acked.is_some()).map(|(id, _)| id.clone()).collect()
    }

    /// The slowest answer.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one try, which was begun at `began` and is over now.
    pub fn note(&self, id: &str, answer: Option<&(u16, Value)>, began: Instant) {
        let now = Instant::now();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = events.entry(id.to_owned()).or_default();
        match answer {
            None => sent.unknown += 1,
            Some((status, body)) if (200..300).contains(status) => {
                let word = body["status"].as_str().unwrap_or_default().to_owned();
                sent.acked.get_or_insert((*status, word));
                sent.acked_within.get_or_insert((began, now));
                sent.id = body["id"].as_str().map(ToOwned::to_owned);
            }
            Some((status, _)) => *sent.refused.entry(*status).or_default() += 1,
        }
        drop(events);
        if answer.is_some() {
            let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
            *slowest = now.duration_since(began).max(*slowest);
        }
    }
}

/// A number that belongs to an event.
fn seed_of(id: &str) -> u64 {
    id.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// The type that belongs to an event: most are `push`, others `issues`, `release` or `star`.
#[must_use]
pub fn event_type(id: &str) -> &'static str {
    let types = ["push", "push", "push", "push", "issues", "issues", "release", "star"];
    types[fastrand::Rng::with_seed(seed_of(id) ^ 0x74).usize(..types.len())]
}

/// The body that belongs to an event: its size depends on its id, from 60 bytes to 12 KiB. Its `/shard` is one of
/// sixteen.
#[must_use]
pub fn body(id: &str) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed_of(id));
    let shard = random.u8(..16);
    let length = match random.u8(..) {
        0..=31 => 0,
        32..=223 => random.usize(200..1200),
        _ => random.usize(5000..12_000),
    };
    let padding: String = std::iter::repeat_with(|| random.alphanumeric()).take(length).collect();
    format!(
        "{{\"ref\":\"refs/heads/main\",\"delivery\":\"{id}\",\"shard\":\"{shard}\",\"padding\":\"{padding}\"}}"
    )
    .into()
}

/// Signs and sends to the source `github`.
pub struct Sender {
    client: reqwest::Client,
    verifier: Verifier,
}

impl Sender {
    /// A sender with connections of its own and the rigs' secret.
    pub fn new() -> anyhow::Result<Self> {
        let entry = provider::provider("github").context("github is in the catalog")?;
        let scheme = entry.scheme(None).context("github has a scheme")?.clone();
        let verifier = Verifier::new(scheme, vec![Secret::new(SECRET)])
            .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
        Ok(Self { client, verifier })
    }

    /// Sends one event; the answer's status and body, or `None` where there was no answer within `timeout`.
    pub async fn send(
        &self,
        at: &Addresses,
        id: &str,
        body: &Bytes,
        timeout: Duration,
    ) -> Option<(u16, Value)> {
        let answer = self.ask(at, id, body, timeout).await?;
        Some((answer.status, answer.body))
    }

    /// Sends one event; the whole answer, or `None` where there was none within `timeout`.
    pub async fn ask(&self, at: &Addresses, id: &str, body: &Bytes, timeout: Duration) -> Option<Answer> {
        let url = format!("{}/webhooks/github", at.ingress);
        let headers = http::HeaderMap::new();
        let request = Request { method: &http::Method::POST, url: Some(&url), headers: &headers, body };
        let now = SystemTime::now();
        let signature = self.verifier.sign(&request, Some(id), now).ok()?;
        let request = self.client.post(&url).headers(signature).header("content-type", "application/json");
        let request = request.header("x-github-event", event_type(id)).header("x-github-delivery", id);
        let response = request.body(body.clone()).timeout(timeout).send().await.ok()?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse().ok());
        let text = response.text().await.ok()?;
        Some(Answer { status, retry_after, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }
}

/// An answer of the ingress listener.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, s.
    pub retry_after: Option<u64>,
    /// The body, where it is JSON.
    pub body: Value,
}

impl Answer {
    /// Whether it is one of the two that a sender may be given whatever the disk does: 2xx, or 503 with a time to come
    /// back within 1 to 300 s.
    #[must_use]
    pub fn is_proper(&self) -> bool {
        match self.status {
            200..300 => true,
            503 => self.retry_after.is_some_and(|wait| (1..=300).contains(&wait)),
            _ => false,
        }
    }
}

/// Senders at work.
pub struct Load {
    /// What they know.
    pub journal: Arc<Journal>,
    at: watch::Sender<Option<Addresses>>,
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Load {
    /// Starts `senders`, which wait until they are told where the gateway is. Ids begin with `prefix`.
    #[must_use]
    pub fn start(senders: usize, prefix: &str) -> Self {
        Self::paced(senders, prefix, Duration::ZERO)
    }

    /// As [`Load::start`]; each sender rests for so long between two events.
    #[must_use]
    pub fn paced(senders: usize, prefix: &str, rest: Duration) -> Self {
        let (at, watched) = watch::channel(None);
        let (journal, stop) = (Arc::<Journal>::default(), Arc::<AtomicBool>::default());
        let sender = |number| {
            let name = format!("{prefix}-{number}");
            tokio::spawn(work(name, Arc::clone(&journal), watched.clone(), Arc::clone(&stop), rest))
        };
        let senders = (0..senders).map(sender).collect();
        Self { journal, at, stop, senders }
    }

    /// The gateway is here now; `None`: it is gone, and nothing is begun until it is back.
    pub fn aim(&self, at: Option<&Addresses>) {
        self.at.send_replace(at.cloned());
    }

    /// Waits until `more` events more than `before` are acknowledged; false where that does not happen in `patience`.
    pub async fn acked(&self, count: usize, patience: Duration) -> bool {
        let reached = || async { Ok((self.journal.acked() >= count).then_some(())) };
        super::until("events are acknowledged", patience, reached).await.is_ok()
    }

    /// Lets every sender finish the event that it has and begin no other.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether every sender has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.senders.iter().all(tokio::task::JoinHandle::is_finished)
    }

    /// Lets every sender finish the event that it has, which takes a gateway that answers, and ends them.
    pub async fn finish(self) -> anyhow::Result<Arc<Journal>> {
        self.stop();
        for sender in self.senders {
            tokio::time::timeout(PATIENCE, sender).await.context("a sender is never answered 2xx")???;
        }
        Ok(self.journal)
    }

    /// Ends the senders where they are.
    #[must_use]
    pub fn abandon(self) -> Arc<Journal> {
        for sender in &self.senders {
            sender.abort();
        }
        Arc::clone(&self.journal)
    }
}

/// Sends one event after the other; each again and again, across restarts, until it is answered 2xx.
async fn work(
    name: String,
    journal: Arc<Journal>,
    mut at: watch::Receiver<Option<Addresses>>,
    stop: Arc<AtomicBool>,
    rest: Duration,
) -> anyhow::Result<()> {
    let sender = Sender::new()?;
    for count in 0.. {
        let id = format!("{name}-{count}");
        let body = body(&id);
        if count > 0 && !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        loop {
            if stop.load(Ordering::SeqCst) && !journal.events().contains_key(&id) {
                return Ok(());
            }
            let here = at.wait_for(Option::is_some).await?.clone().context("it was waited for")?;
            let started = Instant::now();
            let answer = sender.send(&here, &id, &body, PATIENCE).await;
            journal.note(&id, answer.as_ref(), started);
            match answer {
                Some((200..300, _)) => break,
                // Not now, or nobody there: a little patience, so that an outage is not a busy loop.
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
    Ok(())
}
