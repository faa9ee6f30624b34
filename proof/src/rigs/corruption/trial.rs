//! One damaged copy: the gateway starts on it, or refuses with a message that helps; what it delivers is what was sent;
//! what it cannot deliver it says; everything else flows.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::base::Base;
use super::damage::Harm;
use crate::broken::Bug;
use crate::lab::load::{Sender, body, event_type};
use crate::lab::{Gateway, Handler, Lab, Launch, PATIENCE, Site};
use crate::rig::Tally;

/// So long nothing new was delivered while something waits: it stands still, also on a machine that others share.
const STILL: Duration = Duration::from_secs(60);
/// The same where nothing waits any more by its own account.
const AT_REST: Duration = Duration::from_secs(1);
/// So long nothing new was delivered by a gateway that said that rows are damaged: these are what waits.
const ALARMED: Duration = Duration::from_secs(10);
/// Starts before a gateway that keeps ending counts as a crash loop.
const STARTS: u32 = 3;

/// The event that is sent once everything is drained.
const AFTER: &str = "after-the-damage";

/// A copy of the store, a handler that works, and a gateway to come.
pub(super) struct Trial {
    site: Site,
    handler: Handler,
}

impl Trial {
    pub(super) async fn new(lab: &Lab, base: &Base, bug: Option<Bug>) -> anyhow::Result<Self> {
        let handler = Handler::start().await?;
        let destination = "concurrency = 64\nretry = { base = \"50ms\", cap = \"100ms\" }";
        let mut site = Site::simple(lab, None, &handler.url(), destination)?;
        if let Some(bug) = bug {
            site = site.broken(lab, bug);
        }
        base.copy_to(site.database())?;
        Ok(Self { site, handler })
    }

    pub(super) fn database(&self) -> &Path {
        self.site.database()
    }

    /// Runs the gateway to its end: everything delivered, or a refusal.
    pub(super) async fn run(self, base: &Base, harm: &Harm, name: &str) -> anyhow::Result<Tally> {
        let mut tally = Tally::of(1);
        for _ in 0..STARTS {
            let began = Instant::now();
            match self.site.launch(PATIENCE).await {
                Err(error) => tally.violations.push(format!("neither ready nor ended: {error:#}")),
                Ok(Launch::Ended { status, said }) => {
                    tally.worst("refusal_ms", began.elapsed().as_secs_f64() * 1000.0);
                    refusal(&mut tally, status.code(), &said);
                    tally.count("refused to start", 1);
                }
                Ok(Launch::Ready(mut gateway)) => {
                    tally.worst("ready_ms", began.elapsed().as_secs_f64() * 1000.0);
                    let finding = self.drain(&mut gateway, base, harm, &mut tally).await?;
                    self.delivered(base, &mut tally);
                    panicked(&mut tally, &gateway.log());
                    let log = complaints(&gateway.log());
                    match finding {
                        Drained::Ended => continue,
                        Drained::Stands(why) => tally.violations.push(format!("{why}\n{log}")),
                        Drained::Flows => intake(&self.handler, &gateway, &mut tally).await?,
                    }
                    gateway.kill().await?;
                }
            }
            return Ok(named(tally, name));
        }
        tally.violations.push(format!("it ended {STARTS} times while it ran: a crash loop"));
        Ok(named(tally, name))
    }

    /// Waits until everything is delivered, or until what is missing is accounted for.
    async fn drain(
        &self,
        gateway: &mut Gateway,
        base: &Base,
        harm: &Harm,
        tally: &mut Tally,
    ) -> anyhow::Result<Drained> {
        let owed: BTreeSet<&str> =
            base.events.iter().filter(|(_, known)| !known.dead).map(|(id, _)| id.as_str()).collect();
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let (mut count, mut moved) = (0, Instant::now());
        loop {
            look.tick().await;
            if let Some(status) = gateway.has_ended()? {
                tally.count("ended while it ran", 1);
                if status.code().is_none() {
                    tally.violations.push(format!("it crashed: {status}\n{}", complaints(&gateway.log())));
                }
                return Ok(Drained::Ended);
            }
            if self.handler.count() != count {
                (count, moved) = (self.handler.count(), Instant::now());
            }
            let delivered = self.handler.delivered();
            let missing: Vec<&str> = owed.iter().copied().filter(|id| !delivered.contains_key(*id)).collect();
            if missing.is_empty() {
                tally.count("all delivered", 1);
                return Ok(Drained::Flows);
            }
            if moved.elapsed() < Duration::from_millis(100) {
                continue;
            }
            let told = Told::by(gateway).await;
            let is_still = moved.elapsed() > if told.at_rest { AT_REST } else { STILL };
            let is_over = told.at_rest || (told.damage > 0 && moved.elapsed() > ALARMED);
            if is_over && told.account(base, harm, &missing, tally) {
                return Ok(Drained::Flows);
            }
            if is_still {
                let some = missing.iter().take(3).copied().collect::<Vec<_>>().join(", ");
                return Ok(Drained::Stands(format!(
                    "{} of {} missing ({some}), and it stands still: {told}",
                    missing.len(),
                    owed.len()
                )));
            }
        }
    }

    /// What was delivered is what was sent.
    fn delivered(&self, base: &Base, tally: &mut Tally) {
        let mut journal = self.handler.journal();
        journal.retain(|it| it.event() != AFTER);
        tally.count("deliveries", journal.len() as u64);
        for received in journal {
            let id = received.event();
            let Some(known) = base.events.get(id) else {
                tally.violations.push(format!("delivered, never sent: `{id}`"));
                continue;
            };
            tally.check(received.body == body(id), || format!("delivered with another body: {id}"));
            let expected = [
                ("tenterhook-event-id", known.id.as_str()),
                ("webhook-id", known.id.as_str()),
                ("x-github-delivery", id),
                ("x-github-event", event_type(id)),
                ("tenterhook-event-type", event_type(id)),
                ("tenterhook-source", "github"),
                ("tenterhook-provider", "github"),
                ("tenterhook-original-url", "/webhooks/github"),
                ("tenterhook-replay-suspect", ""),
                ("content-type", "application/json"),
            ];
            for (name, value) in expected {
                let got = received.header(name);
                // Without a signing secret there is no `webhook-id`.
                let fits = got == value || (name == "webhook-id" && got.is_empty());
                tally.check(fits, || format!("{id} was delivered with {name}: `{got}`, not `{value}`"));
            }
        }
    }
}

enum Drained {
    Flows,
    Stands(String),
    Ended,
}

/// What the gateway says about its deliveries: in its lists as far as they can be read, and in its log.
struct Told {
    at_rest: bool,
    /// Quarantined: dead letters with the reason `corrupt`, by the gateway's id.
    corrupt: BTreeSet<String>,
    /// Lines of its log that say so of one delivery.
    alarms: u64,
    /// Lines that say that the store itself is damaged.
    damage: u64,
    /// Lines that say that the WAL was damaged.
    wal: u64,
    ledger: Value,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let alarms = self.alarms + self.damage + self.wal;
        write!(f, "{} corrupt, {alarms} alarms, ledger {}", self.corrupt.len(), self.ledger)
    }
}

impl Told {
    async fn by(gateway: &Gateway) -> Self {
        let ledger = gateway.admin("/api/v1/ledger").await.unwrap_or_default();
        let dead = gateway.admin("/api/v1/dead?limit=1000").await.unwrap_or_default();
        let deliveries = &ledger["deliveries"];
        let at_rest = deliveries["pending"] == 0 && deliveries["leased"] == 0;
        let of_dead = dead["items"].as_array().into_iter().flatten();
        let corrupt = of_dead.filter(|it| it["dead_reason"] == "corrupt");
        let corrupt = corrupt.filter_map(|it| Some(it["event"].as_str()?.to_owned())).collect();
        let log = gateway.log();
        let lines = |word: &str| log.lines().filter(|line| line.contains(word)).count() as u64;
        let damage = lines("\"store_damaged\"") + lines("\"store_ledger_mismatch\"");
        let (alarms, wal) = (lines("\"store_body_corrupt\""), lines("\"store_wal_damaged\""));
        Self { at_rest, corrupt, alarms, damage, wal, ledger }
    }

    /// Whether every missing event is accounted for, and how.
    fn account(&self, base: &Base, harm: &Harm, missing: &[&str], tally: &mut Tally) -> bool {
        let ours = |id: &str| base.events.get(id).map(|known| known.id.clone()).unwrap_or_default();
        let (quarantined, untold): (Vec<&str>, Vec<&str>) =
            missing.iter().partition(|id| self.corrupt.contains(&ours(id)));
        // A delivery whose own reference is damaged is quarantined under the id that it has now.
        let known: BTreeSet<&str> = base.events.values().map(|known| known.id.as_str()).collect();
        let strangers = self.corrupt.iter().filter(|id| !known.contains(id.as_str())).count();
        let lost_with_wal = harm.in_wal && is_tail(base, &untold);
        let alarmed = !harm.in_wal && self.damage > 0;
        if untold.len() > strangers && !lost_with_wal && !alarmed {
            return false;
        }
        tally.check(self.alarms >= self.corrupt.len() as u64, || {
            format!("{} are quarantined, {} alarms", self.corrupt.len(), self.alarms)
        });
        tally.count("quarantined, with an alarm", (quarantined.len() + strangers) as u64);
        let lost = untold.len().saturating_sub(strangers) as u64;
        let how = match (alarmed, self.wal > 0) {
            (true, _) => "missing with an alarm of damaged rows",
            (false, true) => "lost with the end of a damaged WAL, with an alarm",
            (false, false) => "lost with the end of a damaged WAL, unnoticed",
        };
        if lost > 0 {
            tally.count(how, lost);
            tally.count(&format!("trials: {how}"), 1);
        }
        true
    }
}

/// Whether these are the newest of all: what a WAL loses that ends earlier.
fn is_tail(base: &Base, ids: &[&str]) -> bool {
    let lost: BTreeSet<&str> =
        ids.iter().filter_map(|id| base.events.get(*id)).map(|it| it.id.as_str()).collect();
    let Some(oldest) = lost.first() else { return true };
    base.events.values().filter(|it| it.id.as_str() >= *oldest).count() == lost.len()
}

/// A refusal has a code and a message, and says what to do.
fn refusal(tally: &mut Tally, code: Option<i32>, said: &str) {
    let typed = matches!(code, Some(2 | 70)) && said.contains("error: ") && said.contains("hint: ");
    tally.check(typed, || format!("a refusal that does not help: {code:?}, {said}"));
    panicked(tally, said);
}

fn panicked(tally: &mut Tally, log: &str) {
    let line = log.lines().find(|line| line.contains("panicked"));
    tally.check(line.is_none(), || format!("it panicked: {}", line.unwrap_or_default()));
}

/// A new event is taken and delivered.
async fn intake(handler: &Handler, gateway: &Gateway, tally: &mut Tally) -> anyhow::Result<()> {
    let id = AFTER;
    let sender = Sender::new()?;
    let began = Instant::now();
    let mut answer = None;
    while began.elapsed() < PATIENCE {
        answer = sender.send(&gateway.at, id, &body(id), PATIENCE).await;
        if matches!(answer, Some((200..300, _))) && handler.delivered().contains_key(id) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = complaints(&gateway.log());
    tally.violations.push(format!("a new event is not taken and delivered any more: {answer:?}\n{log}"));
    Ok(())
}

fn named(mut tally: Tally, name: &str) -> Tally {
    for violation in &mut tally.violations {
        *violation = format!("{name}: {violation}");
    }
    tally
}

/// The first lines of a log that are about trouble.
fn complaints(log: &str) -> String {
    let is_trouble = |line: &&str| !line.contains("\"level\":\"INFO\"");
    log.lines().filter(is_trouble).take(6).collect::<Vec<_>>().join("\n")
}
