//! Stores with many events in them, made in this process through the store's own interface, and kept between runs since
//! making them takes a while. It does not know what they are for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tenterhook::model::{
    Admitted, AdmittedParts, Clock, DedupePolicy, DestinationName, Digest16, NewDelivery, OnDead, Priority,
    Submission, SystemClock, Timestamp,
};
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{AuditEntry, Store};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook_verify::{Request, Scheme, Verifier};
use tokio::sync::OwnedMutexGuard;

use super::flood::Stamp;
use super::measure::wal;

/// Events per call: large transactions are quick.
const BATCH: u64 = 500;
/// Calls under way: one is packed while another is written.
const CALLS: usize = 4;
/// Where the kept ones are.
const KEPT: &str = "target/prove/stores";
/// The destination that the kept ones owe everything to.
pub const OWED_TO: &str = "app";

/// What is put into a store.
pub struct Filling {
    /// Ids and bodies.
    pub stamp: Arc<Stamp>,
    /// The source that they came from.
    pub source: &'static str,
    /// What each is owed to; `None`: ignored events.
    pub destination: Option<&'static str>,
    /// How long ago they were received.
    pub age: Duration,
    /// How long their keys are known.
    pub window: Duration,
}

/// Opens a store in this process.
pub fn open(database: &Path) -> anyhow::Result<Arc<SqliteStore>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let settings = SqliteSettings::new(database);
    Ok(Arc::new(
        SqliteStore::open(settings, clock, Arc::new(Metrics::new())).context("the store does not open")?,
    ))
}

/// Puts the events `from..to` of the series into a store.
pub async fn fill(store: &Arc<SqliteStore>, filling: &Filling, from: u64, to: u64) -> anyhow::Result<()> {
    let verifier =
        Verifier::new(Scheme::unsigned(), vec![]).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let mut calls = tokio::task::JoinSet::new();
    for begin in (from..to).step_by(BATCH as usize) {
        let batch: anyhow::Result<Vec<_>> =
            (begin..to.min(begin + BATCH)).map(|n| submission(filling, &verifier, n)).collect();
        let (store, batch) = (Arc::clone(store), batch?);
        calls.spawn(async move { store.accept(batch).await });
        if calls.len() >= CALLS {
            calls.join_next().await.context("calls are under way")???;
        }
    }
    while let Some(done) = calls.join_next().await {
        done??;
    }
    Ok(())
}

fn submission(filling: &Filling, verifier: &Verifier, n: u64) -> anyhow::Result<Submission> {
    let (body, headers, now) = (filling.stamp.body(n), http::HeaderMap::new(), SystemTime::now());
    let request = Request { method: &http::Method::POST, url: None, headers: &headers, body: &body };
    let verified = verifier.verify(&request, now)?;
    let id = filling.stamp.id(n);
    let parts = AdmittedParts {
        source: filling.source.parse()?,
        provider: "github".to_owned(),
        provider_event_id: Some(id.clone()),
        event_type: "push".to_owned(),
        key: Some(digest(id.as_bytes())),
        repeat: Some(digest(&body)),
        body_digest: digest(&body),
        dedupe: DedupePolicy { window: filling.window, ..DedupePolicy::default() },
        body: body.clone().into(),
        headers: [
            ("x-github-delivery", &*id),
            ("x-github-event", "push"),
            ("content-type", "application/json"),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((http::HeaderName::from_static(name), value.parse().ok()?)))
        .collect(),
        correlation_id: format!("{n:032x}"),
        source_ip: None,
        original_url: format!("/webhooks/{}", filling.source),
        received_at: Timestamp::from_system(now).minus(filling.age),
    };
    let delivery = |destination: DestinationName| NewDelivery {
        destination,
        priority: Priority::Normal,
        ordering_key: None,
        on_dead: OnDead::Continue,
    };
    let deliveries = filling.destination.map(str::parse).transpose()?.map(delivery);
    Ok(Submission { admitted: Admitted::new(&verified, parts), deliveries: deliveries.into_iter().collect() })
}

/// Not a good digest, but one that differs and is spread out: nobody attacks this store.
fn digest(bytes: &[u8]) -> Digest16 {
    let seed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let mut digest = Digest16::default();
    random.fill(&mut digest);
    digest
}

/// A kept store, for one user at a time.
pub struct Kept {
    /// The database.
    pub database: PathBuf,
    /// The number after the last event of the series in it.
    pub next: u64,
    _alone: OwnedMutexGuard<()>,
}

type Locks = Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>;

/// A store with at least `pending` events owed to [`OWED_TO`], and not many more: kept from an earlier run, topped up or
/// made anew. The destination is not paused.
pub async fn pending(pending: u64) -> anyhow::Result<Kept> {
    static LOCKS: LazyLock<Locks> = LazyLock::new(Mutex::default);
    let lock = Arc::clone(LOCKS.lock().unwrap_or_else(PoisonError::into_inner).entry(pending).or_default());
    let _alone = lock.lock_owned().await;
    std::fs::create_dir_all(KEPT)?;
    let database = Path::new(KEPT).canonicalize()?.join(format!("pending-{pending}.db"));
    let app: DestinationName = OWED_TO.parse()?;
    let stamp = Arc::new(Stamp::new("github", "kept", 1024)?);
    let has = async |store: &SqliteStore| -> anyhow::Result<(u64, u64)> {
        let stats = store.stats(SystemClock::start().now()).await?;
        Ok((
            stats.destinations.get(&app).map_or(0, |it| it.pending + it.leased),
            stats.ledger.events.accepted,
        ))
    };
    let mut store = open(&database)?;
    let (mut there, mut next) = has(&store).await?;
    if there > pending / 2 * 3 {
        store.close().await?;
        drop(store);
        for path in [wal(&database), database.clone()] {
            let _ = std::fs::remove_file(path);
        }
        store = open(&database)?;
        (there, next) = (0, 0);
    }
    if there < pending {
        tracing::info!(more = pending - there, "filling");
        let filling = Filling {
            stamp,
            source: "github",
            destination: Some(OWED_TO),
            age: Duration::ZERO,
            window: Duration::from_secs(7 * 24 * 3600),
        };
        let more = pending - there + pending / 20;
        fill(&store, &filling, next, next + more).await?;
        next += more;
    }
    let by = AuditEntry {
        id: 0,
        at: SystemClock::start().now(),
        actor: "rig".to_owned(),
        action: "resume".to_owned(),
        subject: OWED_TO.to_owned(),
        count: 0,
    };
    store.set_paused(app, false, by).await?;
    store.close().await?;
    Ok(Kept { database, next, _alone })
}
