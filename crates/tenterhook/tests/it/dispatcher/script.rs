//! A dispatcher with a store that can fail and destinations that do what a test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};
use tenterhook::destination::{CheckError, Destination};
use tenterhook::dispatcher::{Dispatcher, LanePolicy};
use tenterhook::model::{Accepted, Admitted};
use tenterhook::model::{
    AdmittedParts, Clock, DedupePolicy, DestinationName, EventId, FailureKind, Ledger, Message, NewDelivery,
    OnDead, Outcome, Priority, Reply, Submission, SystemClock, Timestamp,
};
use tenterhook::policy::backoff::RetryPolicy;
use tenterhook::policy::breaker::BreakerPolicy;
use tenterhook::store::Store;
use tenterhook::store::memory::MemoryStore;
use tenterhook::telemetry::metrics::Metrics;
use tenterhook_verify::{Request, Scheme, Verifier};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::outage::Outage;

pub(super) const GRACE: Duration = Duration::from_secs(25);

/// One message that a destination was given.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) at: Timestamp,
    pub(super) event: EventId,
    pub(super) attempt: u32,
    /// Which call brought it: equal within a batch.
    pub(super) call: usize,
}

/// What a destination does with a call.
pub(super) enum Act {
    Say(Vec<Outcome>),
    After(Duration, Outcome),
    Hang,
    Panic,
}

type Configured = (Arc<dyn Destination>, LanePolicy);

type Script = Box<dyn Fn(usize, &[Message]) -> Act + Send + Sync>;

pub(super) struct Scripted {
    clock: Arc<dyn Clock>,
    script: Script,
    calls: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) open_max: AtomicUsize,
    tried: Mutex<Vec<Tried>>,
}

impl Scripted {
    pub(super) fn tried(&self) -> Vec<Tried> {
        self.tried.lock().unwrap().clone()
    }

    /// Which events, in order of trying.
    pub(super) fn events(&self) -> Vec<EventId> {
        self.tried().iter().map(|tried| tried.event).collect()
    }
}

/// One more call under way, for as long as it lives.
struct Open<'s>(&'s AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Destination for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn deliver(&self, batch: &[Message]) -> Vec<Reply> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.open_max.fetch_max(open, Ordering::SeqCst);
        let _open = Open(&self.open);
        let at = self.clock.now();
        self.tried.lock().unwrap().extend(batch.iter().map(|message| Tried {
            at,
            event: message.id,
            attempt: message.attempt,
            call,
        }));
        match (self.script)(call, batch) {
            Act::Say(outcomes) => outcomes.into_iter().map(reply).collect(),
            Act::After(time, outcome) => {
                tokio::time::sleep(time).await;
                batch.iter().map(|_| reply(outcome.clone())).collect()
            }
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("on purpose"),
        }
    }

    async fn check(&self) -> Result<(), CheckError> {
        Ok(())
    }
}

fn reply(outcome: Outcome) -> Reply {
    let excerpt = if outcome == Outcome::NotTried { "a private address".to_owned() } else { String::new() };
    Reply { outcome, status: None, excerpt, result: None, took: Duration::ZERO }
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed { kind: FailureKind::Server, after: None }
}

/// Says the same of every message.
pub(super) fn all(outcome: &Outcome, batch: &[Message]) -> Act {
    Act::Say(vec![outcome.clone(); batch.len()])
}

pub(super) fn lane() -> LanePolicy {
    LanePolicy {
        concurrency: 4,
        rate: None,
        timeout: Duration::from_secs(30),
        retry: RetryPolicy { jitter: 0.0, ..RetryPolicy::default() },
        breaker: BreakerPolicy::default(),
        batch_max: 1,
    }
}

pub(super) struct Rig {
    pub(super) store: Arc<Outage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) stop: CancellationToken,
    pub(super) start: Timestamp,
    destinations: Mutex<BTreeMap<DestinationName, Configured>>,
    count: AtomicUsize,
}

impl Rig {
    pub(super) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let store = Arc::new(Outage::over(MemoryStore::new(Arc::clone(&clock))));
        let metrics = Arc::new(Metrics::default());
        let dispatcher = Dispatcher::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&clock),
            Arc::clone(&metrics),
            7,
        );
        let start = clock.now();
        Self {
            store,
            clock,
            metrics,
            dispatcher,
            stop: CancellationToken::new(),
            start,
            destinations: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Configures a destination and reloads.
    pub(super) fn destination(
        &self,
        name: &str,
        policy: LanePolicy,
        script: impl Fn(usize, &[Message]) -> Act + Send + Sync + 'static,
    ) -> Arc<Scripted> {
        let scripted = Arc::new(Scripted {
            clock: Arc::clone(&self.clock),
            script: Box::new(script),
            calls: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(0),
            tried: Mutex::default(),
        });
        let destination = Arc::clone(&scripted) as Arc<dyn Destination>;
        self.destinations.lock().unwrap().insert(name.parse().unwrap(), (destination, policy));
        self.dispatcher.set_destinations(self.destinations.lock().unwrap().clone());
        scripted
    }

    pub(super) fn remove(&self, name: &str) -> Configured {
        let removed = self.destinations.lock().unwrap().remove(&name.parse().unwrap()).unwrap();
        self.dispatcher.set_destinations(self.destinations.lock().unwrap().clone());
        removed
    }

    pub(super) fn put_back(&self, name: &str, removed: Configured) {
        self.destinations.lock().unwrap().insert(name.parse().unwrap(), removed);
        self.dispatcher.set_destinations(self.destinations.lock().unwrap().clone());
    }

    pub(super) fn run(&self) -> JoinHandle<()> {
        tokio::spawn(Arc::clone(&self.dispatcher).run(self.stop.clone(), GRACE))
    }

    /// Accepts one event for a destination.
    pub(super) async fn send(&self, to: &str, priority: Priority, ordering_key: Option<&str>) -> EventId {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let parts = AdmittedParts {
            source: "stripe".parse().unwrap(),
            provider: "stripe".to_owned(),
            provider_event_id: None,
            event_type: "invoice.paid".to_owned(),
            key: Some(digest),
            repeat: None,
            body_digest: digest,
            dedupe: DedupePolicy::default(),
            body: Bytes::from_static(b"{}"),
            headers: HeaderMap::new(),
            correlation_id: format!("cor_{number}"),
            source_ip: None,
            original_url: "/webhooks/stripe".to_owned(),
            received_at: self.clock.now(),
        };
        let deliveries = vec![NewDelivery {
            destination: to.parse().unwrap(),
            priority,
            ordering_key: ordering_key.map(str::to_owned),
            on_dead: OnDead::Continue,
        }];
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: b"{}" };
        let verifier = Verifier::new(Scheme::unsigned(), vec![]).unwrap();
        let verified = verifier.verify(&request, self.start.to_system()).unwrap();
        let admitted = Admitted::new(&verified, parts);
        match &self.store.accept(vec![Submission { admitted, deliveries }]).await.unwrap()[..] {
            [Accepted::New { id, .. }] => *id,
            other => panic!("expected a new event, got {other:?}"),
        }
    }

    pub(super) async fn send_many(&self, to: &str, count: usize) -> Vec<EventId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.send(to, Priority::Normal, None).await);
        }
        ids
    }

    pub(super) async fn ledger(&self) -> Ledger {
        self.store.stats(self.clock.now()).await.unwrap().ledger
    }

    /// Milliseconds since the test began.
    pub(super) fn millis(&self, at: Timestamp) -> i64 {
        at.millis() - self.start.millis()
    }
}

/// Lets the paused clock run on.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
