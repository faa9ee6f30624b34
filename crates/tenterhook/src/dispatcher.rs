//! The dispatcher: leases what is due, delivers, judges, settles. Knows stores and destinations only as traits; knows
//! nothing of ingress, of the config or of the kind it delivers to.
//!
//! One loop takes leases; each attempt is a task of its own. The loop sleeps until the store has work, a lane has room
//! again, something falls due, or the lanes were replaced. A lane that must not try (full, open, paused) is not leased
//! for, so waiting costs no attempts.

mod attempt;
pub mod lane;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::destination::Destination;
use crate::model::{BreakerState, Clock, DestinationName, LaneView, Lease, Timestamp};
use crate::policy::backoff::RetryPolicy;
use crate::policy::breaker::BreakerPolicy;
use crate::policy::limit::RatePolicy;
use crate::store::{Demand, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use lane::{Lane, Wish};

/// Bodies in memory for attempts under way, over all lanes, in bytes. One attempt is always allowed.
const IN_FLIGHT_BYTES_MAX: u64 = 64 * 1024 * 1024;

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
    attempts: TaskTracker,
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
            attempts: TaskTracker::new(),
        })
    }

    /// Puts these destinations in place of the present ones. A lane that stays keeps its breaker, its pauses and what is
    /// under way; one that goes leases no more, and what is under way ends as it would have.
    pub fn set_destinations(
        &self,
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
        *lanes = next;
        drop(lanes);
        self.changed.notify_one();
    }

    /// Every lane as it stands now.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneView> {
        self.by_name().values().map(|lane| lane.view()).collect()
    }

    /// Runs until `stop`; then takes no more leases and returns when every attempt under way is settled, or when
    /// `grace` is over. What is abandoned then is delivered again after the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, grace: Duration) {
        stop.run_until_cancelled(self.lease_and_spawn()).await;
        self.attempts.close();
        if tokio::time::timeout(grace, self.attempts.wait()).await.is_err() {
            tracing::warn!(attempts = self.attempts.len(), "attempts_abandoned");
        }
    }

    async fn lease_and_spawn(self: &Arc<Self>) {
        let mut work = self.store.work();
        let mut rest = STORE_BACKOFF.0;
        loop {
            // What is committed from here on wakes the loop again: nothing falls between looking and sleeping.
            work.mark_unchanged();
            let mut wake = self.clock.now().plus(LOOK_EVERY);
            match self.lease(&mut wake).await {
                Ok(leases) => {
                    rest = STORE_BACKOFF.0;
                    if !leases.is_empty() {
                        // The store bounds what one call returns: ask again before sleeping.
                        self.changed.notify_one();
                    }
                    self.spawn(leases);
                }
                Err(error) => {
                    tracing::warn!(error = %error, "lease_failed");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(STORE_BACKOFF.1);
                    continue;
                }
            }
            tokio::select! {
                changed = work.changed() => if changed.is_err() { return std::future::pending().await },
                () = self.changed.notified() => {}
                () = self.sleep_until(wake) => {}
            }
        }
    }

    /// Asks the store for as much as the lanes may try now. Moves `wake` to when it is worth asking again.
    async fn lease(&self, wake: &mut Timestamp) -> Result<Vec<Lease>, StoreError> {
        let now = self.clock.now();
        let in_flight = self.in_flight_bytes.load(Ordering::Relaxed);
        if in_flight >= IN_FLIGHT_BYTES_MAX {
            return Ok(Vec::new());
        }
        let mut demands = Vec::new();
        for lane in self.by_name().values() {
            match lane.wish(now) {
                Wish::Lease(demand) => demands.push(demand),
                Wish::NotBefore(at) => *wake = at.min(*wake),
                Wish::Nothing => {}
            }
        }
        if demands.is_empty() {
            return Ok(Vec::new());
        }
        let demand = Demand { lanes: demands, bytes_max: IN_FLIGHT_BYTES_MAX - in_flight, now };
        let leased = self.store.lease(demand).await?;
        if let Some(due) = leased.next_due {
            *wake = due.min(*wake);
        }
        for delivery in &leased.found_dead {
            tracing::warn!(event_id = %delivery.event, destination = %delivery.destination, "webhook_moved_to_dlq");
        }
        Ok(leased.leases)
    }

    /// Starts the attempts: one a lease, or one a batch where the destination takes batches.
    fn spawn(self: &Arc<Self>, leases: Vec<Lease>) {
        let now = self.clock.now();
        let mut by_lane: BTreeMap<DestinationName, Vec<Lease>> = BTreeMap::new();
        for lease in leases {
            by_lane.entry(lease.delivery.destination.clone()).or_default().push(lease);
        }
        for (name, leases) in by_lane {
            // A lane that was replaced away meanwhile: its leases end by themselves.
            let Some(lane) = self.by_name().get(&name).cloned() else { continue };
            for batch in lane.begin(leases, now) {
                let bytes = batch.bytes();
                self.in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
                let (dispatcher, lane) = (Arc::clone(self), Arc::clone(&lane));
                self.attempts.spawn(async move {
                    attempt::attempt(&dispatcher, &lane, batch).await;
                    dispatcher.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    dispatcher.changed.notify_one();
                });
            }
        }
        self.show_breakers();
    }

    fn show_breakers(&self) {
        for lane in self.by_name().values() {
            let state = match lane.view().breaker {
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
