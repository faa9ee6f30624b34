//! Stores with a past: events that the gateway could have accepted, each with one delivery, made through the store's
//! own calls in big batches and kept between runs. What keys and digests are of does not matter here, so they are random.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use tenterhook::cli::load::plan::{Plan, Slot};
use tenterhook::model::{
    Admitted, AdmittedParts, Clock, DedupePolicy, Lease, NewDelivery, OnDead, Outcome, Priority, Reply,
    Settlement, Submission, SystemClock, Timestamp, Verdict,
};
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{Demand, LaneDemand, Store};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook_verify::{Request, Scheme, Verifier};

use crate::measure::plan;
use crate::report;

/// Events in one call of the store.
const BATCH: u64 = 1024;
const FILE: &str = "tenterhook.db";

/// How the deliveries of a history stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// All delivered.
    Delivered,
    /// All due.
    Pending,
}

/// Where histories are kept, and under which mark: one that another layout of the store made is not taken.
#[derive(Clone, Debug)]
pub(crate) struct Histories {
    /// The directory.
    pub(crate) directory: PathBuf,
    /// The mark of the store's code.
    pub(crate) mark: String,
}

impl Histories {
    /// Puts a store of `events` into `target`, made now or copied from the last time; both are on the disk when this
    /// returns, so that no writeback disturbs what comes.
    pub(crate) async fn put(&self, events: u64, past: Past, target: &Path) -> anyhow::Result<()> {
        let kept = self.directory.join(format!("history-{}-{events}-{past:?}", self.mark).to_lowercase());
        if !kept.exists() {
            let making = tempfile::Builder::new().prefix("making-").tempdir_in(&self.directory)?;
            make(&making.path().join(FILE), events, past).await?;
            std::fs::rename(making.path(), &kept)?;
        }
        let copy = target.join(FILE);
        std::fs::copy(kept.join(FILE), &copy).context("copy the history")?;
        Ok(std::fs::File::open(copy)?.sync_all()?)
    }
}

async fn make(file: &Path, events: u64, past: Past) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store = SqliteStore::open(SqliteSettings::new(file), Arc::clone(&clock), Arc::new(Metrics::new()))
        .map_err(|error| anyhow!("{error}"))?;
    let mut author = Author::new(clock.now().minus(Duration::from_secs(3600)))?;
    let (mut done, mut told) = (0, 0);
    while done < events {
        let batch =
            (0..BATCH.min(events - done)).map(|_| author.event()).collect::<anyhow::Result<Vec<_>>>()?;
        done += batch.len() as u64;
        // The former batch is delivered while this one is accepted: both share commits.
        let (accepted, delivered) = tokio::join!(store.accept(batch), deliver(&store, past, clock.now()));
        accepted?;
        delivered?;
        if done / 100_000 > told {
            told = done / 100_000;
            report::note(&format!("history of {events}: {done}"));
        }
    }
    while deliver(&store, past, clock.now()).await? > 0 {}
    let ledger = store.stats(clock.now()).await?.ledger;
    let standing = if past == Past::Delivered { ledger.delivered } else { ledger.pending };
    ensure!(ledger.events.accepted == events && standing == events, "not what was wanted: {ledger:?}");
    store.close().await?;
    drop(store);
    // Only the database is kept, so nothing may be left in its log.
    let log = std::fs::metadata(file.with_file_name(format!("{FILE}-wal"))).map_or(0, |log| log.len());
    ensure!(log == 0, "{log} bytes of the history are still in the log");
    Ok(())
}

/// Leases and settles what is due; how many.
async fn deliver(store: &SqliteStore, past: Past, now: Timestamp) -> anyhow::Result<usize> {
    if past == Past::Pending {
        return Ok(0);
    }
    let lane = LaneDemand {
        destination: "app".parse()?,
        limit: BATCH as u32,
        least_urgent_first: 0,
        lease: Duration::from_secs(60),
        attempts_max: 27,
        avoid: None,
    };
    let leased = store.lease(Demand { lanes: vec![lane], bytes_max: u64::MAX / 2, now }).await?;
    let settlements: Vec<_> = leased.leases.iter().map(|lease| settled(lease, now)).collect();
    Ok(store.settle(settlements).await?.len())
}

fn settled(lease: &Lease, now: Timestamp) -> Settlement {
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

/// Writes the events of a history.
struct Author {
    plan: Plan,
    slot: Slot,
    verifier: Verifier,
    headers: HeaderMap,
    random: fastrand::Rng,
    begin: Timestamp,
    number: u64,
}

impl Author {
    fn new(begin: Timestamp) -> anyhow::Result<Self> {
        let plan = plan("127.0.0.1:80".parse()?, "/webhooks/github", 1024)?;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static("tenterhook-load"));
        headers.insert("x-github-event", HeaderValue::from_static("push"));
        Ok(Self {
            slot: plan.slot(),
            plan,
            verifier: Verifier::new(Scheme::unsigned(), Vec::new()).map_err(|error| anyhow!("{error:?}"))?,
            headers,
            random: fastrand::Rng::with_seed(1),
            begin,
            number: 0,
        })
    }

    fn event(&mut self) -> anyhow::Result<Submission> {
        self.number += 1;
        let received_at = self.begin.plus(Duration::from_millis(self.number / 20));
        let written = self.plan.write(self.number, received_at.to_system(), &mut self.slot);
        written.map_err(|failure| anyhow!("{failure}"))?;
        let body = Bytes::copy_from_slice(self.slot.body());
        let id = format!("{:032x}", self.random.u128(..));
        let mut headers = self.headers.clone();
        headers.insert("x-github-delivery", HeaderValue::from_str(&id)?);
        headers.insert("x-hub-signature-256", HeaderValue::from_str(&format!("sha256={id}{id}"))?);
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: &body };
        let verified = self.verifier.verify(&request, received_at.to_system())?;
        let parts = AdmittedParts {
            source: "github".parse()?,
            provider: "github".to_owned(),
            provider_event_id: Some(id),
            event_type: "push".to_owned(),
            key: Some(self.random.u128(..).to_le_bytes()),
            repeat: Some(self.random.u128(..).to_le_bytes()),
            body_digest: self.random.u128(..).to_le_bytes(),
            dedupe: DedupePolicy::default(),
            body: body.clone(),
            headers: headers.clone(),
            correlation_id: format!("{:026}", self.number),
            source_ip: Some([127, 0, 0, 1].into()),
            original_url: "/webhooks/github".to_owned(),
            received_at,
        };
        let delivery = NewDelivery {
            destination: "app".parse()?,
            priority: Priority::Normal,
            ordering_key: None,
            on_dead: OnDead::Continue,
        };
        Ok(Submission { admitted: Admitted::new(&verified, parts), deliveries: vec![delivery] })
    }
}
