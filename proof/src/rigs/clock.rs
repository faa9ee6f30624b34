//! The wall clock jumps while deliveries wait for their next attempt, and the gateway is restarted in the middle of it.
//! `wall` is the gateway's wall clock, `peers` the sender and the handler with their monotonic journal, `timing` says
//! when each attempt was due.

mod peers;
mod timing;
mod wall;

use std::time::{Duration, Instant, SystemTime};

use futures_util::future::try_join_all;
use serde_json::Value;

use crate::broken::Bug;
use crate::lab::{Gateway, Lab, PATIENCE, SECRET, Site, until};
use crate::rig::{Kind, Part, Rig, Tally};
use peers::{Clocked, Source, send};
use wall::{Step, Wall};

/// Steps in one round, on one store.
const STEPS: u64 = 4;
/// Events that wait while the clock is stepped.
const EVENTS: usize = 12;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let control = |name, run| Part { name, unit: "steps", ci: 4, full: 40, kind: Kind::Control(0.9), run };
    Rig {
        name: "clock",
        about: "the wall clock steps or drifts, also over a restart, while retries wait",
        promises: &["R13"],
        missing: wall::missing,
        parts: vec![
            // libfaketime ends a process whose allocator asks for the time before main: so the gateway's parts run in
            // this program, which has the system's allocator.
            Part {
                name: "steps",
                unit: "steps",
                ci: 12,
                full: 500,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(round(lab, seed, Bug::Nothing)),
            },
            control("control-early-retry", |lab, seed| Box::pin(round(lab, seed, Bug::EarlyRetry))),
            control("control-wall-clock", |lab, seed| Box::pin(round(lab, seed, Bug::WallClock))),
        ],
    }
}

async fn round(lab: Lab, seed: u64, bug: Bug) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let stall = timing::Stall::watch();
    let mut stage = Stage::new(&lab, bug).await?;
    let mut gateway = stage.start().await?;
    let mut tally = Tally::default();
    for number in 0..STEPS {
        let step = Step::random(&mut random, stage.wall.now());
        let restart = random.u8(..3) == 0;
        let prefix = format!("{seed}-{number}-");
        gateway = stage.step(gateway, step, restart, &prefix, &mut random, &mut tally).await?;
        tally.done += 1;
    }
    stage.wall.set(Step::Truth)?;
    stage.signatures(&gateway, &format!("{seed}-end-"), &mut tally).await?;
    settled(&gateway).await?;
    gateway.kill().await?;
    tally.worst("stall_of_the_machine_ms", stall.worst().as_secs_f64() * 1000.0);
    timing::judge(&stage.handler.journal(), &stage.starts, stall.worst(), &mut tally);
    Ok(tally)
}

/// One gateway with its store, its peers and its wall clock.
struct Stage {
    site: Site,
    wall: Wall,
    handler: Clocked,
    /// When each process was started, and when it was ready.
    starts: Vec<(Instant, Instant)>,
    /// Where the wall clock was when the present process read it.
    base: Step,
    /// Ids that have to be known.
    known: Vec<String>,
}

impl Stage {
    async fn new(lab: &Lab, bug: Bug) -> anyhow::Result<Self> {
        let (handler, wall) = (Clocked::start().await?, Wall::new()?);
        let (base_ms, cap_ms) = (timing::BASE.as_millis(), timing::CAP.as_millis());
        let config = format!(
            "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
             [sources.stripe]\nprovider = \"stripe\"\nsecrets = [\"env:RIG_SECRET\"]\n\
             [destinations.app]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 64\n\
             breaker = {{ failures = 100000 }}\nretry = {{ base = \"{base_ms}ms\", cap = \"{cap_ms}ms\" }}\n\
             [[routes]]\nsource = \"github\"\ndestination = \"app\"\n\
             [[routes]]\nsource = \"stripe\"\ndestination = \"app\"\n",
            handler.url()
        );
        let mut site = Site::new(lab, None, "", &config)?.env("RIG_SECRET", SECRET).broken(lab, bug);
        for (name, value) in wall.environment() {
            site = site.env(name, value);
        }
        Ok(Self { site, wall, handler, starts: Vec::new(), base: Step::Truth, known: Vec::new() })
    }

    async fn start(&mut self) -> anyhow::Result<Gateway> {
        let began = Instant::now();
        let gateway = self.site.start().await?;
        self.wall.lived_by(gateway.pid()?);
        self.starts.push((began, Instant::now()));
        self.base = self.wall.now();
        Ok(gateway)
    }

    /// Events arrive and fail; in the middle of their backoff the clock is stepped; then everything goes on.
    async fn step(
        &mut self,
        mut gateway: Gateway,
        step: Step,
        restart: bool,
        prefix: &str,
        random: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> anyhow::Result<Gateway> {
        self.arrive(&gateway, prefix, tally).await?;
        let enough = || {
            let tried = self.handler.first_answers(prefix).len();
            async move { Ok((tried >= EVENTS).then_some(())) }
        };
        until("every event is tried once", PATIENCE, enough).await?;
        gateway.ledger_when("no attempt is under way", |it| it["deliveries"]["leased"] == 0).await?;
        tokio::time::sleep(Duration::from_millis(random.u64(..200))).await;

        self.wall.set(step)?;
        if restart && self.is_in_backoff(prefix) {
            gateway.kill().await?;
            gateway = self.start().await?;
            tally.count("restarts in mid-backoff", 1);
        }
        self.signatures(&gateway, prefix, tally).await?;
        self.duplicates(&gateway, random, tally).await?;
        settled(&gateway).await?;
        tally.count(step.name(), 1);
        Ok(gateway)
    }

    /// New events, all at once.
    async fn arrive(&mut self, gateway: &Gateway, prefix: &str, tally: &mut Tally) -> anyhow::Result<()> {
        let ids: Vec<String> = (0..EVENTS).map(|number| format!("{prefix}{number}")).collect();
        let now = SystemTime::now();
        let sends = ids.iter().map(|id| send(&gateway.at, Source::Github, id, now));
        for (id, (status, word)) in ids.iter().zip(try_join_all(sends).await?) {
            tally.check(status == 202, || format!("{id} is new, and was answered {status} {word}"));
        }
        self.known.extend(ids);
        Ok(())
    }

    /// Whether none of these can be due for a while: an attempt that a kill cuts off has no outcome, and is rightly
    /// repeated at once.
    fn is_in_backoff(&self, prefix: &str) -> bool {
        let first = self.handler.first_answers(prefix).into_iter().min();
        first.is_some_and(|first| first.elapsed() < timing::BASE.mul_f64(0.8) - Duration::from_millis(250))
    }

    /// What was signed at the true time is refused while the clock is off by more than the five minutes that Stripe
    /// allows, and what was signed by that clock is accepted.
    async fn signatures(&self, gateway: &Gateway, prefix: &str, tally: &mut Tally) -> anyhow::Result<()> {
        let is_right = self.wall.now().ahead_s().abs() <= 300;
        let cases = [("true", SystemTime::now(), is_right), ("shown", self.wall.time(), true)];
        for (name, at, is_accepted) in cases {
            let id = format!("{prefix}signed-{name}");
            let (status, _) = send(&gateway.at, Source::Stripe, &id, at).await?;
            let wanted = if is_accepted { 202 } else { 400 };
            tally.check(status == wanted, || {
                let (now, base) = (self.wall.now(), self.base);
                format!("{id}: {status}, not {wanted}, with the clock at {now:?} (at start: {base:?})")
            });
            tally.count(if is_accepted { "signatures accepted" } else { "signatures refused" }, 1);
        }
        Ok(())
    }

    /// Whatever happened to the clock, what is known stays known.
    async fn duplicates(
        &self,
        gateway: &Gateway,
        random: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let some = (0..3).filter_map(|_| random.choice(&self.known)).chain(self.known.first());
        for id in some {
            let (status, word) = send(&gateway.at, Source::Github, id, SystemTime::now()).await?;
            let is_known = (status, word.as_str()) == (200, "duplicate");
            tally.check(is_known, || format!("{id} came again, and was answered {status} {word}"));
            tally.count("duplicates recognised", u64::from(is_known));
        }
        Ok(())
    }
}

async fn settled(gateway: &Gateway) -> anyhow::Result<Value> {
    let at_rest = |it: &Value| it["deliveries"]["pending"] == 0 && it["deliveries"]["leased"] == 0;
    gateway.ledger_when("everything is delivered", at_rest).await
}
