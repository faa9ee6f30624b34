//! Five times as many requests as the gateway can take, at a rate that does not care for the answers. What is too much
//! is refused quickly and with `Retry-After`; what is accepted is accepted within a second, kept and delivered.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::pressure;
use crate::broken::Bug;
use crate::lab::flood::Answer;
use crate::lab::measure::{acks_ms, ms, quantile};
use crate::lab::slow::{self, Slow};
use crate::lab::{Counter, Flood, Gateway, Lab, Site, Stamp};
use crate::rig::{Kind, Part, Rig, Tally};

/// How much more than the peak is offered.
const TIMES: f64 = 5.0;
/// Connections of the sender; the gateway takes 4096. An open loop that needs more cannot offer its load.
const CONNECTIONS: usize = 3500;
const ACK_P99_MAX_MS: f64 = 1000.0;
const GOODPUT_MIN: f64 = 0.9;
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// The share of the load that really has to be offered.
const OFFERED_MIN: f64 = 0.98;
const PEAK_FOR: Duration = Duration::from_secs(4);

/// What makes the gateway's capacity small, so that five times as much can be offered on the same machine.
#[derive(Clone, Copy)]
enum Narrow {
    /// A disk that writes so many MB/s.
    Disk(u32),
    /// A rate in the config.
    Rate(u32),
}

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, ci, full, run| Part { name, unit: "seconds", ci, full, kind: Kind::Proof, run };
    Rig {
        name: "overload",
        about: "an open loop at five times the capacity",
        promises: &["R21"],
        missing: slow::missing,
        parts: vec![
            part("slow-disk", 10, 300, |lab, seed| Box::pin(overload(lab, seed, Narrow::Disk(4), 10, None))),
            part("rate", 10, 100, |lab, seed| Box::pin(overload(lab, seed, Narrow::Rate(400), 10, None))),
            part("slow-disk-long", 0, 600, |lab, seed| {
                Box::pin(overload(lab, seed, Narrow::Disk(4), 60, None))
            }),
            Part {
                name: "control-endless-queue",
                unit: "seconds",
                ci: 10,
                full: 30,
                kind: Kind::Control(1.0),
                run: |lab, seed| Box::pin(overload(lab, seed, Narrow::Disk(4), 10, Some(Bug::EndlessQueue))),
            },
        ],
    }
}

fn site(lab: &Lab, database: &Path, url: &str, narrow: Option<Narrow>) -> anyhow::Result<Site> {
    let rate = match narrow {
        Some(Narrow::Rate(rate)) => format!("rate = \"{rate}/s\"\n"),
        _ => String::new(),
    };
    let config = format!(
        "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n{rate}\
         [destinations.app]\ntype = \"http\"\nurl = \"{url}\"\nconcurrency = 32\nretry = {{ base = \"100ms\", cap = \"1s\" }}\n\
         [[routes]]\nsource = \"github\"\ndestination = \"app\"\n"
    );
    let site = Site::new(lab, Some(database), "", &config)?;
    match narrow {
        Some(Narrow::Disk(mb_per_s)) => slow::disk(site, Slow { sync: Duration::from_millis(4), mb_per_s }),
        _ => Ok(site),
    }
}

async fn overload(
    lab: Lab,
    seed: u64,
    narrow: Narrow,
    seconds: u64,
    bug: Option<Bug>,
) -> anyhow::Result<Tally> {
    let directory = tempfile::Builder::new().prefix("tenterhook-overload-").tempdir()?;
    let database = directory.path().join("tenterhook.db");
    let stamp = Arc::new(Stamp::new("github", &format!("o{seed:x}"), 1024)?);
    let handler = Counter::start(Arc::clone(&stamp), |_| StatusCode::OK).await?;
    let narrowed = site(&lab, &database, &handler.url(), Some(narrow))?;
    let narrowed = match bug {
        Some(bug) => narrowed.broken(&lab, bug),
        None => narrowed,
    };
    let gateway = narrowed.start().await?;
    let flood = Flood::new(&gateway.at, stamp, 0, CONNECTIONS)?;
    let mut answers = flood.open(50.0, Duration::from_secs(2)).await;
    let calm_ms = quantile(acks_ms(&answers), 0.99);
    let mut peak: f64 = 0.0;
    for senders in [64, 256] {
        let some = flood.closed(senders, PEAK_FOR).await;
        peak = peak.max(rate(&some, PEAK_FOR));
        answers.extend(some);
    }
    let mut tally = Tally::of(seconds);
    let flooded = flood.open(TIMES * peak, Duration::from_secs(seconds)).await;
    let ended = Instant::now();
    judge(&mut tally, &flooded, flood.unsent(), peak, seconds);
    answers.extend(flooded);
    answers.extend(recover(&mut tally, &gateway, &flood, ended, calm_ms).await?);
    // A fast disk from here on, and no goodbye: what was acknowledged was durable, and is delivered.
    gateway.kill().await?;
    let gateway = site(&lab, &database, &handler.url(), None)?.start().await?;
    tally.add(pressure::kept(&gateway, &answers, &handler).await?);
    Ok(tally)
}

/// Receipts per second over the second half: the first has the queue filling up.
fn rate(answers: &[Answer], lasted: Duration) -> f64 {
    let Some(start) = answers.iter().map(|it| it.due).min() else { return 0.0 };
    let (from, to) = (start + lasted / 2, start + lasted);
    let within = |it: &&Answer| it.acked() && (from..to).contains(&(it.due + it.took));
    answers.iter().filter(within).count() as f64 / (lasted / 2).as_secs_f64()
}

fn judge(tally: &mut Tally, answers: &[Answer], unsent: u64, peak: f64, seconds: u64) {
    let offered = answers.len() as f64 / (answers.len() as f64 + unsent as f64).max(1.0);
    let bare = answers.iter().filter(|it| !(it.acked() || matches!(it.status, 429 | 503) && it.retry_after));
    let (bare, example) = (bare.clone().count(), bare.clone().next().map(|it| it.status));
    let p99 = quantile(acks_ms(answers), 0.99);
    let goodput = rate(answers, Duration::from_secs(seconds));
    let refusals = answers.iter().filter(|it| !it.acked()).map(|it| ms(it.took)).collect();
    tally.check(offered >= OFFERED_MIN, || {
        format!("only {:.1} % of the load found a connection: answers take too long", offered * 100.0)
    });
    tally.check(bare == 0, || format!("{bare} refusals without 429/503 and Retry-After, as {example:?}"));
    tally.check(p99 <= ACK_P99_MAX_MS, || format!("p99 of the receipts is {p99:.0} ms"));
    tally.check(goodput >= GOODPUT_MIN * peak, || {
        format!("{goodput:.0} receipts/s at {TIMES} times the peak of {peak:.0}/s")
    });
    tally.worst("peak_per_s", peak);
    tally.worst("offered_per_s", answers.len() as f64 / seconds as f64);
    tally.worst("goodput_lost_percent", 100.0 * (1.0 - goodput / peak.max(1.0)));
    tally.worst("ack_p99_ms", p99);
    tally.worst("refusal_p99_ms", quantile(refusals, 0.99));
}

/// How long after the flood until a second of quiet requests is answered as before it.
async fn recover(
    tally: &mut Tally,
    gateway: &Gateway,
    flood: &Arc<Flood>,
    ended: Instant,
    calm_ms: f64,
) -> anyhow::Result<Vec<Answer>> {
    // The backlog is delivered meanwhile, over the same slow disk: a little slower than in an empty gateway is normal.
    let normal_ms = (2.0 * calm_ms).max(250.0);
    let mut answers = Vec::new();
    loop {
        let began = Instant::now();
        let probes = flood.open(20.0, Duration::from_secs(1)).await;
        let well = probes.iter().all(Answer::acked) && quantile(acks_ms(&probes), 0.95) <= normal_ms;
        let ready = reqwest::get(format!("{}/readyz", gateway.at.ingress)).await?.status() == 200;
        answers.extend(probes);
        let took = began.duration_since(ended);
        if well && ready {
            tally.worst("recovery_ms", ms(took));
            tally.check(took <= RECOVERY_MAX, || format!("recovered only after {:.1} s", took.as_secs_f64()));
            return Ok(answers);
        }
        if took > RECOVERY_MAX * 4 {
            tally.violations.push(format!("not recovered after {:.1} s", took.as_secs_f64()));
            return Ok(answers);
        }
    }
}
