//! A gateway's way in on a free port, with a store that can be told to misbehave, and requests as providers sign them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method};
use tenterhook::ingress::{Generation, Ingress, IngressSettings};
use tenterhook::model::{
    Accepted, Clock, DedupePolicy, DestinationName, EventId, Ledger, ManualClock, OnDead, Priority, Settled,
    Settlement, Stats, Submission, Timestamp,
};
use tenterhook::net::listener::{ListenerSettings, serve};
use tenterhook::policy::route::Route;
use tenterhook::source::{IdRule, ResponsePolicy, Source, SourceLimits, Unmatched};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Store, StoreError, StoreErrorKind,
};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook::telemetry::rejections::Rejections;
use tenterhook_verify::{
    HandshakeSettings, Handshakes, Locators, Provider, Request, Scheme, Secret, Verifier,
};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wire::{Answer, ask};

/// The time at which every gateway of these tests starts.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// A secret that every scheme with a symmetric key takes.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The same, as Standard Webhooks writes secrets.
pub(crate) const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// One running way in; it ends with the test.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) store: Arc<Moody>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) wall: Arc<Wall>,
    pub(crate) rejections: Arc<Rejections>,
    pub(crate) metrics: Arc<Metrics>,
    _stop: DropGuard,
}

impl Gateway {
    pub(crate) async fn start(sources: Vec<Source>) -> Self {
        Self::start_with(sources, IngressSettings::default()).await
    }

    pub(crate) async fn start_with(sources: Vec<Source>, settings: IngressSettings) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let wall = Arc::new(Wall { steady: Arc::clone(&clock), ahead_ms: AtomicI64::new(0) });
        let store = Arc::new(Moody::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let rejections = Arc::new(Rejections::default());
        let metrics = Arc::new(Metrics::new());
        metrics.set_names(sources.iter().map(|source| &source.name), []);
        let ingress = Ingress::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Arc::clone(&wall) as Arc<dyn Clock>,
            Arc::clone(&metrics),
            Arc::clone(&rejections),
            generation(sources, settings),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let receiving = Arc::clone(&ingress);
        let service = move |request, peer| {
            let ingress = Arc::clone(&receiving);
            async move { ingress.receive(request, peer).await }
        };
        tokio::spawn(serve(listener, ListenerSettings::default(), service, stop.clone(), Duration::ZERO));
        Self { address, ingress, store, clock, wall, rejections, metrics, _stop: stop.drop_guard() }
    }

    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        ask(self.address, request).await
    }

    /// What the store says of its events, oldest first.
    pub(crate) async fn store_events(&self) -> Vec<EventSummary> {
        let query = EventQuery { oldest_first: true, limit: 1000, ..EventQuery::default() };
        self.store.events(query).await.unwrap().items
    }

    /// The submissions that became events, oldest first.
    pub(crate) fn stored(&self) -> Vec<Submission> {
        self.store.new.lock().unwrap().clone()
    }
}

/// The clock of the way in, with a wall clock beside it that can be stepped.
pub(crate) struct Wall {
    steady: Arc<ManualClock>,
    pub(crate) ahead_ms: AtomicI64,
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        self.steady.now()
    }

    fn wall_now(&self) -> Timestamp {
        Timestamp::from_millis(self.now().millis() + self.ahead_ms.load(Ordering::SeqCst))
    }
}

pub(crate) fn generation(sources: Vec<Source>, settings: IngressSettings) -> Generation {
    Generation { sources: sources.into_iter().map(Arc::new).collect(), settings }
}

/// A source at `/webhooks/NAME` for a provider of the catalog, with everything at its default and one route to `app`.
pub(crate) fn source(name: &str, provider: &str, secret: &str) -> Source {
    let provider = catalog(provider);
    let verifier = Verifier::new(provider.scheme.clone(), vec![Secret::new(secret)]).unwrap();
    let id = provider.event_id.clone();
    let event_id = if id.alternatives.is_empty() { IdRule::Automatic } else { IdRule::Located(id) };
    let handshakes = provider.handshakes.clone();
    Source { provider: Some(provider), handshakes, event_id, ..custom(name, verifier) }
}

pub(crate) fn catalog(name: &str) -> &'static Provider {
    tenterhook_verify::provider::provider(name).unwrap_or_else(|| panic!("no provider `{name}`"))
}

/// A source that takes anything, with its id at `/id` and its type at `/type`.
pub(crate) fn unsigned(name: &str) -> Source {
    let verifier = Verifier::new(Scheme::unsigned(), vec![]).unwrap();
    Source {
        event_id: IdRule::Located(locators(&[&["json:/id"]])),
        event_type: Some(locators(&[&["json:/type"]])),
        ..custom(name, verifier)
    }
}

pub(crate) fn custom(name: &str, verifier: Verifier) -> Source {
    Source {
        name: name.parse().unwrap(),
        path: format!("/webhooks/{name}"),
        provider: None,
        secrets_configured: verifier.secrets().len(),
        verifier,
        handshakes: Handshakes::default(),
        handshake_settings: HandshakeSettings::default(),
        key_credentials: None,
        event_id: IdRule::Automatic,
        event_type: None,
        events: vec![],
        routes: vec![route_to("app")],
        unmatched: Unmatched::Ignore,
        limits: limits(),
        dedupe: DedupePolicy::default(),
        response: ResponsePolicy::default(),
        respond: None,
        public_url: None,
        forward_headers: vec![],
    }
}

pub(crate) fn limits() -> SourceLimits {
    SourceLimits {
        body_bytes_max: 1 << 20,
        rate: None,
        rate_per_address: None,
        allow_from: vec![],
        body_timeout: Duration::from_secs(30),
    }
}

pub(crate) fn route_to(destination: &str) -> Route {
    Route {
        events: vec![],
        destination: destination.parse::<DestinationName>().unwrap(),
        priority: Priority::Normal,
        ordering_key: None,
        on_dead: OnDead::Continue,
    }
}

pub(crate) fn locators(alternatives: &[&[&str]]) -> Locators {
    let parse = |places: &&[&str]| places.iter().map(|place| place.parse().unwrap()).collect();
    Locators { alternatives: alternatives.iter().map(parse).collect() }
}

/// A request to be changed and then sent as bytes.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// Signed by `source`'s own scheme at [`NOW`]; `more` are headers besides the signature's own.
    pub(crate) fn signed(source: &Source, id: &str, more: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::signed_at(NOW, source, id, more, body)
    }

    pub(crate) fn signed_at(
        now: Timestamp,
        source: &Source,
        id: &str,
        more: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in more {
            headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let request = Request {
            method: &Method::POST,
            url: source.public_url.as_deref(),
            headers: &headers,
            body: body.as_ref(),
        };
        let signature = source.verifier.sign(&request, Some(id), now.to_system()).unwrap();
        let mut post = Self::to(&source.path, body);
        for (name, value) in headers.iter().chain(&signature) {
            post.headers.push((name.to_string(), value.as_bytes().to_vec()));
        }
        post
    }

    /// With a `Host` and nothing else.
    pub(crate) fn to(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self {
            target: target.to_owned(),
            headers: vec![("host".to_owned(), b"gw".to_vec())],
            body: body.as_ref().to_vec(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn setting(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    pub(crate) fn header(&self, name: &str) -> &[u8] {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        &found.unwrap_or_else(|| panic!("no `{name}`")).1
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head("POST");
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Request line and headers, without the empty line and without a length.
    pub(crate) fn head(&self, method: &str) -> Vec<u8> {
        let mut bytes = format!("{method} {} HTTP/1.1\r\n", self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// A GitHub delivery.
pub(crate) fn github(source: &Source, delivery: &str, body: impl AsRef<[u8]>) -> Post {
    let more =
        [("content-type", "application/json"), ("x-github-event", "ping"), ("x-github-delivery", delivery)];
    Post::signed(source, delivery, &more, body)
}

/// A Standard Webhooks message.
pub(crate) fn standard(source: &Source, id: &str, body: impl AsRef<[u8]>) -> Post {
    Post::signed(source, id, &[("content-type", "application/json")], body)
}

/// What the store is like at the moment.
#[derive(Clone, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Every `accept` fails.
    Failing(StoreErrorKind),
    /// `accept` says nothing until it is notified, and commits then, whoever still waits.
    Stalled(Arc<Notify>),
}

/// The memory store, behind a mood.
pub(crate) struct Moody {
    inner: Arc<MemoryStore>,
    mood: Mutex<Mood>,
    new: Arc<Mutex<Vec<Submission>>>,
    asked: AtomicUsize,
}

impl Moody {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(MemoryStore::new(clock)),
            mood: Mutex::default(),
            new: Arc::default(),
            asked: AtomicUsize::new(0),
        }
    }

    /// How often anything was asked of it, whatever it was.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) async fn ledger(&self) -> Ledger {
        self.inner.stats(NOW).await.unwrap().ledger
    }
}

async fn commit(
    inner: Arc<MemoryStore>,
    new: Arc<Mutex<Vec<Submission>>>,
    batch: Vec<Submission>,
) -> Result<Vec<Accepted>, StoreError> {
    let answers = inner.accept(batch.clone()).await?;
    let is_new = |(_, answer): &(Submission, &Accepted)| matches!(answer, Accepted::New { .. });
    new.lock()
        .unwrap()
        .extend(batch.into_iter().zip(&answers).filter(is_new).map(|(submission, _)| submission));
    Ok(answers)
}

#[async_trait]
impl Store for Moody {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let committing = commit(Arc::clone(&self.inner), Arc::clone(&self.new), batch);
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Well => committing.await,
            Mood::Failing(kind) => Err(StoreError::new(kind, "told to fail")),
            Mood::Stalled(release) => {
                let late = tokio::spawn(async move {
                    release.notified().await;
                    committing.await
                });
                late.await.unwrap()
            }
        }
    }

    fn ready(&self) -> Result<(), StoreError> {
        match *self.mood.lock().unwrap() {
            Mood::Failing(kind) => Err(StoreError::new(kind, "told to fail")),
            Mood::Well | Mood::Stalled(_) => self.inner.ready(),
        }
    }

    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError> {
        self.inner.lease(demand).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        self.inner.settle(batch).await
    }

    async fn change(&self, which: Selection, change: Change, by: AuditEntry) -> Result<Changed, StoreError> {
        self.inner.change(which, change, by).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        self.inner.prune(retention, now).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError> {
        self.inner.events(query).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        self.inner.event(id).await
    }

    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError> {
        self.inner.payload(id, conflict).await
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        self.inner.deliveries(query).await
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        self.inner.stats(now).await
    }

    async fn recount(&self) -> Result<Ledger, StoreError> {
        self.inner.recount().await
    }

    async fn set_paused(
        &self,
        name: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError> {
        self.inner.set_paused(name, paused, by).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.inner.audit(entry).await
    }

    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        self.inner.audits(before, limit).await
    }

    fn work(&self) -> watch::Receiver<u64> {
        self.inner.work()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
