//! What the embedded store's calls cost, durably, on the disk of the temporary directory (`TMPDIR`). One caller: a batch
//! here is what concurrent callers come to.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has to end")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use http::{HeaderMap, HeaderValue, Method};
use tenterhook::model::{
    Admitted, AdmittedParts, Clock, DedupePolicy, Lease, NewDelivery, OnDead, Outcome, Priority, Reply,
    Settlement, Submission, SystemClock, Timestamp, Verdict,
};
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{Demand, LaneDemand, Store};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook_verify::{Request, Scheme, Verifier};
use tokio::runtime::Runtime;

const BATCHES: [usize; 3] = [1, 64, 1024];

fn main() {
    divan::main();
}

struct Bench {
    runtime: Runtime,
    store: SqliteStore,
    now: Timestamp,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let now = clock.now();
        let settings = SqliteSettings::new(directory.path().join("bench.db"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let within = runtime.enter();
        let store = SqliteStore::open(settings, clock, Arc::new(Metrics::new())).expect("opens");
        drop(within);
        Self { runtime, store, now, _directory: directory }
    }

    fn submissions(&self, count: usize) -> Vec<Submission> {
        (0..count).map(|_| submission(self.now)).collect()
    }

    fn accept(&self, batch: Vec<Submission>) {
        self.runtime.block_on(self.store.accept(batch)).expect("accepts");
    }

    fn lease(&self, count: usize) -> Vec<Lease> {
        let lane = LaneDemand {
            destination: "app".parse().expect("a name"),
            limit: count as u32,
            least_urgent_first: 0,
            lease: Duration::from_secs(3600),
            attempts_max: 27,
            avoid: None,
        };
        let demand = Demand { lanes: vec![lane], bytes_max: 1 << 30, now: self.now };
        let leased = self.runtime.block_on(self.store.lease(demand)).expect("leases");
        assert_eq!(leased.leases.len(), count);
        leased.leases
    }

    fn settle(&self, batch: Vec<Settlement>) {
        self.runtime.block_on(self.store.settle(batch)).expect("settles");
    }
}

fn submission(now: Timestamp) -> Submission {
    let id = format!("{:032x}", fastrand::u128(..));
    let mut text = format!("{{\"id\":\"evt_{id}\",\"lines\":[0");
    while text.len() < 980 {
        text += &format!(",{{\"id\":\"li_{:016x}\",\"amount\":{}}}", fastrand::u64(..), fastrand::u16(..));
    }
    text += "]}";
    let body = Bytes::from(text);
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-github-event", HeaderValue::from_static("push"));
    headers.insert("x-github-delivery", HeaderValue::from_str(&id).expect("a value"));
    let verifier = Verifier::new(Scheme::unsigned(), Vec::new()).expect("a verifier");
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: &body };
    let verified = verifier.verify(&request, now.to_system()).expect("verifies");
    let parts = AdmittedParts {
        source: "github".parse().expect("a name"),
        provider: "github".to_owned(),
        provider_event_id: Some(id),
        event_type: "push".to_owned(),
        key: Some(fastrand::u128(..).to_le_bytes()),
        repeat: Some(fastrand::u128(..).to_le_bytes()),
        body_digest: fastrand::u128(..).to_le_bytes(),
        dedupe: DedupePolicy::default(),
        body: body.clone(),
        headers: headers.clone(),
        correlation_id: "01J0000000000000000000000A".to_owned(),
        source_ip: Some([127, 0, 0, 1].into()),
        original_url: "/webhooks/github".to_owned(),
        received_at: now,
    };
    let delivery = NewDelivery {
        destination: "app".parse().expect("a name"),
        priority: Priority::Normal,
        ordering_key: None,
        on_dead: OnDead::Continue,
    };
    Submission { admitted: Admitted::new(&verified, parts), deliveries: vec![delivery] }
}

fn settlement(lease: &Lease, now: Timestamp) -> Settlement {
    Settlement {
        delivery: lease.delivery.clone(),
        attempt: lease.message.attempt,
        started_at: now,
        reply: Reply {
            outcome: Outcome::Delivered,
            status: Some(200),
            excerpt: String::new(),
            result: None,
            took: Duration::from_millis(3),
        },
        verdict: Verdict::Complete,
    }
}

#[divan::bench(args = BATCHES, sample_size = 1, sample_count = 200)]
fn accept(bencher: Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| bench.submissions(count))
        .bench_local_values(|batch| bench.accept(batch));
}

#[divan::bench(args = BATCHES, sample_size = 1, sample_count = 100)]
fn lease(bencher: Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| bench.accept(bench.submissions(count)))
        .bench_local_values(|()| bench.lease(count));
}

#[divan::bench(args = BATCHES, sample_size = 1, sample_count = 100)]
fn settle(bencher: Bencher<'_, '_>, count: usize) {
    let bench = Bench::new();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| {
            bench.accept(bench.submissions(count));
            bench.lease(count).iter().map(|lease| settlement(lease, bench.now)).collect::<Vec<_>>()
        })
        .bench_local_values(|batch| bench.settle(batch));
}
