//! One cycle: fill the disk until an event is refused, look what goes on, free it, and look what comes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::disk::{Disk, Filler, Medium};
use crate::broken::Bug;
use crate::lab::{Gateway, Handler, Journal, Lab, Load, PATIENCE, Sender, Site, judge, load, until};
use crate::rig::Tally;

/// Intake has to be back within this, from the moment there is room.
const BACK: Duration = Duration::from_secs(5);
/// Any answer has to be there within this: the commit timeout, and some for a busy machine.
const ANSWER: Duration = Duration::from_secs(11);
/// Between two events of a sender: all cycles of a round have to fit on a small disk.
const PACE: Duration = Duration::from_millis(30);
/// So many events in a row are refused by a full disk.
const REFUSED: usize = 5;
/// And within this the last room that is there is used up.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// A small disk with a gateway on it, under load.
pub(super) struct Scene {
    seed: u64,
    medium: Medium,
    is_broken: bool,
    refusing: Arc<AtomicBool>,
    handler: Handler,
    load: Load,
    sender: Sender,
    client: reqwest::Client,
    gateway: Gateway,
    // The gateway first, then what it stands on.
    site: Site,
    database: PathBuf,
    disk: Disk,
}

impl Scene {
    /// Starts it all.
    pub(super) async fn set(lab: &Lab, medium: Medium, seed: u64, bug: Option<Bug>) -> anyhow::Result<Self> {
        let disk = Disk::new(medium)?;
        let database = disk.root().join("tenterhook.db");
        let refusing = Arc::<AtomicBool>::default();
        let refuse = Arc::clone(&refusing);
        // In trouble every fourth event is refused for good, so that dead letters are written on a full disk.
        let handler = Handler::answering(move |received| {
            let is_fourth = received.event().bytes().map(u32::from).sum::<u32>() % 4 == 0;
            let refused = is_fourth && refuse.load(Ordering::SeqCst);
            if refused { StatusCode::GONE.into() } else { StatusCode::OK.into() }
        })
        .await?;
        let destination = "concurrency = 8\nretry = { base = \"100ms\", cap = \"1s\" }";
        let mut site = Site::simple(lab, Some(&database), &handler.url(), destination)?;
        if let Some(bug) = bug {
            site = site.broken(lab, bug);
        }
        let gateway = site.start().await?;
        let load = Load::paced(4, &format!("d{seed}"), PACE);
        load.aim(Some(&gateway.at));
        anyhow::ensure!(load.acked(40, PATIENCE).await, "no event is taken:\n{}", gateway.log_tail());
        Ok(Self {
            seed,
            medium,
            is_broken: bug.is_some(),
            refusing,
            handler,
            load,
            sender: Sender::new()?,
            client: reqwest::Client::new(),
            gateway,
            site,
            database,
            disk,
        })
    }

    /// Fills and frees once.
    pub(super) async fn cycle(&mut self, number: u64) -> anyhow::Result<Tally> {
        let mut tally = Tally::of(1);
        if self.medium == Medium::FileSizeLimit {
            // A process is given its limit when it starts, while its log is short.
            self.restart().await?;
        }
        let acked = self.load.journal.acked();
        // A backlog, to see whether it can be delivered later.
        self.order("destinations/app/pause", json!({})).await?;
        anyhow::ensure!(self.load.acked(acked + 20, PATIENCE).await, "no event: {}", self.gateway.log_tail());
        let mut filler = self.disk.fill(&self.database, self.gateway.pid()?)?;
        let filling = Instant::now();
        let full = self.until_full(&mut filler).await;
        let refused;
        if self.is_broken {
            // It says 202 to whatever comes; it only has to be caught for what it loses.
            refused = self.send_refused(number, &mut filler, &mut Tally::default()).await?;
            self.refusing.store(false, Ordering::SeqCst);
        } else {
            full.with_context(|| format!("the disk is full: {}", self.gateway.log_tail()))?;
            tally.worst("filling_ms", filling.elapsed().as_secs_f64() * 1000.0);
            refused = self.full(number, &mut filler, &mut tally).await?;
        }
        let freed = Instant::now();
        filler.free()?;
        self.back(number, refused, freed, &mut tally).await?;
        Ok(tally)
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        self.load.aim(None);
        self.gateway.signal(rustix::process::Signal::TERM)?;
        while self.gateway.has_ended()?.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.gateway = self.site.start().await?;
        self.load.aim(Some(&self.gateway.at));
        Ok(())
    }

    /// Presses until an accept would be refused.
    async fn until_full(&self, filler: &mut Filler) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            filler.press()?;
            if self.ready().await? == 503 {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "and the gateway is still ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What must hold on a full disk.
    async fn full(
        &mut self,
        number: u64,
        filler: &mut Filler,
        tally: &mut Tally,
    ) -> anyhow::Result<Vec<String>> {
        let refused = self.send_refused(number, filler, tally).await?;
        let why = self.gateway.admin("/readyz").await?;
        let says_why =
            why["store"]["code"] == "full" && why["store"]["detail"].as_str().is_some_and(|it| it.len() > 10);
        tally.check(says_why, || format!("`/readyz` does not say why: {why}"));
        tally.check(self.gateway.admin_status("/readyz").await? == 503, || "`/readyz` is not 503".to_owned());
        for page in ["events?limit=5", "deliveries?limit=5", "ledger", "destinations", "audit", "dead"] {
            let status = self.gateway.admin_status(&format!("/api/v1/{page}")).await?;
            tally.check(status == 200, || format!("{page} is {status} on a full disk"));
        }
        let known = self.load.journal.acked_ids().pop().context("some are acknowledged")?;
        let again = self.sender.ask(&self.gateway.at, &known, &load::body(&known), ANSWER).await;
        let is_known = again.as_ref().is_some_and(|it| it.status == 200);
        tally.check(is_known, || format!("a duplicate was answered {again:?} on a full disk"));
        self.deliver(filler, tally).await?;
        Ok(refused)
    }

    /// Sends new events until a few in a row were refused, and told when to come back. An emptied log leaves room that
    /// was not there before: what is accepted with it has to be kept like everything else. Says which were refused.
    async fn send_refused(
        &self,
        number: u64,
        filler: &mut Filler,
        tally: &mut Tally,
    ) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + REFUSED_WITHIN;
        let (mut refused, mut in_a_row) = (Vec::new(), 0);
        for count in 0.. {
            filler.press()?;
            let id = format!("refused-{}-{number}-{count}", self.seed);
            let started = Instant::now();
            let answer = self.sender.ask(&self.gateway.at, &id, &load::body(&id), ANSWER).await;
            note(&self.load.journal, &id, answer.as_ref(), started);
            if answer.as_ref().is_some_and(|it| it.status < 300) {
                in_a_row = 0;
                tally.count("accepted with the last room", 1);
            } else {
                let proper = answer.as_ref().is_some_and(|it| it.status == 503 && it.is_proper());
                tally.check(proper, || format!("{id} was answered {answer:?} on a full disk"));
                tally.count("refused", 1);
                refused.push(id);
                in_a_row += 1;
            }
            let is_late = Instant::now() > deadline;
            tally.check(!is_late, || format!("a full disk takes events, in the end {answer:?}"));
            if in_a_row == REFUSED || is_late || self.is_broken && count == REFUSED {
                break;
            }
        }
        Ok(refused)
    }

    /// What was accepted before is delivered, some of it to the dead letters, while the filler takes whatever it can get.
    async fn deliver(&mut self, filler: &mut Filler, tally: &mut Tally) -> anyhow::Result<()> {
        self.refusing.store(true, Ordering::SeqCst);
        let before = self.gateway.admin("/api/v1/ledger").await?;
        let resumed = self.order("destinations/app/resume", json!({})).await;
        tally.check(resumed.is_ok(), || format!("a full disk, and nobody can resume: {resumed:?}"));
        let deadline = Instant::now() + Duration::from_secs(30);
        let after = loop {
            filler.press()?;
            let ledger = self.gateway.admin("/api/v1/ledger").await?;
            let waiting = number(&ledger, "pending") + number(&ledger, "leased");
            if waiting == 0 || Instant::now() > deadline {
                tally.check(waiting == 0, || {
                    format!("{waiting} deliveries do not go on on a full disk:\n{}", self.gateway.log_tail())
                });
                break ledger;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.refusing.store(false, Ordering::SeqCst);
        tally.count("delivered on a full disk", number(&after, "delivered") - number(&before, "delivered"));
        tally.count("dead letters on a full disk", number(&after, "dead") - number(&before, "dead"));
        let still = self.until_full(filler).await;
        tally.check(still.is_ok(), || format!("the disk is full, after deliveries, too: {still:?}"));
        Ok(())
    }

    /// What must be back, without a restart.
    async fn back(
        &mut self,
        number: u64,
        refused: Vec<String>,
        freed: Instant,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let fresh = format!("back-{}-{number}", self.seed);
        self.accepted_again(&fresh).await?;
        // The others come one after the other: how long all of them take is a matter of how many were refused.
        let took = freed.elapsed();
        tally.check(took <= BACK, || format!("{fresh} was accepted {took:?} after there was room"));
        tally.worst("recovery_ms", took.as_secs_f64() * 1000.0);
        for id in refused {
            self.accepted_again(&id).await?;
        }
        tally.check(self.ready().await? == 200, || "there is room, and the gateway is not ready".to_owned());
        self.order("destinations/app/resume", json!({})).await?;
        self.order("dead/redrive", json!({"destination": "app"})).await?;
        let ended = self.gateway.has_ended()?;
        tally.check(ended.is_none(), || format!("the gateway ended: {ended:?}"));
        Ok(())
    }

    /// Sends an event until it is accepted.
    async fn accepted_again(&self, id: &str) -> anyhow::Result<()> {
        let body = load::body(id);
        let accepted = until("accepted again", PATIENCE, async || {
            let started = Instant::now();
            let answer = self.sender.ask(&self.gateway.at, id, &body, ANSWER).await;
            note(&self.load.journal, id, answer.as_ref(), started);
            Ok(answer.is_some_and(|it| it.status < 300).then_some(()))
        });
        accepted.await.with_context(|| self.gateway.log_tail())
    }

    /// Compares the journals and stops.
    pub(super) async fn end(self) -> anyhow::Result<Tally> {
        let journal = self.load.finish().await?;
        let mut tally = judge::settled(&self.gateway, &journal, &self.handler).await?;
        let log = self.gateway.log();
        tally.check(!log.contains("panicked"), || format!("a panic:\n{log}"));
        let ended = self.gateway.stop().await?;
        tally.check(ended.success() || self.is_broken, || format!("it ended with {ended}:\n{log}"));
        Ok(tally)
    }

    async fn ready(&self) -> anyhow::Result<u16> {
        let url = format!("{}/readyz", self.gateway.at.ingress);
        Ok(self.client.get(url).timeout(ANSWER).send().await?.status().as_u16())
    }

    fn post(&self, what: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}/api/v1/{what}", self.gateway.at.admin)).timeout(PATIENCE);
        request.header("content-type", "application/json").body(body.to_string())
    }

    async fn order(&self, what: &str, body: Value) -> anyhow::Result<()> {
        let response = self.post(what, &body).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        anyhow::ensure!(status.is_success(), "{what}: {status} {text}");
        Ok(())
    }
}

fn number(ledger: &Value, what: &str) -> u64 {
    ledger["deliveries"][what].as_u64().unwrap_or_default()
}

fn note(journal: &Journal, id: &str, answer: Option<&load::Answer>, began: Instant) {
    let answer = answer.map(|it| (it.status, it.body.clone()));
    journal.note(id, answer.as_ref(), began);
}
