//! Memory, files and disk stay bounded: over a large backlog, under millions of refusals, while pruning, for hours.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::pressure::{self, Sampler};
use crate::broken::Bug;
use crate::lab::fill::{self, Filling};
use crate::lab::flood::Answer;
use crate::lab::measure::{acks_ms, median, quantile, store_bytes};
use crate::lab::{Counter, Flood, Lab, Site, Stamp};
use crate::rig::{Kind, Part, Rig, Tally};

const RSS_MAX_MIB: f64 = 256.0;
const IDLE_MAX_MIB: f64 = 40.0;
const DRIFT_MAX_MIB: f64 = 8.0;
/// Besides connections: the store's files, listeners, the runtime's own, the destinations' connections.
const FILES_MAX: usize = 128;
const LEDGER_EVERY: Duration = Duration::from_secs(10);
/// Intake while pruning may take twice as long; what differs by less is noise.
const PRUNE_TIMES: f64 = 2.0;
const PRUNE_NOISE_MS: f64 = 10.0;
const STALL_MAX_MS: f64 = 50.0;
const PRUNED_WITHIN: Duration = Duration::from_secs(25);

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, unit, ci, full, run| Part { name, unit, ci, full, kind: Kind::Proof, run };
    Rig {
        name: "memory",
        about: "a backlog, refusals, pruning and hours of failures in bounded memory",
        promises: &["R20", "R8"],
        missing: || None,
        parts: vec![
            part("idle", "starts", 3, 20, |lab, _| Box::pin(idle(lab))),
            part("pending-100k", "backlogs", 1, 1, |lab, seed| Box::pin(backlog(lab, seed, 100_000))),
            part("pending-1m", "backlogs", 0, 10, |lab, seed| Box::pin(backlog(lab, seed, 1_000_000))),
            part("refused", "requests", 50_000, 500_000, |lab, seed| Box::pin(refused(lab, seed, 50_000))),
            part("refused-1m", "requests", 0, 10_000_000, |lab, seed| {
                Box::pin(refused(lab, seed, 1_000_000))
            }),
            part("prune", "events", 20_000, 200_000, |lab, seed| Box::pin(prune(lab, seed, 20_000))),
            part("soak", "seconds", 20, 200, |lab, seed| Box::pin(soak(lab, seed, 20, None))),
            part("soak-long", "seconds", 0, 3600, |lab, seed| Box::pin(soak(lab, seed, 360, None))),
            Part {
                name: "control-leak",
                unit: "seconds",
                ci: 20,
                full: 60,
                kind: Kind::Control(1.0),
                run: |lab, seed| Box::pin(soak(lab, seed, 20, Some(Bug::Leak))),
            },
        ],
    }
}

/// A gateway that has nothing to do.
async fn idle(lab: Lab) -> anyhow::Result<Tally> {
    let gateway = Site::simple(&lab, None, "http://127.0.0.1:9/", "")?.start().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut tally = Tally::of(1);
    let rss = gateway.rss_mib()?;
    tally.worst("idle_rss_mib", rss);
    tally.check(rss <= IDLE_MAX_MIB, || format!("{rss:.0} MiB resident while idle"));
    Ok(tally)
}

/// A large backlog of one destination, while another one works; then the backlog is worked off for a while.
async fn backlog(lab: Lab, seed: u64, pending: u64) -> anyhow::Result<Tally> {
    let kept = fill::pending(pending).await?;
    let backlog = Arc::new(Stamp::new("github", "kept", 1024)?);
    let live = Arc::new(Stamp::new("live", &format!("m{seed:x}"), 1024)?);
    let app = Counter::start(backlog, |_| StatusCode::OK).await?;
    let works = Counter::start(Arc::clone(&live), |_| StatusCode::OK).await?;
    let mut config = String::new();
    for (source, destination, url) in [("github", "app", app.url()), ("live", "live", works.url())] {
        config.push_str(&format!(
            "[sources.{source}]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
             [destinations.{destination}]\ntype = \"http\"\nurl = \"{url}\"\n\
             [[routes]]\nsource = \"{source}\"\ndestination = \"{destination}\"\n"
        ));
    }
    let gateway = Site::new(&lab, Some(&kept.database), "", &config)?.start().await?;
    gateway.tell("/api/v1/destinations/app/pause").await?;
    let ledger = gateway.admin("/api/v1/ledger").await?;
    let owed = ledger["deliveries"]["pending"].as_u64().unwrap_or_default();
    let mut tally = Tally::of(1);
    tally.check(owed >= pending / 100 * 99, || format!("only {owed} are pending: {ledger}"));
    tally.worst("rss_at_rest_mib", gateway.rss_mib()?);
    let sampler = Sampler::start(&gateway)?;
    let flood = Flood::new(&gateway.at, live, 0, 500)?;
    let mut answers = flood.open(200.0, Duration::from_secs(10)).await;
    gateway.tell("/api/v1/destinations/app/resume").await?;
    answers.extend(flood.open(200.0, Duration::from_secs(10)).await);
    gateway.tell("/api/v1/destinations/app/pause").await?;
    let acked = answers.iter().filter(|it| it.acked()).count();
    tally.check(acked == answers.len(), || format!("{acked} of {} acknowledged", answers.len()));
    tally.check(works.count() > 0 && app.count() > 0, || {
        format!("{} live ones and {} of the backlog were delivered", works.count(), app.count())
    });
    tally.count("events acknowledged", acked as u64);
    tally.count("delivered of the backlog", app.count() as u64);
    tally.worst("ack_p99_ms", quantile(acks_ms(&answers), 0.99));
    sampler.bounded(&mut tally, RSS_MAX_MIB, FILES_MAX + 500);
    Ok(tally)
}

/// Requests that are not authentic: they cost no memory that stays and not a byte of disk.
async fn refused(lab: Lab, seed: u64, requests: u64) -> anyhow::Result<Tally> {
    let stamp = Arc::new(Stamp::new("github", &format!("r{seed:x}"), 512)?.spoiled());
    let site = Site::simple(&lab, None, "http://127.0.0.1:9/", "")?;
    let gateway = site.start().await?;
    let flood = Flood::new(&gateway.at, stamp, 0, 200)?;
    let warm = requests / 10;
    let mut answers = pressure::statuses(&flood, 64, warm).await;
    let (bytes, rss) = (store_bytes(site.database()), gateway.rss_mib()?);
    for (status, more) in pressure::statuses(&flood, 64, requests).await {
        *answers.entry(status).or_default() += more;
    }
    let (bytes_after, rss_after) = (store_bytes(site.database()), gateway.rss_mib()?);
    let mut tally = Tally::of(requests - warm);
    tally.check(answers.keys().all(|&status| status == 401), || format!("answers by status: {answers:?}"));
    tally.check(bytes == bytes_after, || format!("the store had {bytes} bytes, and now {bytes_after}"));
    tally
        .check(rss_after - rss <= DRIFT_MAX_MIB, || format!("{rss:.1} MiB before, {rss_after:.1} MiB after"));
    tally.worst("rss_drift_mib", rss_after - rss);
    tally.worst("rss_mib", rss_after);
    tally.done = requests;
    Ok(tally)
}

/// Intake while old events are removed, and while none are: the same events in the same store, before and after a reload
/// with a shorter retention.
async fn prune(lab: Lab, seed: u64, old: u64) -> anyhow::Result<Tally> {
    let stamp = Arc::new(Stamp::new("github", &format!("p{seed:x}"), 1024)?);
    let handler = Counter::start(Arc::clone(&stamp), |_| StatusCode::OK).await?;
    let config = |retention: &str| {
        format!(
            "retention = \"{retention}\"\n[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
             [destinations.app]\ntype = \"http\"\nurl = \"{}\"\n[[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
            handler.url()
        )
    };
    let site = Site::new(&lab, None, "", &config("365d"))?;
    let store = fill::open(site.database())?;
    let filling = Filling {
        stamp: Arc::clone(&stamp),
        source: "github",
        destination: None,
        age: Duration::from_secs(2 * 24 * 3600),
        window: Duration::from_secs(60),
    };
    fill::fill(&store, &filling, 0, old).await?;
    tenterhook::store::Store::close(store.as_ref()).await?;
    drop(store);
    let gateway = site.start().await?;
    let flood = Flood::new(&gateway.at, stamp, old, 500)?;
    flood.open(200.0, Duration::from_secs(1)).await;
    let before = acks_ms(&flood.open(200.0, Duration::from_secs(5)).await);
    site.rewrite(|text| text.replace("365d", "1d"))?;
    gateway.tell("/api/v1/reload").await?;
    // The gateway looks every ten seconds; from then on it prunes slice by slice until nothing is left.
    let watched = pruned_between(site.database(), old);
    let (took, answers) = tokio::join!(watched, flood.open(200.0, PRUNED_WITHIN));
    let (began, ended) = took?;
    let during: Vec<Answer> = answers.into_iter().filter(|it| (began..ended).contains(&it.due)).collect();
    let during = acks_ms(&during);
    let mut tally = Tally::of(old);
    let [p99_before, p99_during] = [&before, &during].map(|samples| quantile(samples.clone(), 0.99));
    let [most_before, most_during] = [&before, &during].map(|samples| quantile(samples.clone(), 1.0));
    tally.check(p99_during <= (PRUNE_TIMES * p99_before).max(p99_before + PRUNE_NOISE_MS), || {
        format!("p99 of receipts {p99_during:.1} ms while pruning, {p99_before:.1} ms before")
    });
    tally.check(most_during <= most_before + STALL_MAX_MS, || {
        format!("slowest receipt {most_during:.1} ms while pruning, {most_before:.1} ms before")
    });
    tally.count("receipts while pruning", during.len() as u64);
    tally.worst("ack_p99_ms_before", p99_before);
    tally.worst("ack_p99_ms_pruning", p99_during);
    tally.worst("slowest_ack_ms_before", most_before);
    tally.worst("slowest_ack_ms_pruning", most_during);
    tally.worst("pruned_per_s", old as f64 / ended.duration_since(began).as_secs_f64());
    Ok(tally)
}

/// Looks until the `old` events are gone: from the look before the first was, to the one that found none.
async fn pruned_between(database: &Path, old: u64) -> anyhow::Result<(Instant, Instant)> {
    let reader = rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut began = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let deadline = Instant::now() + PRUNED_WITHIN;
    loop {
        every.tick().await;
        let look = Instant::now();
        let left: i64 =
            reader.query_row("SELECT count(*) FROM event WHERE ignored=1", [], |row| row.get(0))?;
        if left == old as i64 {
            began = look;
        }
        if left == 0 {
            return Ok((began, Instant::now()));
        }
        anyhow::ensure!(look < deadline, "{left} of {old} old events are not pruned in {PRUNED_WITHIN:?}");
    }
}

/// Steady intake with a handler that fails three times in ten; the ledger is looked at every ten seconds, and memory
/// after a warm-up stays where it is.
async fn soak(lab: Lab, seed: u64, seconds: u64, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let stamp = Arc::new(Stamp::new("github", &format!("s{seed:x}"), 1024)?);
    let random = std::sync::Mutex::new(fastrand::Rng::with_seed(seed));
    let fails = move || random.lock().is_ok_and(|mut random| random.u8(0..10) < 3);
    let answer = move |_| if fails() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let handler = Counter::start(Arc::clone(&stamp), answer).await?;
    let config = format!(
        "retention = \"1m\"\n[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\nwindow = \"1m\"\n\
         [destinations.app]\ntype = \"http\"\nurl = \"{}\"\nretry = {{ base = \"100ms\", cap = \"1s\" }}\n\
         [[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
        handler.url()
    );
    let mut site = Site::new(&lab, None, "", &config)?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let gateway = site.start().await?;
    let flood = Flood::new(&gateway.at, stamp, 0, 500)?;
    let mut tally = Tally::of(seconds);
    let mut answers = flood.open(soak_per_s(seconds), warm_up(seconds)).await;
    let sampler = Sampler::start(&gateway)?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let slice = LEDGER_EVERY.min(Duration::from_secs(seconds).saturating_sub(began.elapsed()));
        answers.extend(flood.open(soak_per_s(seconds), slice.max(Duration::from_millis(100))).await);
        let ledger = gateway.admin("/api/v1/ledger").await?;
        let acked = answers.iter().filter(|it| it.acked()).count() as u64;
        tally.check(ledger["balanced"] == true && ledger["events"]["accepted"] == acked, || {
            format!("{acked} acknowledged, the ledger says {ledger}")
        });
        tally.count("ledgers checked", 1);
    }
    let samples = sampler.samples();
    let (slope, drift) = (pressure::slope_per_hour(&samples), drift(&samples));
    tally.check(drift <= DRIFT_MAX_MIB, || {
        format!("{drift:.1} MiB more after {seconds} s than after the warm-up")
    });
    tally.worst("rss_drift_mib", drift);
    if seconds > 300 {
        tally.worst("rss_slope_mib_per_h", slope);
    }
    sampler.bounded(&mut tally, RSS_MAX_MIB, FILES_MAX + 500);
    tally.add(Tally { done: 0, ..pressure::kept(&gateway, &answers, &handler).await? });
    Ok(tally)
}

/// Events per second: few in a short run, whose store is young and whose caches are still filling up.
fn soak_per_s(seconds: u64) -> f64 {
    if seconds > 300 { 150.0 } else { 50.0 }
}

/// Until caches are full and the first events and keys are old enough to be removed.
fn warm_up(seconds: u64) -> Duration {
    Duration::from_secs(if seconds > 300 { 180 } else { 5 })
}

/// The median of the last fifth against that of the first, MiB.
fn drift(samples: &[(f64, f64)]) -> f64 {
    let fifth = (samples.len() / 5).max(1);
    let middle = |some: &[(f64, f64)]| median(some.iter().map(|sample| sample.1).collect());
    middle(&samples[samples.len().saturating_sub(fifth)..]) - middle(&samples[..fifth.min(samples.len())])
}
