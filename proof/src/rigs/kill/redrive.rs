//! SIGKILL in the middle of a redrive of all dead letters, ordered over the admin API. Whatever part of it was done stays
//! done, the rest is done by the same order again, each dead letter is redriven once, and nothing of its history is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tenterhook::store::EventDetail;

use super::attempts::{self, Known, RECORDED};
use super::life;
use crate::lab::{Gateway, Handler, Lab, Load, PATIENCE, Site, judge};
use crate::rig::Tally;

/// Kills in one round; the last one while deliveries go on.
const KILLS: u64 = 10;

/// Dead letters of a round: more than a redrive changes in one transaction.
const DEAD: u64 = 1200;

const CONCURRENCY: u64 = 16;

pub(super) async fn round(lab: Lab, seed: u64) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let refusing = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&refusing);
    let status = move || if refuses.load(Ordering::SeqCst) { StatusCode::GONE } else { StatusCode::OK };
    let handler = Handler::answering(move |_| status().into()).await?;
    let destination = format!("concurrency = {CONCURRENCY}");
    let site = Site::simple(&lab, None, &handler.url(), &destination)?.keeping(RECORDED);
    let mut rig = Redrives { site, dead: 0, redriven: 0, slice: Duration::ZERO, tally: Tally::of(KILLS) };
    let load = rig.make_dead_letters(seed).await?;
    refusing.store(false, Ordering::SeqCst);
    for _ in 1..KILLS {
        rig.kill_while_paused(&mut random).await?;
    }
    rig.kill_while_delivering(&mut random).await?;
    let Redrives { site, dead, mut tally, .. } = rig;
    let gateway = site.start().await?;
    let journal = load.finish().await?;
    tally.add(judge::settled(&gateway, &journal, &handler).await?);
    let status = gateway.stop().await?;
    tally.check(status.success(), || format!("the last gateway ended with {status}"));
    let (received, said) = (handler.journal(), site.kept()?);
    let events = attempts::recorded(site.database()).await?;
    let known = Known {
        received: &received,
        said: &said,
        unknown_max: KILLS * attempts::at_once(CONCURRENCY),
        lease: None,
    };
    attempts::judge(&mut tally, &events, &known);
    tally.check(events.len() as u64 == dead, || format!("{} events of {dead}", events.len()));
    events.iter().for_each(|event| history_is_kept(event, &mut tally));
    Ok(tally)
}

/// The attempt that was refused is there still, also after many redrives.
fn history_is_kept(event: &EventDetail, tally: &mut Tally) {
    let first = event.deliveries.first().and_then(|it| it.attempts.first());
    let refused =
        first.is_some_and(|it| it.number == 1 && it.status == Some(410) && it.verdict == "dead_letter");
    tally.check(refused, || format!("the refused attempt of {} is gone: {first:?}", event.summary.id));
}

struct Redrives {
    site: Site,
    /// All deliveries there are.
    dead: u64,
    /// What the audit trail had of redrives when it was looked at last.
    redriven: u64,
    /// How long a whole redrive takes, about.
    slice: Duration,
    tally: Tally,
}

impl Redrives {
    /// Lets events come until enough are dead, then no more.
    async fn make_dead_letters(&mut self, seed: u64) -> anyhow::Result<Load> {
        let gateway = self.site.start().await?;
        let load = Load::start(16, &format!("d{seed}"));
        load.aim(Some(&gateway.at));
        anyhow::ensure!(load.acked(DEAD as usize, PATIENCE).await, "events are not acknowledged any more");
        load.stop();
        let at_rest = |ledger: &Value| {
            load.is_done() && ledger["deliveries"]["pending"] == 0 && ledger["deliveries"]["leased"] == 0
        };
        let ledger = gateway.ledger_when("all are dead", at_rest).await?;
        self.dead = ledger["deliveries"]["dead"].as_u64().context("the ledger counts dead letters")?;
        anyhow::ensure!(self.dead >= DEAD && ledger["events"]["accepted"] == self.dead, "{ledger}");
        gateway.order("/api/v1/destinations/app/pause", &json!({})).await?;
        // How long one takes tells when to kill the next ones.
        let started = Instant::now();
        self.redrive_the_rest(&gateway, self.dead).await?;
        self.slice = started.elapsed();
        self.cancel_all(&gateway).await?;
        gateway.stop().await?;
        Ok(load)
    }

    /// Orders, kills, and looks at what was done; the destination is paused, so that nothing else changes.
    async fn kill_while_paused(&mut self, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let gateway = self.site.start().await?;
        self.order_and_kill(gateway, random).await?;
        let gateway = self.site.start().await?;
        let left = self.look(&gateway).await?;
        self.tally.count("redrives cut in the middle", u64::from(left > 0 && left < self.dead));
        self.redrive_the_rest(&gateway, left).await?;
        self.cancel_all(&gateway).await?;
        let status = gateway.stop().await?;
        self.tally.check(status.success(), || format!("the gateway ended with {status}"));
        Ok(())
    }

    /// The same while what is redriven is delivered at once.
    async fn kill_while_delivering(&mut self, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let gateway = self.site.start().await?;
        gateway.order("/api/v1/destinations/app/resume", &json!({})).await?;
        self.order_and_kill(gateway, random).await?;
        let gateway = self.site.start().await?;
        let left = self.look(&gateway).await?;
        self.redrive_the_rest(&gateway, left).await?;
        let status = gateway.stop().await?;
        self.tally.check(status.success(), || format!("the gateway ended with {status}"));
        Ok(())
    }

    async fn order_and_kill(&self, gateway: Gateway, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let after = self.slice.mul_f64(random.f64() * 1.1);
        let order = json!({ "all": true });
        {
            let ordered = gateway.order("/api/v1/dead/redrive", &order);
            // The answer may come first; the order counts in both cases.
            let _ = tokio::time::timeout(after, ordered).await;
        }
        gateway.kill().await
    }

    /// How many are still dead; the ledger, the rows and the audit trail agree on it.
    async fn look(&mut self, gateway: &Gateway) -> anyhow::Result<u64> {
        life::is_sound(gateway, Duration::from_secs(40), &mut self.tally).await?;
        let ledger = gateway.admin("/api/v1/ledger").await?;
        let counts = |name: &str| ledger["deliveries"][name].as_u64().unwrap_or_default();
        let left = counts("dead");
        let others = counts("pending") + counts("leased") + counts("delivered");
        let all = self.dead;
        self.tally.check(left + others == all, || format!("{all} deliveries, and the ledger is {ledger}"));
        self.audited(gateway, all - left).await?;
        Ok(left)
    }

    /// The same order again does the rest, and again: nothing.
    async fn redrive_the_rest(&mut self, gateway: &Gateway, left: u64) -> anyhow::Result<()> {
        for expected in [left, 0] {
            let report = gateway.order("/api/v1/dead/redrive", &json!({ "all": true })).await?;
            self.tally.check(report["changed"] == expected, || format!("{expected} were dead: {report}"));
        }
        self.audited(gateway, left).await
    }

    /// The audit trail has exactly so many more redrives than at the last look.
    async fn audited(&mut self, gateway: &Gateway, more: u64) -> anyhow::Result<()> {
        let page = gateway.admin("/api/v1/audit?limit=1000").await?;
        let items = page["items"].as_array().context("the audit trail has items")?;
        let redrives = items.iter().filter(|it| it["action"] == "redrive");
        let sum: u64 = redrives.filter_map(|it| it["count"].as_u64()).sum();
        let before = std::mem::replace(&mut self.redriven, sum);
        self.tally.check(sum == before + more, || {
            format!("{more} were redriven, and the audited count went from {before} to {sum}")
        });
        self.tally.count("dead letters redriven", more);
        Ok(())
    }

    /// Gives all of them up again.
    async fn cancel_all(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        let report = gateway.order("/api/v1/deliveries/cancel", &json!({ "all": true })).await?;
        let all = self.dead;
        self.tally.check(report["changed"] == all, || format!("{all} were pending: {report}"));
        Ok(())
    }
}
