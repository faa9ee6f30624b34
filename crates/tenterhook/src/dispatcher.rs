//! The dispatcher: leases what is due, delivers, judges, settles. Knows stores and destinations only as traits; knows
//! nothing of ingress, of the config or of the kind it delivers to.
//!
//! One loop takes leases; each attempt is a task of its own. The loop sleeps until the store has work, a lane has room
//! again, something falls due, or the lanes were replaced. A lane that must not try (full, open, paused) is not leased
//! for, so waiting costs no attempts.

mod ahead;
mod attempt;
mod callers;
pub mod lane;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::destination::Destination;
use crate::model::{BreakerState, Clock, DestinationName, Heard, LaneView, Lease, Timestamp};
use crate::policy::backoff::RetryPolicy;
use crate::policy::breaker::BreakerPolicy;
use crate::policy::limit::RatePolicy;
use crate::store::{Demand, LaneDemand, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use callers::Callers;
use lane::{Lane, Wish};

/// Bodies in memory for attempts under way, over all lanes, in bytes. One attempt is always allowed.
const IN_FLIGHT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bodies that one call leases at most, so that no lane takes the whole room at once, in bytes.
const LEASED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The loop looks around at least this often, whatever it was told.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long the loop rests after the store refused a lease: doubled from the first to the second.
const STORE_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How one destination is delivered to.
#[derive(Clone, Debug)]
pub struct LanePolicy {
    /// Attempts at the same time.
    pub concurrency: u32,
    /// Attempts per second.
    pub rate: Option<RatePolicy>,
    /// The destination's own timeout; a lease lasts 10 s longer.
    pub timeout: Duration,
    /// When to retry.
    pub retry: RetryPolicy,
    /// Whether to try at all.
    pub breaker: BreakerPolicy,
    /// Events per attempt; 1 for a destination without batches.
    pub batch_max: u32,
}

impl LanePolicy {
    /// Deliveries that can be begun and not settled at the same time: those of the attempts under way, and those of as
    /// many whose settlement is not durable yet. What is leased beyond waits for a place.
    #[must_use]
    pub fn begun_max(&self) -> u32 {
        self.concurrency.max(1).saturating_mul(self.batch_max.max(1)).saturating_mul(2)
    }
}

/// The dispatcher. Cheap to share.
pub struct Dispatcher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lanes: Mutex<BTreeMap<DestinationName, Arc<Lane>>>,
    rng: Mutex<fastrand::Rng>,
    /// A lane has room again, or the lanes were replaced.
    changed: Notify,
    in_flight_bytes: AtomicU64,
    /// Attempts whose settlement the store could not take yet. While there are any, nothing is leased: a lease whose
    /// end was noticed before its settlement arrived would deliver again what is delivered.
    owing: AtomicUsize,
    attempts: TaskTracker,
    /// Who waits for the first attempt of a delivery.
    callers: Arc<Callers>,
    /// Cancelled when the grace of a stop is over.
    abandoned: CancellationToken,
}

impl Dispatcher {
    /// A dispatcher without lanes. `seed` feeds the jitter.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            metrics,
            lanes: Mutex::default(),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            changed: Notify::new(),
            in_flight_bytes: AtomicU64::new(0),
            owing: AtomicUsize::new(0),
            attempts: TaskTracker::new(),
            callers: Arc::default(),
            abandoned: CancellationToken::new(),
        })
    }

    /// Puts these destinations in place of the present ones. A lane that stays keeps its breaker, its pauses and what is
    /// under way; one that goes leases no more, and what is under way ends as it would have.
    pub fn set_destinations(
        self: &Arc<Self>,
        destinations: BTreeMap<DestinationName, (Arc<dyn Destination>, LanePolicy)>,
    ) {
        let now = self.clock.now();
        let mut lanes = self.by_name();
        let mut next = BTreeMap::new();
        for (name, (destination, policy)) in destinations {
            let lane = match lanes.remove(&name) {
                Some(lane) => {
                    lane.replace(destination, policy, now);
                    lane
                }
                None => Arc::new(Lane::new(name.clone(), destination, policy, now)),
            };
            next.insert(name, lane);
        }
        let unwanted: Vec<_> = lanes.values().flat_map(|gone| gone.close()).collect();
        lanes.keys().for_each(|gone| self.callers.close(gone));
        self.store.stand_by(next.values().map(|lane| lane.standby()).collect());
        *lanes = next;
        let stay: Vec<_> = lanes.values().cloned().collect();
        drop(lanes);
        self.give_back(unwanted, "the destination was removed from the config");
        stay.iter().for_each(|lane| self.go_on(lane));
        self.changed.notify_one();
    }

    /// Every lane as it stands now.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneView> {
        let now = self.clock.now();
        self.by_name().values().map(|lane| lane.view(now)).collect()
    }

    /// Waits for the first attempt to deliver what the request with this correlation id brings; asked before that is stored.
    /// The attempt is one like every other, in its turn; whoever drops this stops to wait, and changes nothing. `None`
    /// where the destination is not tried now: its breaker is not closed, its lane rests, or it is gone.
    pub fn listen(
        &self,
        destination: &DestinationName,
        correlation_id: &str,
    ) -> Option<impl Future<Output = Option<Heard>> + Send + use<>> {
        let lane = self.by_name().get(destination).cloned()?;
        // In this order: a lane that closes from here on tells whoever has entered.
        let place = self.callers.enter(destination, correlation_id);
        lane.is_open(self.clock.now()).then(|| place.heard())
    }

    /// Runs until `stop`; then takes no more leases and returns when every attempt under way is settled, or when
    /// `grace` is over. What is abandoned then is delivered again after the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, grace: Duration) {
        let whole = async {
            self.lease_and_spawn(&stop).await;
            self.attempts.close();
            self.attempts.wait().await;
        };
        let grace_over = async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = whole => {}
            () = grace_over => {
                tracing::warn!(attempts = self.attempts.len(), "attempts_abandoned");
                self.abandoned.cancel();
            }
        }
    }

    /// Leases until `stop`. A lease that is being taken is waited for: dropped, it would spend an attempt that nobody
    /// makes.
    async fn lease_and_spawn(self: &Arc<Self>, stop: &CancellationToken) {
        let mut work = self.store.work();
        let mut handed = self.store.handed_out();
        let mut rest = STORE_BACKOFF.0;
        while !stop.is_cancelled() {
            // What is committed from here on wakes the loop again: nothing falls between looking and sleeping.
            work.mark_unchanged();
            let mut wake = self.clock.now().plus(LOOK_EVERY);
            match self.lease(&mut wake).await {
                Ok((leases, drained)) => {
                    rest = STORE_BACKOFF.0;
                    if !leases.is_empty() {
                        // The store bounds what one call returns: ask again before sleeping.
                        self.changed.notify_one();
                    }
                    self.spawn(leases);
                    let lanes = self.by_name();
                    drained.iter().filter_map(|name| lanes.get(name)).for_each(|lane| lane.drained());
                }
                Err(error) => {
                    tracing::warn!(error = %error, "lease_failed");
                    stop.run_until_cancelled(tokio::time::sleep(rest)).await;
                    rest = (rest * 2).min(STORE_BACKOFF.1);
                    continue;
                }
            }
            // What is handed out meanwhile is tried at once, and is no reason to ask.
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    changed = work.changed() => if changed.is_err() { return stop.cancelled().await } else { break },
                    () = self.changed.notified() => break,
                    () = self.sleep_until(wake) => break,
                    Some(lease) = next(&mut handed) => {
                        // Should nobody settle it, its end has to be noticed.
                        wake = lease.until.min(wake);
                        self.spawn_handed(lease);
                    }
                }
            }
        }
        self.return_handed(handed).await;
    }

    /// At the end: nothing more is lent, and what was handed out already waits for the next start.
    async fn return_handed(self: &Arc<Self>, handed: Option<UnboundedReceiver<Lease>>) {
        let mut leases: Vec<_> = self.by_name().values().flat_map(|lane| lane.close()).collect();
        if let Some(mut handed) = handed {
            handed.close();
            while let Some(lease) = handed.recv().await {
                leases.push(lease);
            }
        }
        if !leases.is_empty() {
            attempt::give_back(self, leases, "the gateway is stopping").await;
        }
    }

    /// Asks the store for as much as the lanes may try now, and lends it what is left. Moves `wake` to when it is worth asking again.
    async fn lease(&self, wake: &mut Timestamp) -> Result<(Vec<Lease>, Vec<DestinationName>), StoreError> {
        let now = self.clock.now();
        let (mut leases, mut drained) = (Vec::new(), Vec::new());
        for demand in self.demands(wake, now) {
            let asked: Vec<_> = demand.lanes.iter().map(|lane| lane.destination.clone()).collect();
            let leased = match self.store.lease(demand).await {
                Ok(leased) => leased,
                // What is taken already is tried; the next look meets the trouble again.
                Err(_) if !leases.is_empty() => break,
                Err(error) => return Err(error),
            };
            if let Some(due) = leased.next_due {
                *wake = due.min(*wake);
            }
            for delivery in &leased.found_dead {
                tracing::error!(id = %delivery.event, destination = %delivery.destination, "webhook_moved_to_dlq");
            }
            // One lease is always allowed, so where there is none nothing is due.
            if leased.leases.is_empty() && leased.found_dead.is_empty() {
                drained.extend(asked);
            }
            leases.extend(leased.leases);
        }
        Ok((leases, drained))
    }

    /// One demand for all lanes. Where there is no room for bodies left, an idle lane may still take one delivery: slow
    /// receivers of large bodies must not stop the others.
    fn demands(&self, wake: &mut Timestamp, now: Timestamp) -> Vec<Demand> {
        if self.owing.load(Ordering::SeqCst) > 0 {
            self.by_name().values().for_each(|lane| lane.take_back());
            return Vec::new();
        }
        let ahead: u64 = self.by_name().values().map(|lane| lane.ahead_bytes()).sum();
        let in_memory = self.in_flight_bytes.load(Ordering::SeqCst) + ahead;
        let room = IN_FLIGHT_BYTES_MAX.saturating_sub(in_memory);
        let mut lanes = Vec::new();
        for lane in self.by_name().values() {
            match lane.wish(now) {
                Wish::Lease(demand) if room > 0 => lanes.push(demand),
                Wish::Lease(demand) if lane.is_idle() => lanes.push(LaneDemand { limit: 1, ..demand }),
                Wish::NotBefore(at) => *wake = at.min(*wake),
                Wish::Lease(_) | Wish::Nothing => {}
            }
        }
        if lanes.is_empty() {
            return Vec::new();
        }
        if room > 0 {
            return vec![Demand { lanes, bytes_max: room.min(LEASED_BYTES_MAX), now }];
        }
        lanes.into_iter().map(|lane| Demand { lanes: vec![lane], bytes_max: 0, now }).collect()
    }

    /// Starts the attempts: one a lease, or one a batch where the destination takes batches.
    fn spawn(self: &Arc<Self>, leases: Vec<Lease>) {
        let now = self.clock.now();
        let mut by_lane: BTreeMap<DestinationName, Vec<Lease>> = BTreeMap::new();
        for lease in leases {
            by_lane.entry(lease.delivery.destination.clone()).or_default().push(lease);
        }
        for (name, leases) in by_lane {
            let Some(lane) = self.by_name().get(&name).cloned() else {
                // The lane was replaced away while its leases were taken.
                self.give_back(leases, "the destination was removed from the config");
                continue;
            };
            for batch in lane.begin(leases, now) {
                self.spawn_batch(&lane, batch);
            }
            self.go_on(&lane);
        }
        self.show_breakers();
    }

    /// Starts what waits for a place in a lane and has one now.
    fn go_on(self: &Arc<Self>, lane: &Arc<Lane>) {
        self.give_back(lane.unwanted(self.clock.now()), "the destination takes no more for now");
        while let Some(batch) = lane.next() {
            self.spawn_batch(lane, batch);
        }
    }

    fn spawn_batch(self: &Arc<Self>, lane: &Arc<Lane>, batch: lane::Batch) {
        let mut slot = Slot::take(self, lane, batch.bytes());
        self.start(async move { attempt::attempt(&mut slot, batch).await });
    }

    fn give_back(self: &Arc<Self>, leases: Vec<Lease>, why: &'static str) {
        if !leases.is_empty() {
            let dispatcher = Arc::clone(self);
            self.start(async move { attempt::give_back(&dispatcher, leases, why).await });
        }
    }

    /// Starts the attempt of a lease that the store took by itself.
    fn spawn_handed(self: &Arc<Self>, lease: Lease) {
        let lane = self.by_name().get(&lease.delivery.destination).cloned();
        let Some(lane) = lane else { return self.spawn(vec![lease]) };
        lane.take_handed(lease);
        self.go_on(&lane);
    }

    fn look(&self, look: lane::Look) {
        if look.0 {
            self.changed.notify_one();
        }
    }

    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abandoned = self.abandoned.clone();
        self.attempts.spawn(async move { abandoned.run_until_cancelled_owned(task).await });
    }

    fn show_breakers(&self) {
        for lane in self.by_name().values() {
            let state = match lane.breaker() {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            };
            self.metrics.breaker_state(lane.name(), state);
        }
    }

    async fn sleep_until(&self, at: Timestamp) {
        // Timers tick in milliseconds, as timestamps do; one more makes "never early" true of both.
        let rest = at.since(self.clock.now());
        if rest > Duration::ZERO {
            tokio::time::sleep(rest + Duration::from_millis(1)).await;
        }
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<DestinationName, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rng(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next lease that the store hands out; never one where it does not.
async fn next(handed: &mut Option<UnboundedReceiver<Lease>>) -> Option<Lease> {
    match handed {
        Some(handed) => handed.recv().await,
        None => std::future::pending().await,
    }
}

/// What an attempt takes of its lane and of the room for bodies; given back however the attempt ends.
struct Slot {
    dispatcher: Arc<Dispatcher>,
    lane: Arc<Lane>,
    bytes: u64,
    has_left: bool,
}

impl Slot {
    /// The lane has counted the attempt already, in [`Lane::begin`].
    fn take(dispatcher: &Arc<Dispatcher>, lane: &Arc<Lane>, bytes: u64) -> Self {
        dispatcher.in_flight_bytes.fetch_add(bytes, Ordering::SeqCst);
        Self { dispatcher: Arc::clone(dispatcher), lane: Arc::clone(lane), bytes, has_left: false }
    }

    /// The receiver has answered, and the settlement is on its way.
    fn answered(&mut self) {
        if let Some(look) = self.lane.answered() {
            self.has_left = true;
            self.dispatcher.go_on(&self.lane);
            self.dispatcher.look(look);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let look = self.lane.end(self.bytes, self.has_left);
        let before = self.dispatcher.in_flight_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        self.dispatcher.go_on(&self.lane);
        self.dispatcher.look(lane::Look(look.0 || before >= IN_FLIGHT_BYTES_MAX));
    }
}
