//! The gateway's processes in a simulated world: real ingress, real dispatcher, the disk between them. They start, are
//! reloaded, die and are started again. What becomes of events is not known here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenterhook::destination::Destination;
use tenterhook::dispatcher::{Dispatcher, LanePolicy};
use tenterhook::ingress::{Generation, Ingress};
use tenterhook::model::{
    Clock, DeadReason, DeliveryState, DestinationName, Outcome, Reply, Settlement, Timestamp, Verdict,
};
use tenterhook::ops::Ops;
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{DeliveryQuery, DeliverySummary, Selection, Store};
use tenterhook::telemetry::metrics::Metrics;
use tenterhook::telemetry::rejections::Rejections;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::book::Stand;
use super::bug::Bug;
use super::bugged::Bugged;
use super::disk::{Disk, id_of};
use super::handler::{Handler, Mood};
use super::handout::Handout;
use super::settings::{DESTINATIONS, destination, secret};
use super::world::{Numbers, ProcessClock, World, lock};

/// The grace of a stop.
const GRACE: Duration = Duration::from_secs(25);

/// Where the gateway runs.
pub(super) struct Site {
    pub(super) world: Arc<World>,
    pub(super) disk: Arc<MemoryStore>,
    metrics: Arc<Metrics>,
    moods: [Arc<Mood>; 3],
    config: Mutex<Config>,
    process: Mutex<Option<Arc<Process>>>,
    /// The clock of the latest process.
    last_clock: Mutex<Option<Arc<ProcessClock>>>,
    seeds: Numbers,
    /// Of events that a flood brings.
    pub(super) numbers: Numbers,
    /// Bugs that remember something.
    pub(super) memory: Arc<super::bug::Memory>,
}

/// What a reload changes.
struct Config {
    /// The first is what senders sign with, once they know.
    secrets: Vec<u64>,
    senders: u64,
    removed: [bool; 3],
}

/// One process.
pub(super) struct Process {
    pub(super) ingress: Arc<Ingress>,
    pub(super) ops: Ops,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ProcessClock>,
    /// Cancelled when it is dead.
    pub(super) dead: CancellationToken,
    handout: Arc<Mutex<Arc<Handout>>>,
    worker: Mutex<Worker>,
}

/// The dispatcher of a process, which can be lost alone.
struct Worker {
    dispatcher: Arc<Dispatcher>,
    part: CancellationToken,
    stop: CancellationToken,
    run: Option<JoinHandle<()>>,
}

impl Site {
    /// An empty disk and no process.
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(ProcessClock::start(world));
        Arc::new(Self {
            world: Arc::clone(world),
            disk: Arc::new(MemoryStore::new(clock)),
            metrics: Arc::new(Metrics::new()),
            moods: Default::default(),
            config: Mutex::new(Config { secrets: vec![0], senders: 0, removed: [false; 3] }),
            process: Mutex::default(),
            last_clock: Mutex::default(),
            seeds: Numbers::default(),
            numbers: Numbers::default(),
            memory: Arc::default(),
        })
    }

    /// The process, if one runs.
    pub(super) fn process(&self) -> Option<Arc<Process>> {
        lock(&self.process).clone().filter(|process| !process.dead.is_cancelled())
    }

    /// Asks a process something; `None` where there is none, or it dies over it.
    pub(super) async fn ask<T, F: Future<Output = T>>(
        &self,
        what: impl FnOnce(Arc<Process>) -> F,
    ) -> Option<T> {
        let process = self.process()?;
        let dead = process.dead.clone();
        dead.run_until_cancelled(what(process)).await
    }

    /// The secret that senders sign with.
    pub(super) fn sender_secret(&self) -> String {
        secret(lock(&self.config).senders)
    }

    /// A secret that is not, or no more, good for anything.
    pub(super) fn retired_secret(&self) -> String {
        let oldest = lock(&self.config).secrets.iter().min().copied().unwrap_or_default();
        secret(oldest.checked_sub(1).unwrap_or(99))
    }

    /// Starts a process on the disk as it is.
    pub(super) async fn start(&self) -> anyhow::Result<()> {
        let clock = Arc::new(ProcessClock::start(&self.world));
        let dead = CancellationToken::new();
        let last = lock(&self.last_clock).replace(Arc::clone(&clock));
        self.world.book().new_process(clock.now(), last.map(|last| last.now()));
        self.reopen(&clock).await;
        let handout = Arc::new(Mutex::new(Handout::new()));
        let store = self.store(&clock, &dead, &dead, &handout);
        let ingress = Ingress::new(
            Arc::clone(&store),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&self.metrics),
            Arc::new(Rejections::default()),
            self.generation()?,
        );
        let ops = Ops::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Clock>);
        let worker = Mutex::new(self.worker(&clock, &dead, &handout));
        *lock(&self.process) = Some(Arc::new(Process { ingress, ops, store, clock, dead, handout, worker }));
        self.world.trace("process starts", 0, 0);
        Ok(())
    }

    /// What opening the embedded store does: the leases of the former process end, and those count that were begun.
    async fn reopen(&self, clock: &ProcessClock) {
        let now = clock.now();
        let selection = Selection { state: Some(DeliveryState::Leased), ..Selection::default() };
        let Ok(leased) = self.disk.deliveries(DeliveryQuery { selection, after: None }).await else { return };
        let begun_until = [0, 1, 2].map(|index| self.begun_until(index, &leased.items));
        for row in leased.items {
            let id = id_of(&row.id);
            let is_begun = begun_until[id.1].is_none_or(|until| row.at <= until);
            let spent = self.world.book().deliveries.get(&id).map_or(0, |delivery| delivery.spent);
            let dead = is_begun && spent >= self.world.settings.retry.attempts_max;
            let verdict = if dead {
                Verdict::DeadLetter { reason: DeadReason::LeaseExpired }
            } else if is_begun {
                Verdict::Retry { at: now }
            } else {
                Verdict::Release { at: now }
            };
            let took = Duration::ZERO;
            let reply = Reply {
                outcome: Outcome::NotTried,
                status: None,
                excerpt: "the process died".to_owned(),
                result: None,
                took,
            };
            let settlement =
                Settlement { delivery: row.id, attempt: row.attempts, started_at: now, reply, verdict };
            let _ = self.disk.settle(vec![settlement]).await;
            let mut book = self.world.book();
            if let Some(delivery) = book.deliveries.get_mut(&id).filter(|it| it.stand == Stand::Leased) {
                delivery.reopened(&self.world, &id, dead, is_begun, now);
            }
        }
    }

    /// The end of the last lease of a destination that can have been begun, where there are more.
    fn begun_until(&self, index: usize, leased: &[DeliverySummary]) -> Option<Timestamp> {
        let of_lane = leased.iter().filter(|row| row.id.destination == destination(index));
        let mut ends: Vec<_> = of_lane.map(|row| row.at).collect();
        ends.sort_unstable();
        ends.get(self.world.settings.lane(index).begun_max() as usize - 1).copied()
    }

    fn store(
        &self,
        clock: &Arc<ProcessClock>,
        process: &CancellationToken,
        part: &CancellationToken,
        handout: &Arc<Mutex<Arc<Handout>>>,
    ) -> Arc<dyn Store> {
        let disk: Arc<dyn Store> = Arc::new(Disk {
            world: Arc::clone(&self.world),
            inner: Arc::clone(&self.disk),
            clock: Arc::clone(clock),
            part: part.clone(),
            process: process.clone(),
            doubts: self.world.bug.is_none_or(Bug::doubts_clocks),
            handout: Arc::clone(handout),
        });
        match self.world.bug {
            None => disk,
            Some(bug) => Arc::new(Bugged::over(disk, Arc::clone(&self.disk), bug, &self.world, &self.memory)),
        }
    }

    fn worker(
        &self,
        clock: &Arc<ProcessClock>,
        process: &CancellationToken,
        handout: &Arc<Mutex<Arc<Handout>>>,
    ) -> Worker {
        let (part, stop) = (process.child_token(), CancellationToken::new());
        let dispatcher = Dispatcher::new(
            self.store(clock, process, &part, handout),
            Arc::clone(clock) as Arc<dyn Clock>,
            Arc::clone(&self.metrics),
            self.world.rng().u64(..).wrapping_add(self.seeds.next()),
        );
        dispatcher.set_destinations(self.destinations(clock, &part));
        let run = tokio::spawn(Arc::clone(&dispatcher).run(stop.clone(), GRACE));
        // What is dead is swept away: a second stop, without any grace, drops its attempts.
        let (swept, over, first) = (Arc::clone(&dispatcher), part.clone(), run.abort_handle());
        tokio::spawn(async move {
            over.cancelled().await;
            first.abort();
            let now = CancellationToken::new();
            now.cancel();
            swept.run(now, Duration::ZERO).await;
        });
        self.world.book().excuse(clock.now());
        Worker { dispatcher, part, stop, run: Some(run) }
    }

    fn destinations(
        &self,
        clock: &Arc<ProcessClock>,
        part: &CancellationToken,
    ) -> BTreeMap<DestinationName, (Arc<dyn Destination>, LanePolicy)> {
        let removed = lock(&self.config).removed;
        let kept = (0..DESTINATIONS.len()).filter(|index| !removed[*index]);
        kept.map(|index| {
            let handler = Handler {
                world: Arc::clone(&self.world),
                clock: Arc::clone(clock),
                part: part.clone(),
                index,
                mood: Arc::clone(&self.moods[index]),
            };
            let handler: Arc<dyn Destination> = Arc::new(handler);
            let handler = match self.world.bug {
                None => handler,
                Some(bug) => bug.around_handler(handler),
            };
            (destination(index), (handler, self.world.settings.lane(index)))
        })
        .collect()
    }

    fn generation(&self) -> anyhow::Result<Generation> {
        let mut secrets: Vec<_> = lock(&self.config).secrets.iter().map(|number| secret(*number)).collect();
        if let Some(bug) = self.world.bug {
            bug.around_secrets(&mut secrets);
        }
        self.world.settings.generation(&secrets)
    }

    /// Puts a changed config into place, as a reload does: destinations first, then sources.
    pub(super) fn reload(&self) -> anyhow::Result<()> {
        let Some(process) = self.process() else { return Ok(()) };
        let worker = lock(&process.worker);
        worker.dispatcher.set_destinations(self.destinations(&process.clock, &worker.part));
        process.ingress.set_generation(self.generation()?);
        self.world.book().excuse(process.clock.now());
        Ok(())
    }

    /// A new secret beside the old ones; senders still sign with the old one.
    pub(super) fn add_secret(&self) {
        let mut config = lock(&self.config);
        let next = config.secrets.iter().max().copied().unwrap_or_default() + 1;
        config.secrets.insert(0, next);
    }

    /// Senders learn of the newest secret.
    pub(super) fn tell_senders(&self) {
        let mut config = lock(&self.config);
        config.senders = config.secrets.iter().max().copied().unwrap_or_default();
    }

    /// Only what senders sign with counts from the next reload on.
    pub(super) fn retire_secrets(&self) {
        let mut config = lock(&self.config);
        config.secrets = vec![config.senders];
    }

    /// Takes a destination out of the config, or puts it back.
    pub(super) fn set_removed(&self, index: usize, removed: bool) {
        lock(&self.config).removed[index] = removed;
    }

    /// The process dies.
    pub(super) fn crash(&self) {
        if let Some(process) = self.process() {
            process.dead.cancel();
            self.world.book().nobody_knows(None);
            self.world.trace("process dies", 0, 0);
        }
    }

    /// Its dispatcher dies and a new one takes its place, on a store that stays open: the leases have to run out.
    pub(super) fn lose_worker(&self) {
        let Some(process) = self.process() else { return };
        let mut worker = lock(&process.worker);
        worker.part.cancel();
        self.world.book().nobody_knows(None);
        *lock(&process.handout) = Handout::new();
        *worker = self.worker(&process.clock, &process.dead, &process.handout);
    }

    /// Stops the process as SIGTERM does: requests first, then attempts, each within the grace.
    pub(super) async fn stop(&self) {
        let Some(process) = lock(&self.process).take() else { return };
        // Nobody can begin a request any more; those under way are given the time that a commit may take.
        tokio::time::sleep(super::settings::COMMIT_TIMEOUT).await;
        let (run, stop) = {
            let mut worker = lock(&process.worker);
            (worker.run.take(), worker.stop.clone())
        };
        stop.cancel();
        if let Some(run) = run {
            let _ = run.await;
        }
        if !process.dead.is_cancelled() {
            process.dead.cancel();
            self.world.book().nobody_knows(None);
        }
    }

    /// Starts a process again and again where one died, until the world ends.
    pub(super) async fn supervise(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            let down = self.process().map(|process| process.dead.clone());
            match down {
                Some(dead) => {
                    dead.cancelled().await;
                    let rest = self.world.between(100, 20_000);
                    tokio::time::sleep(rest).await;
                }
                None => self.start().await?,
            }
        }
    }
}
