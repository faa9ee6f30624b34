//! SIGKILL at random moments: while the gateway starts, right after, and in the middle of heavy load.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tenterhook::model::EventId;

use super::attempts::{self, Known, RECORDED};
use super::{handling, life};
use crate::broken::Bug;
use crate::lab::handler::Received;
use crate::lab::{Gateway, Handler, Lab, Load, PATIENCE, Site, judge};
use crate::rig::Tally;

/// Kills in one round: the store of a round lives through all of them.
pub(super) const KILLS: u64 = 20;

/// Attempts at the same time.
pub(super) const CONCURRENCY: u64 = 16;

/// How long a lease lasts: the timeout of the destination and ten seconds.
const LEASE: Duration = Duration::from_secs(40);

/// A destination that retries soon, and routes with every priority; stars of a shard are delivered in order.
pub(super) fn site(lab: &Lab, url: &str) -> anyhow::Result<Site> {
    let mut config = format!(
        "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
         [destinations.app]\ntype = \"http\"\nurl = \"{url}\"\ntimeout = \"30s\"\nconcurrency = {CONCURRENCY}\n\
         retry = {{ base = \"20ms\", cap = \"200ms\", attempts_max = 500 }}\n"
    );
    for (event, more) in [
        ("push", ""),
        ("issues", "priority = \"high\""),
        ("release", "priority = \"low\""),
        ("star", "ordering_key = \"json:/shard\""),
    ] {
        config += &format!(
            "[[routes]]\nsource = \"github\"\nevents = [\"{event}\"]\ndestination = \"app\"\n{more}\n"
        );
    }
    Ok(Site::new(lab, None, "", &config)?.keeping(RECORDED))
}

pub(super) async fn round(lab: Lab, seed: u64, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let handler = Handler::answering(handling::slow_and_failing(seed, 3, 60)).await?;
    let mut site = site(&lab, &handler.url())?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let load = Load::start(16, &format!("k{seed}"));
    let mut tally = Tally::of(KILLS);
    let mut starting = Duration::from_millis(80);
    for _ in 0..KILLS {
        match random.u8(..5) {
            0 => {
                let begun = site.spawn()?;
                tokio::time::sleep(starting.mul_f64(random.f64() * 1.2)).await;
                let ready = begun.kill().await?;
                tally.count("killed while starting", u64::from(!ready));
            }
            kind => {
                let started = Instant::now();
                let gateway = site.start().await?;
                starting = started.elapsed();
                tally.worst("start_ms", starting.as_secs_f64() * 1000.0);
                kill_at_work(&gateway, &load, kind == 1, &mut random, &mut tally).await?;
                load.aim(None);
                gateway.kill().await?;
            }
        }
    }
    finish(site, &handler, load, KILLS, tally).await
}

/// Lets it work and comes back when it is to be killed.
async fn kill_at_work(
    gateway: &Gateway,
    load: &Load,
    at_once: bool,
    random: &mut fastrand::Rng,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if at_once {
        load.aim(Some(&gateway.at));
        tokio::time::sleep(Duration::from_millis(random.u64(..5))).await;
        return Ok(());
    }
    life::is_sound(gateway, LEASE, tally).await?;
    load.aim(Some(&gateway.at));
    load.acked(load.journal.acked() + random.usize(1..60), PATIENCE).await;
    tokio::time::sleep(Duration::from_millis(random.u64(..100))).await;
    Ok(())
}

/// After the last of `kills`: lets everything be delivered, and judges.
pub(super) async fn finish(
    site: Site,
    handler: &Handler,
    load: Load,
    kills: u64,
    mut tally: Tally,
) -> anyhow::Result<Tally> {
    let said_before = site.kept()?.len();
    let gateway = site.start().await?;
    life::is_sound(&gateway, LEASE, &mut tally).await?;
    load.aim(Some(&gateway.at));
    let journal = load.finish().await?;
    tally.add(judge::settled(&gateway, &journal, handler).await?);
    for (id, sent) in journal.events() {
        let other = sent.refused.keys().find(|status| **status != 503);
        tally.check(other.is_none(), || format!("{id} was refused: {:?}", sent.refused));
        tally.count("answered 503", sent.refused.values().sum());
    }
    life::metrics_fit(&gateway, || Ok(site.kept()?.len() - said_before), &mut tally).await?;
    let status = gateway.stop().await?;
    tally.check(status.success(), || format!("the last gateway ended with {status}"));
    let said = site.kept()?;
    let received = handler.journal();
    let events = attempts::recorded(site.database()).await?;
    let known = Known {
        received: &received,
        said: &said,
        unknown_max: kills * attempts::at_once(CONCURRENCY),
        lease: None,
    };
    attempts::judge(&mut tally, &events, &known);
    in_order(&mut tally, &received);
    Ok(tally)
}

/// Stars of a shard came one after the other, in the order of their ids, which is that of their commits.
fn in_order(tally: &mut Tally, received: &[Received]) {
    let mut latest: HashMap<String, i64> = HashMap::new();
    for received in received.iter().filter(|it| it.header("tenterhook-event-type") == "star") {
        let body: serde_json::Value = serde_json::from_slice(&received.body).unwrap_or_default();
        let shard = body["shard"].as_str().unwrap_or_default().to_owned();
        let id = received.header("webhook-id").parse::<EventId>().map(EventId::raw).unwrap_or_default();
        let before = latest.insert(shard, id).unwrap_or_default();
        tally.check(before <= id, || format!("{} came out of order", received.header("webhook-id")));
    }
}
