//! A store with an admin API over it, a gateway that is made up, and somebody who asks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenterhook::admin::auth::{Auth, Token};
use tenterhook::admin::{AdminState, router, serve_request};
use tenterhook::model::{
    Accepted, Admitted, AdmittedParts, BreakerState, Clock, DeadReason, DedupePolicy, DestinationName,
    EventId, FailureKind, LaneView, Lease, ManualClock, NewDelivery, OnDead, Outcome, Priority, Registration,
    Reply, Settled, Settlement, SourceName, Submission, Timestamp, Verdict,
};
use tenterhook::net::listener::Peer;
use tenterhook::ops::Ops;
use tenterhook::ops::live::{DestinationView, Live, RegistrationError, SourceView};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{Demand, LaneDemand, Store};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook::telemetry::rejections::Rejections;
use tenterhook_verify::{Scheme, Verifier};

/// 2025-11-24T16:00:00Z.
pub(super) const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

pub(super) const OPERATOR: &str = "operator-token-0123456789-0123456789";
pub(super) const VIEWER: &str = "viewer-token-0123456789-0123456789-0";

pub(super) struct Rig {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) rejections: Arc<Rejections>,
    pub(super) gateway: Arc<MadeUp>,
    pub(super) router: axum::Router,
    _dir: TempDir,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(super) fn items(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["items"].as_array().expect("a list").clone()
    }
}

pub(super) fn tokens() -> Auth {
    let token = |name: &str, operator, token: &str| Token {
        name: name.to_owned(),
        operator,
        sha256: Auth::hash(token.as_bytes()),
    };
    Auth::tokens(vec![token("grafana", false, VIEWER), token("alice", true, OPERATOR)])
}

impl Rig {
    /// One over each store, for a caller of this process.
    pub(super) fn each() -> [Self; 2] {
        let clock = Arc::new(ManualClock::at(START));
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let dir = tempfile::tempdir().expect("a directory");
        [Self::trusted(), Self::over(store, Auth::trusted("cli"), clock, Arc::new(Metrics::new()), dir)]
    }

    /// Over the embedded store, for a caller of this process: no tokens needed.
    pub(super) fn trusted() -> Self {
        Self::new(Auth::trusted("cli"))
    }

    pub(super) fn new(auth: Auth) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::at(START));
        let metrics = Arc::new(Metrics::new());
        metrics.set_names([&"stripe".parse().expect("a name")], [&name("app"), &name("crm")]);
        let settings = SqliteSettings::new(dir.path().join("admin.db"));
        let store = SqliteStore::open(settings, Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&metrics));
        Self::over(Arc::new(store.expect("opens")), auth, clock, metrics, dir)
    }

    fn over(
        store: Arc<dyn Store>,
        auth: Auth,
        clock: Arc<ManualClock>,
        metrics: Arc<Metrics>,
        dir: TempDir,
    ) -> Self {
        let rejections = Arc::new(Rejections::default());
        let gateway = Arc::new(MadeUp::default());
        let state = AdminState {
            ops: Arc::new(Ops::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Clock>)),
            live: Some(Arc::clone(&gateway) as Arc<dyn Live>),
            metrics: Arc::clone(&metrics),
            rejections: Arc::clone(&rejections),
            auth: Arc::new(auth),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        };
        Self { store, clock, metrics, rejections, gateway, router: router(state), _dir: dir }
    }

    /// The same store without a gateway that runs.
    pub(super) fn stopped(&self) -> axum::Router {
        router(AdminState {
            ops: Arc::new(Ops::new(Arc::clone(&self.store), Arc::clone(&self.clock) as Arc<dyn Clock>)),
            live: None,
            metrics: Arc::clone(&self.metrics),
            rejections: Arc::clone(&self.rejections),
            auth: Arc::new(Auth::trusted("cli")),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        ask(&self.router, request(Method::GET, path, None, "")).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        ask(&self.router, request(Method::POST, path, None, &body.to_string())).await
    }

    /// Accepts `count` events for `destinations`, the first with the given number, a millisecond apart.
    pub(super) async fn accept(&self, first: u32, count: u32, destinations: &[&str]) -> Vec<EventId> {
        let submissions = (first..first + count)
            .map(|number| {
                self.clock.advance(Duration::from_millis(1));
                submission(number, destinations, self.clock.now(), None)
            })
            .collect();
        self.accept_these(submissions).await
    }

    pub(super) async fn accept_these(&self, submissions: Vec<Submission>) -> Vec<EventId> {
        let accepted = self.store.accept(submissions).await.expect("accepted");
        accepted
            .into_iter()
            .map(|accepted| match accepted {
                Accepted::New { id, .. } => id,
                other => panic!("expected a new event, got {other:?}"),
            })
            .collect()
    }

    pub(super) async fn lease(&self, destination: &str, limit: u32) -> Vec<Lease> {
        let lane = LaneDemand {
            destination: name(destination),
            limit,
            least_urgent_first: 0,
            lease: Duration::from_secs(60),
            attempts_max: 3,
            avoid: None,
        };
        let demand = Demand { lanes: vec![lane], bytes_max: u64::MAX, now: self.clock.now() };
        self.store.lease(demand).await.expect("leases").leases
    }

    /// Leases up to `limit` deliveries, and ends each as told.
    pub(super) async fn settle(
        &self,
        destination: &str,
        limit: u32,
        as_told: fn(&Lease) -> Settlement,
    ) -> usize {
        let leases = self.lease(destination, limit).await;
        let settlements = leases.iter().map(as_told).collect();
        let settled = self.store.settle(settlements).await.expect("settles");
        assert!(settled.iter().all(|settled| *settled == Settled::Recorded));
        settled.len()
    }
}

pub(super) fn name(text: &str) -> DestinationName {
    text.parse().expect("a name")
}

pub(super) fn delivered(lease: &Lease) -> Settlement {
    settlement(lease, Outcome::Delivered, 200, "ok", Verdict::Complete)
}

pub(super) fn dead(lease: &Lease) -> Settlement {
    let outcome = Outcome::Failed { kind: FailureKind::Server, after: None };
    let verdict = Verdict::DeadLetter { reason: DeadReason::AttemptsExhausted };
    settlement(lease, outcome, 500, "<b>broken</b>", verdict)
}

fn settlement(lease: &Lease, outcome: Outcome, status: i32, excerpt: &str, verdict: Verdict) -> Settlement {
    Settlement {
        delivery: lease.delivery.clone(),
        attempt: lease.message.attempt,
        started_at: START.plus(Duration::from_secs(3600)),
        reply: Reply {
            outcome,
            status: Some(status),
            excerpt: excerpt.to_owned(),
            result: None,
            took: Duration::from_millis(12),
        },
        verdict,
    }
}

pub(super) fn submission(
    number: u32,
    destinations: &[&str],
    now: Timestamp,
    ordering_key: Option<&str>,
) -> Submission {
    let body = Bytes::from(format!("{{\"n\":{number},\"html\":\"<script>alert(1)</script>\"}}"));
    let digest = |bytes: &[u8]| Auth::hash(bytes)[..16].try_into().expect("16 bytes");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "text/html".parse().expect("a value"));
    headers.insert("authorization", "Bearer canary-in-a-header".parse().expect("a value"));
    headers.insert("cookie", "session=canary-in-a-header".parse().expect("a value"));
    let parts = AdmittedParts {
        source: "stripe".parse().expect("a name"),
        provider: "stripe".to_owned(),
        provider_event_id: Some(format!("evt_provider_{number}")),
        event_type: if number.is_multiple_of(2) { "invoice.paid" } else { "payment_intent.failed" }
            .to_owned(),
        key: Some(digest(format!("key {number}").as_bytes())),
        repeat: None,
        body_digest: digest(&body),
        dedupe: DedupePolicy::default(),
        body: body.clone(),
        headers,
        correlation_id: format!("cor_{number}"),
        source_ip: "192.0.2.7".parse().ok(),
        original_url: "/webhooks/stripe?token=canary-in-the-url".to_owned(),
        received_at: now,
    };
    let none = HeaderMap::new();
    let signed = tenterhook_verify::Request { method: &Method::POST, url: None, headers: &none, body: &body };
    let verifier = Verifier::new(Scheme::unsigned(), vec![]).expect("a verifier");
    let verified = verifier.verify(&signed, now.to_system()).expect("unsigned verifies");
    let deliveries = destinations.iter().map(|destination| NewDelivery {
        destination: name(destination),
        priority: Priority::Normal,
        ordering_key: ordering_key.map(str::to_owned),
        on_dead: OnDead::Continue,
    });
    Submission { admitted: Admitted::new(&verified, parts), deliveries: deliveries.collect() }
}

pub(super) fn request(method: Method, path: &str, token: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8081");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}

pub(super) async fn ask(router: &axum::Router, request: Request<Body>) -> Answer {
    ask_from(router, request, "127.0.0.1:40000").await
}

pub(super) async fn ask_from(router: &axum::Router, request: Request<Body>, address: &str) -> Answer {
    let peer = Peer { address: address.parse::<SocketAddr>().expect("an address"), tls: false };
    let (parts, body) = serve_request(router.clone(), request, peer).await.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// A gateway that has two destinations and refuses to reload when told so.
#[derive(Default)]
pub(super) struct MadeUp {
    pub(super) refuses_reload: Mutex<Option<String>>,
    pub(super) registrations: Mutex<Vec<(SourceName, Registration)>>,
}

#[async_trait]
impl Live for MadeUp {
    fn lanes(&self) -> Vec<LaneView> {
        vec![LaneView {
            destination: name("app"),
            breaker: BreakerState::Open,
            in_flight: 2,
            concurrency: 8,
            paused_until: None,
            alarm: Some("10 failures in a row".to_owned()),
        }]
    }

    fn sources(&self) -> Vec<SourceView> {
        vec![SourceView {
            name: "stripe".parse().expect("a name"),
            provider: "stripe".to_owned(),
            path: "/webhooks/stripe".to_owned(),
            secrets_live: 2,
            secrets_learnt: 0,
            registration_until: None,
            routes: vec!["* -> app (normal)".to_owned()],
            warnings: vec![],
        }]
    }

    fn destinations(&self) -> Vec<DestinationView> {
        ["app", "crm"]
            .map(|destination| DestinationView {
                name: name(destination),
                kind: "http".to_owned(),
                target: "http://127.0.0.1:3000/hooks".to_owned(),
            })
            .to_vec()
    }

    fn config(&self) -> Value {
        json!({"sources": {"stripe": {"secrets": ["***"]}}})
    }

    async fn test(&self, destination: &DestinationName) -> Option<Reply> {
        (destination.as_str() == "app").then(|| Reply {
            outcome: Outcome::Failed { kind: FailureKind::Connect, after: None },
            status: None,
            excerpt: "connection refused".to_owned(),
            result: None,
            took: Duration::from_millis(3),
        })
    }

    fn register(
        &self,
        source: &SourceName,
        order: Registration,
    ) -> Result<Option<Timestamp>, RegistrationError> {
        self.registrations.lock().unwrap().push((source.clone(), order));
        match (source.as_str(), order.open_for) {
            ("stripe", time) if time.is_zero() => Ok(None),
            ("stripe", time) => Ok(Some(START.plus(time))),
            _ => Err(RegistrationError::NothingToAwait),
        }
    }

    async fn reload(&self) -> Result<(), String> {
        self.refuses_reload.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}
