//! What only the embedded store promises: files, locks, disks that fail, bytes that rot. The contract that it shares
//! with the other stores is in `store`.

mod disk;
mod file;
mod flow;
mod handout;
mod rot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tempfile::TempDir;
use tenterhook::model::{
    Accepted, Admitted, AdmittedParts, Clock, DedupePolicy, Digest16, EventId, Lease, ManualClock,
    NewDelivery, OnDead, Outcome, Priority, Reply, Settlement, Submission, Timestamp, Verdict,
};
use tenterhook::store::sqlite::{Fault, Faults, SqliteSettings, SqliteStore};
use tenterhook::store::{Demand, LaneDemand, Leased, Pruned, Retention, Store, StoreError};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook_verify::{Request, Scheme, Verifier};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A directory with a store in it, a clock that stands still, and a disk that fails when told to.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) begun_max: Option<u32>,
}

/// Failures on purpose: `full` and `io` count down, one per commit.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) full: AtomicU32,
    pub(crate) io: AtomicU32,
    /// Counts down, one per turn of the checkpointer.
    pub(crate) checkpoint: AtomicU32,
    pub(crate) pages_max: AtomicU32,
    pub(crate) nearly_full: AtomicBool,
    pub(crate) commits: AtomicU64,
    /// Commits wait while it is set.
    pub(crate) stalled: AtomicBool,
    /// Counts down, one per sync of the log.
    pub(crate) sync: AtomicU32,
    pub(crate) syncs: AtomicU64,
    /// Syncs wait while it is set.
    pub(crate) sync_stalled: AtomicBool,
}

impl Faults for Disk {
    fn at_commit(&self) -> Option<Fault> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        while self.stalled.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if due(&self.full) {
            Some(Fault::Full)
        } else if due(&self.io) {
            Some(Fault::Io)
        } else {
            None
        }
    }

    fn at_sync(&self) -> Option<Fault> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        while self.sync_stalled.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        due(&self.sync).then_some(Fault::Io)
    }

    fn at_checkpoint(&self) -> Option<Fault> {
        due(&self.checkpoint).then_some(Fault::Io)
    }

    fn is_nearly_full(&self) -> bool {
        self.nearly_full.load(Ordering::SeqCst)
    }

    fn pages_max(&self) -> Option<u32> {
        match self.pages_max.load(Ordering::SeqCst) {
            0 => None,
            pages => Some(pages),
        }
    }
}

fn due(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            clock: Arc::new(ManualClock::at(START)),
            disk: Arc::default(),
            bytes_max: None,
            begun_max: None,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("events.db")
    }

    pub(crate) fn open(&self) -> SqliteStore {
        self.try_open().expect("the store opens")
    }

    pub(crate) fn try_open(&self) -> Result<SqliteStore, StoreError> {
        self.open_at(&self.path())
    }

    pub(crate) fn open_at(&self, path: &Path) -> Result<SqliteStore, StoreError> {
        let settings = SqliteSettings {
            bytes_max: self.bytes_max,
            begun_max: self.begun_max.iter().map(|max| ("app".parse().expect("a name"), *max)).collect(),
            faults: Some(Arc::clone(&self.disk) as Arc<dyn Faults>),
            ..SqliteSettings::new(path)
        };
        SqliteStore::open(settings, Arc::clone(&self.clock) as Arc<dyn Clock>, Arc::new(Metrics::default()))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// As after `kill -9`: the files as they are now, opened elsewhere.
    pub(crate) fn crash(&self, to: &str) -> PathBuf {
        let copy = self.dir.path().join(to);
        for suffix in ["", "-wal"] {
            let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            std::fs::copy(name(&self.path()), name(&copy)).expect("copies");
        }
        copy
    }
}

/// A submission to be shaped by a test.
pub(crate) struct Draft {
    parts: AdmittedParts,
    deliveries: Vec<NewDelivery>,
}

pub(crate) fn draft(key: &str, body: impl Into<Bytes>, now: Timestamp) -> Draft {
    let body = body.into();
    Draft {
        parts: AdmittedParts {
            source: "stripe".parse().expect("a name"),
            provider: "stripe".to_owned(),
            provider_event_id: Some(key.to_owned()),
            event_type: "invoice.paid".to_owned(),
            key: Some(digest(key.as_bytes())),
            repeat: None,
            body_digest: digest(&body),
            dedupe: DedupePolicy::default(),
            body,
            headers: HeaderMap::new(),
            correlation_id: format!("cor_{key}"),
            source_ip: "192.0.2.7".parse().ok(),
            original_url: "/webhooks/stripe?a=1".to_owned(),
            received_at: now,
        },
        deliveries: vec![NewDelivery {
            destination: "app".parse().expect("a name"),
            priority: Priority::Normal,
            ordering_key: None,
            on_dead: OnDead::Continue,
        }],
    }
}

impl Draft {
    pub(crate) fn with(mut self, shape: impl FnOnce(&mut AdmittedParts)) -> Self {
        shape(&mut self.parts);
        self
    }

    pub(crate) fn ordered(mut self, key: &str) -> Self {
        self.deliveries[0].ordering_key = Some(key.to_owned());
        self
    }

    pub(crate) fn submission(self) -> Submission {
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: &self.parts.body };
        let verifier = Verifier::new(Scheme::unsigned(), vec![]).expect("a verifier");
        let verified = verifier.verify(&request, START.to_system()).expect("unsigned verifies");
        let admitted = Admitted::new(&verified, self.parts.clone());
        Submission { admitted, deliveries: self.deliveries }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest16 {
    let sha = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    sha.as_ref()[..16].try_into().expect("16 bytes")
}

pub(crate) async fn accept(store: &SqliteStore, draft: Draft) -> Result<Accepted, StoreError> {
    store.accept(vec![draft.submission()]).await.map(|mut accepted| accepted.remove(0))
}

pub(crate) async fn accept_new(store: &SqliteStore, draft: Draft) -> EventId {
    match accept(store, draft).await.expect("accepted") {
        Accepted::New { id, .. } => id,
        other => panic!("expected a new event, got {other:?}"),
    }
}

/// Prunes until nothing more is to be removed: one slice ends after some milliseconds, whatever it has done by then.
pub(crate) async fn prune(store: &SqliteStore, retention: Retention, now: Timestamp) -> Pruned {
    let mut all = Pruned::default();
    loop {
        let slice = store.prune(retention, now).await.expect("prunes");
        all = Pruned { events: all.events + slice.events, keys: all.keys + slice.keys, more: slice.more };
        if !slice.more {
            return all;
        }
    }
}

pub(crate) async fn lease(store: &SqliteStore, now: Timestamp, limit: u32) -> Leased {
    try_lease(store, now, limit).await.expect("leases")
}

pub(crate) async fn try_lease(store: &SqliteStore, now: Timestamp, limit: u32) -> Result<Leased, StoreError> {
    let lane = LaneDemand {
        destination: "app".parse().expect("a name"),
        limit,
        least_urgent_first: 0,
        lease: MINUTE,
        attempts_max: 3,
        avoid: None,
    };
    store.lease(Demand { lanes: vec![lane], bytes_max: u64::MAX, now }).await
}

pub(crate) fn settlement(lease: &Lease, verdict: Verdict, now: Timestamp) -> Settlement {
    Settlement {
        delivery: lease.delivery.clone(),
        attempt: lease.message.attempt,
        started_at: now,
        reply: Reply {
            outcome: Outcome::Delivered,
            status: Some(200),
            excerpt: "ok".to_owned(),
            result: None,
            took: Duration::ZERO,
        },
        verdict,
    }
}

/// Waits on a condition, for ten seconds at most.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
