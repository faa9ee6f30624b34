//! Three bad destinations beside a good one: the good one's receipts and deliveries take as long as without them, and the
//! bad ones are left alone by their breakers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::broken::Bug;
use crate::lab::fill::{self, Filling};
use crate::lab::flood::Answer;
use crate::lab::measure::{acks_ms, median, ms, quantile};
use crate::lab::sink::{Manner, Sink};
use crate::lab::{Counter, Flood, Gateway, Lab, PATIENCE, Site, Stamp, until};
use crate::rig::{Kind, Part, Rig, Tally};

/// With and without, in turns; the medians are compared.
const TURNS: u64 = 3;
/// How long each half of a turn lasts.
const HALF: Duration = Duration::from_secs(4);
/// The good destination's events per second, and those of two of the bad ones.
const GOOD_PER_S: f64 = 100.0;
const BAD_PER_S: f64 = 10.0;
/// Attempts at the same time at each bad one.
const BAD_CONCURRENCY: usize = 4;
const FAILURES_MAX: usize = 10;
const CLOSES_WITHIN: Duration = Duration::from_secs(2);
const ACK_TIMES: f64 = 1.2;
const DELIVERY_TIMES: f64 = 1.5;
/// Two p99s of the same thing differ by so much on a machine that does other work, too: no finding below this.
const ACK_NOISE_MS: f64 = 5.0;
const DELIVERY_NOISE_MS: f64 = 10.0;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, ci, full, run| Part { name, unit: "turns", ci, full, kind: Kind::Proof, run };
    Rig {
        name: "isolation",
        about: "a black hole, a drip and a backlog beside a good destination",
        promises: &["R14"],
        missing: || None,
        parts: vec![
            part("backlog-5k", 3, 30, |lab, seed| Box::pin(isolation(lab, seed, 5_000, None))),
            part("backlog-100k", 0, 30, |lab, seed| Box::pin(isolation(lab, seed, 100_000, None))),
            Part {
                name: "control-one-lane",
                unit: "turns",
                ci: 3,
                full: 3,
                kind: Kind::Control(1.0),
                run: |lab, seed| Box::pin(isolation(lab, seed, 1_000, Some(Bug::OneLane))),
            },
        ],
    }
}

/// The places of the rig: three bad destinations, whose sources are called like them, and the good one, `app`.
struct Street {
    app: Counter,
    black: Sink,
    drip: Sink,
    down: Counter,
    /// Whether `down` answers well.
    mended: Arc<AtomicBool>,
}

const BAD: [&str; 3] = ["black", "drip", "down"];

impl Street {
    async fn open(stamps: &Stamps) -> anyhow::Result<Self> {
        let mended = Arc::<AtomicBool>::default();
        let is_mended = Arc::clone(&mended);
        let down = move |_| match is_mended.load(Ordering::SeqCst) {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        Ok(Self {
            app: Counter::start(Arc::clone(&stamps.app), |_| StatusCode::OK).await?,
            black: Sink::start(Manner::BlackHole).await?,
            drip: Sink::start(Manner::Drip).await?,
            down: Counter::start(Arc::clone(&stamps.down), down).await?,
            mended,
        })
    }

    fn site(&self, lab: &Lab) -> anyhow::Result<Site> {
        let urls = [("app", self.app.url()), ("black", self.black.url()), ("drip", self.drip.url())];
        let mut config = String::new();
        for (name, url) in urls.into_iter().chain([("down", self.down.url())]) {
            let bad = format!(
                "timeout = \"1s\"\nconcurrency = {BAD_CONCURRENCY}\nretry = {{ attempts_max = 1000, cap = \"1m\" }}\n"
            );
            config.push_str(&format!(
                "[sources.{name}]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
                 [destinations.{name}]\ntype = \"http\"\nurl = \"{url}\"\n{}\
                 [[routes]]\nsource = \"{name}\"\ndestination = \"{name}\"\n",
                if name == "app" { "" } else { &bad }
            ));
        }
        Site::new(lab, None, "", &config)
    }

    fn attempts(&self, name: &str) -> Vec<Instant> {
        match name {
            "black" => self.black.attempts(),
            "drip" => self.drip.attempts(),
            _ => self.down.attempts(),
        }
    }
}

struct Stamps {
    app: Arc<Stamp>,
    black: Arc<Stamp>,
    drip: Arc<Stamp>,
    down: Arc<Stamp>,
}

async fn isolation(lab: Lab, seed: u64, backlog: u64, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let stamp = |source: &str| Stamp::new(source, &format!("i{seed:x}-{source}"), 1024).map(Arc::new);
    let stamps =
        Stamps { app: stamp("app")?, black: stamp("black")?, drip: stamp("drip")?, down: stamp("down")? };
    let street = Street::open(&stamps).await?;
    let mut site = street.site(&lab)?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let store = fill::open(site.database())?;
    let owed = Filling {
        stamp: Arc::clone(&stamps.down),
        source: "down",
        destination: Some("down"),
        age: Duration::ZERO,
        window: Duration::from_secs(7 * 24 * 3600),
    };
    fill::fill(&store, &owed, 0, backlog).await?;
    tenterhook::store::Store::close(store.as_ref()).await?;
    let gateway = site.start().await?;
    let mut tally = Tally::of(TURNS);
    breakers_open(&mut tally, &gateway, &street, &stamps).await?;
    let turns = turns(&mut tally, &gateway, &street, &stamps).await?;
    compare(&mut tally, &turns);
    tally.check(street.app.wrong() + street.down.wrong() == 0, || "a delivery was never sent".to_owned());
    if bug.is_none() {
        recover(&mut tally, &gateway, &street, backlog).await?;
    }
    Ok(tally)
}

/// The first events for each bad destination: its breaker opens within ten failures, and whoever was under way.
async fn breakers_open(
    tally: &mut Tally,
    gateway: &Gateway,
    street: &Street,
    stamps: &Stamps,
) -> anyhow::Result<()> {
    let [black, drip] =
        [&stamps.black, &stamps.drip].map(|stamp| Flood::new(&gateway.at, Arc::clone(stamp), 0, 100));
    let (black, drip) = (black?, drip?);
    let sent = async {
        tokio::join!(
            black.open(100.0, Duration::from_millis(300)),
            drip.open(100.0, Duration::from_millis(300))
        )
    };
    let opened = BAD.map(|name| async move {
        let is_open = async || Ok((breaker(gateway, name).await? != "closed").then_some(()));
        let opened = until("the breaker opens", Duration::from_secs(30), is_open).await;
        (name, opened.is_ok(), street.attempts(name).len())
    });
    // All at once: whoever is looked at later has been probed meanwhile.
    let (_, opened) = tokio::join!(sent, futures_util::future::join_all(opened));
    for (name, is_open, attempts) in opened {
        // Those under way when the tenth failed, and a probe that began while we looked.
        let most = FAILURES_MAX + BAD_CONCURRENCY;
        tally.check(is_open, || format!("the breaker of `{name}` never opens"));
        tally.check(attempts <= most, || format!("`{name}`: {attempts} attempts until its breaker opened"));
        tally.worst("attempts_until_open", attempts as f64);
    }
    Ok(())
}

async fn breaker(gateway: &Gateway, name: &str) -> anyhow::Result<String> {
    let page = gateway.admin("/api/v1/destinations").await?;
    let mine = page["items"].as_array().and_then(|all| all.iter().find(|it| it["name"] == name));
    Ok(mine.and_then(|it| it["lane"]["breaker"].as_str()).unwrap_or("unknown").to_owned())
}

/// One half of a turn: how the good destination fared.
struct Half {
    with_bad: bool,
    ack_p99_ms: f64,
    delivery_p99_ms: f64,
}

async fn turns(
    tally: &mut Tally,
    gateway: &Gateway,
    street: &Street,
    stamps: &Stamps,
) -> anyhow::Result<Vec<Half>> {
    let good = Flood::new(&gateway.at, Arc::clone(&stamps.app), 0, 500)?;
    let black = Flood::new(&gateway.at, Arc::clone(&stamps.black), 1000, 100)?;
    let drip = Flood::new(&gateway.at, Arc::clone(&stamps.drip), 1000, 100)?;
    good.open(GOOD_PER_S, Duration::from_secs(1)).await;
    let mut halves = Vec::new();
    for _ in 0..TURNS {
        for with_bad in [false, true] {
            for name in BAD {
                gateway
                    .tell(&format!(
                        "/api/v1/destinations/{name}/{}",
                        if with_bad { "resume" } else { "pause" }
                    ))
                    .await?;
            }
            let began = Instant::now();
            // The same comes in in both halves; only whether anybody tries to deliver it to the bad ones differs.
            let (answers, ..) = tokio::join!(
                good.open(GOOD_PER_S, HALF),
                black.open(BAD_PER_S, HALF),
                drip.open(BAD_PER_S, HALF)
            );
            let lasted = began.elapsed();
            if with_bad {
                for name in BAD {
                    let probes = street.attempts(name).iter().filter(|&&at| at >= began).count();
                    // One at once, and one a second.
                    let most = lasted.as_secs() as usize + 2;
                    tally.check(probes <= most, || format!("`{name}`: {probes} probes in {lasted:?}"));
                    tally.count("probes", probes as u64);
                }
            }
            halves.push(half(tally, with_bad, &answers, street).await);
        }
    }
    Ok(halves)
}

async fn half(tally: &mut Tally, with_bad: bool, answers: &[Answer], street: &Street) -> Half {
    let acked: Vec<&Answer> = answers.iter().filter(|it| it.acked()).collect();
    tally.check(acked.len() == answers.len(), || {
        format!("{} of {} were not acknowledged", answers.len() - acked.len(), answers.len())
    });
    let all_there = async || {
        let delivered = street.app.delivered();
        Ok(acked.iter().all(|it| delivered.contains_key(&it.n)).then_some(delivered))
    };
    let delivered = until("the good destination has all", Duration::from_secs(30), all_there).await;
    let took = match delivered {
        Ok(delivered) => acked.iter().map(|it| ms(delivered[&it.n].0.duration_since(it.due))).collect(),
        Err(_) => vec![30_000.0],
    };
    tally.count("events acknowledged", acked.len() as u64);
    Half { with_bad, ack_p99_ms: quantile(acks_ms(answers), 0.99), delivery_p99_ms: quantile(took, 0.99) }
}

fn compare(tally: &mut Tally, halves: &[Half]) {
    let middle = |with_bad: bool, of: fn(&Half) -> f64| {
        median(halves.iter().filter(|half| half.with_bad == with_bad).map(of).collect())
    };
    let mut hold = |what: &str, of: fn(&Half) -> f64, times: f64, noise_ms: f64| {
        let (without, with) = (middle(false, of), middle(true, of));
        let most = (without * times).max(without + noise_ms);
        tally.check(with <= most, || {
            format!("{what} p99 {with:.1} ms beside bad ones, {without:.1} ms without")
        });
        tally.worst(&format!("{what}_p99_ms_without"), without);
        tally.worst(&format!("{what}_p99_ms_with"), with);
    };
    hold("ack", |half| half.ack_p99_ms, ACK_TIMES, ACK_NOISE_MS);
    hold("delivery", |half| half.delivery_p99_ms, DELIVERY_TIMES, DELIVERY_NOISE_MS);
}

/// The receiver is well again: its breaker closes soon, and all of its backlog is delivered.
async fn recover(tally: &mut Tally, gateway: &Gateway, street: &Street, backlog: u64) -> anyhow::Result<()> {
    street.mended.store(true, Ordering::SeqCst);
    let mended = Instant::now();
    let is_closed = async || Ok((breaker(gateway, "down").await? == "closed").then_some(()));
    until("the breaker closes", PATIENCE, is_closed).await?;
    let took = mended.elapsed();
    tally.worst("breaker_closes_ms", ms(took));
    tally.check(took <= CLOSES_WITHIN, || {
        format!("the breaker closed {:.1} s after recovery", took.as_secs_f64())
    });
    let all = async || Ok((street.down.count() as u64 == backlog).then_some(()));
    until("the backlog is delivered", PATIENCE * 4, all).await?;
    tally.worst("backlog_delivered_s", mended.elapsed().as_secs_f64());
    Ok(())
}
