//! One destination's lane: its concurrency, rate and breaker decide how many leases it may take now. A lane whose
//! receiver is quick and well takes some ahead, so that none of its places waits for the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LanePolicy;
use super::ahead::{self, Ahead};
use crate::destination::Destination;
use crate::model::{BreakerState, DeliveryId, DestinationName, LaneView, Lease, Outcome, Reply, Timestamp};
use crate::policy::backoff::delay_after;
use crate::policy::breaker::{Breaker, Permits};
use crate::policy::limit::RateLimiter;
use crate::policy::verdict::REST_NOT_TRIED;
use crate::store::{LaneDemand, Standby};

/// How much longer than the destination's timeout a lease lasts: time to judge and to settle.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// Bodies of one lane under way beyond which it takes no more, in bytes.
const LANE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Of so many leases of a lane, one is the least urgent's.
const FAIRNESS: u32 = 16;

/// A lane. Locked for moments only, never across an await.
pub struct Lane {
    name: DestinationName,
    state: Mutex<State>,
}

struct State {
    destination: Arc<dyn Destination>,
    policy: LanePolicy,
    breaker: Breaker,
    rate: Option<RateLimiter>,
    /// Attempts under way (a batch is one).
    in_flight: u32,
    /// Their bodies.
    in_flight_bytes: u64,
    /// Attempts that are over, and whose settlement is not durable yet.
    settling: u32,
    /// Room that is lent to the store, or whose lease is on its way from there.
    lent: u32,
    /// Leases that wait for a place.
    ahead: Ahead,
    /// It takes no more leases: its destination is gone, or the gateway stops.
    closed: bool,
    standby: Arc<Standby>,
    /// The store had nothing more for it when it was asked last: what comes now may be leased at its accept.
    drained: bool,
    /// Leases taken since the least urgent had its turn.
    since_least_urgent: u32,
    /// The delivery of the last probe.
    probed: Option<DeliveryId>,
    paused_until: Option<Timestamp>,
    /// Why it was paused; until an attempt shows that the reason is gone, one is made at a time.
    alarm: Option<String>,
}

/// What a lane wants of the store.
#[derive(Debug)]
pub enum Wish {
    /// Leases.
    Lease(LaneDemand),
    /// Nothing before this time.
    NotBefore(Timestamp),
    /// Nothing until an attempt of its ends.
    Nothing,
}

/// Whether the dispatcher has to look for the next delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(pub bool);

/// The leases of one attempt, and where they go.
pub struct Batch {
    /// Tried by this one.
    pub destination: Arc<dyn Destination>,
    /// As it was when the attempt began.
    pub policy: LanePolicy,
    /// One, or several for a destination that takes batches.
    pub leases: Vec<Lease>,
    /// The breaker's probe.
    pub probe: bool,
}

impl Batch {
    /// Bytes of the bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes(&self.leases)
    }
}

fn bytes(leases: &[Lease]) -> u64 {
    leases.iter().map(|lease| lease.message.body.len() as u64).sum()
}

impl Lane {
    /// An idle lane.
    #[must_use]
    pub fn new(
        name: DestinationName,
        destination: Arc<dyn Destination>,
        policy: LanePolicy,
        now: Timestamp,
    ) -> Self {
        let state = State {
            standby: standby(&name, &policy),
            settling: 0,
            lent: 0,
            ahead: Ahead::default(),
            closed: false,
            drained: false,
            destination,
            breaker: Breaker::new(policy.breaker),
            rate: policy.rate.map(|rate| RateLimiter::new(rate, now)),
            policy,
            in_flight: 0,
            in_flight_bytes: 0,
            since_least_urgent: 0,
            probed: None,
            paused_until: None,
            alarm: None,
        };
        Self { name, state: Mutex::new(state) }
    }

    /// Its destination.
    #[must_use]
    pub fn name(&self) -> &DestinationName {
        &self.name
    }

    /// Another destination and policy under the same name. A pause of our own making ends: its reason may be mended.
    pub fn replace(&self, destination: Arc<dyn Destination>, policy: LanePolicy, now: Timestamp) {
        let mut state = self.lock();
        if state.policy.breaker != policy.breaker {
            state.breaker = Breaker::new(policy.breaker);
        }
        if state.policy.rate != policy.rate {
            state.rate = policy.rate.map(|rate| RateLimiter::new(rate, now));
        }
        state.take_back();
        state.standby = standby(&self.name, &policy);
        state.destination = destination;
        state.policy = policy;
        if state.alarm.take().is_some() {
            state.paused_until = None;
        }
    }

    /// What it lends its room through.
    #[must_use]
    pub fn standby(&self) -> Arc<Standby> {
        Arc::clone(&self.lock().standby)
    }

    /// Lends nothing more, until it is [`Self::drained`] again.
    pub fn take_back(&self) {
        self.lock().take_back();
    }

    /// The store had nothing more for it: what room there is is lent.
    pub fn drained(&self) {
        let mut state = self.lock();
        if state.may_lend() {
            state.drained = true;
            let free = state.free();
            state.lend(free);
        }
    }

    /// Takes no more leases, and hands over those that wait for a place.
    pub fn close(&self) -> Vec<Lease> {
        let mut state = self.lock();
        state.closed = true;
        state.take_back();
        state.ahead.drain()
    }

    /// The leases that no place is waited for any more: all once there is a doubt about the receiver, else those that
    /// would end before an attempt has to.
    pub fn unwanted(&self, now: Timestamp) -> Vec<Lease> {
        let mut state = self.lock();
        if state.is_in_doubt() {
            return state.ahead.drain();
        }
        let timeout = state.policy.timeout;
        state.ahead.drain_late(now.plus(timeout))
    }

    /// The next lease that waits and has a place now.
    pub fn next(&self) -> Option<Batch> {
        let mut state = self.lock();
        if state.is_in_doubt() || state.in_flight >= state.width() {
            return None;
        }
        let lease = state.ahead.pop()?;
        Some(state.batch(vec![lease], false))
    }

    /// Bodies of the leases that wait for a place, in bytes.
    #[must_use]
    pub fn ahead_bytes(&self) -> u64 {
        self.lock().ahead.bytes()
    }

    /// How many leases it may take now. Lends nothing while it asks: what is due already goes first.
    pub fn wish(&self, now: Timestamp) -> Wish {
        let mut state = self.lock();
        state.take_back();
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Wish::NotBefore(until);
        }
        let free = state.free();
        if free == 0 || state.closed || state.bytes() >= LANE_BYTES_MAX || state.has_enough() {
            return Wish::Nothing;
        }
        let (attempts, probe) = match state.breaker.permits(now) {
            Permits::All => (free, false),
            Permits::Probe => (1, true),
            Permits::NoneUntil(at) => return Wish::NotBefore(at),
            Permits::NoneWhileProbing => return Wish::Nothing,
        };
        let attempts = match state.attempts_by_rate(attempts, now) {
            Ok(attempts) => attempts,
            Err(at) => return Wish::NotBefore(at),
        };
        let limit = if probe { 1 } else { attempts.saturating_mul(state.policy.batch_max.max(1)) };
        Wish::Lease(LaneDemand {
            destination: self.name.clone(),
            limit,
            least_urgent_first: ((state.since_least_urgent + limit) / FAIRNESS).min(limit),
            lease: state.standby.lease,
            attempts_max: state.policy.retry.attempts_max,
            avoid: if probe { state.probed.clone() } else { None },
        })
    }

    /// Counts leases that were taken as under way, as the attempts they make; those for which there is no place yet
    /// wait for [`Self::next`].
    pub fn begin(&self, leases: Vec<Lease>, now: Timestamp) -> Vec<Batch> {
        let mut state = self.lock();
        let taken = u32::try_from(leases.len()).unwrap_or(u32::MAX);
        let since = state.since_least_urgent;
        state.since_least_urgent = (state.since_least_urgent % FAIRNESS + taken % FAIRNESS) % FAIRNESS;
        let probe = state.breaker.permits(now) == Permits::Probe;
        if probe {
            state.breaker.probing(now);
            state.probed = leases.first().map(|lease| lease.delivery.clone());
        }
        if !state.is_in_doubt() {
            ahead::spread(leases, since, FAIRNESS).into_iter().for_each(|lease| state.ahead.push(lease));
            return Vec::new();
        }
        let size = state.policy.batch_max.max(1) as usize;
        let mut batches = Vec::new();
        let mut leases = leases.into_iter().peekable();
        while leases.peek().is_some() {
            let batch: Vec<Lease> = leases.by_ref().take(size).collect();
            if let Some(rate) = &mut state.rate {
                // The wish was within the rate: this takes what it found.
                let _ = rate.try_take(1, now);
            }
            let is_probe = probe && batches.is_empty();
            batches.push(state.batch(batch, is_probe));
        }
        batches
    }

    /// Puts a lease that the store handed out behind those that wait for a place.
    pub fn take_handed(&self, lease: Lease) {
        let mut state = self.lock();
        state.lent = state.lent.saturating_sub(1);
        state.ahead.push(lease);
    }

    /// An attempt took so long.
    pub fn learn(&self, took: Duration) {
        self.lock().ahead.learn(took);
    }

    /// What an attempt says about the receiver: moves breaker and pauses.
    pub fn record(&self, replies: &[Reply], probe: bool, now: Timestamp, rng: &mut fastrand::Rng) {
        let mut state = self.lock();
        // A batch is one attempt, and one item that was judged shows that the receiver works.
        let judged = |reply: &&Reply| matches!(reply.outcome, Outcome::Delivered | Outcome::Rejected);
        let telling = replies.iter().find(judged).or(replies.first());
        let Some(reply) = telling else { return };
        let before = state.breaker.state();
        state.breaker.record(&reply.outcome, probe, now);
        if before != state.breaker.state() {
            let state = state.breaker.state().as_str();
            tracing::warn!(destination = %self.name, state, "breaker_changed");
        }
        match &reply.outcome {
            Outcome::Failed { kind: crate::model::FailureKind::RateLimited, after } => {
                let rest = delay_after(&state.policy.retry, 1, *after, rng);
                state.pause(now.plus(rest), "rate limited by the receiver");
            }
            Outcome::NotTried => {
                tracing::error!(destination = %self.name, reason = %reply.excerpt, "destination_not_tried");
                state.pause(now.plus(REST_NOT_TRIED), &reply.excerpt);
            }
            _ if state.paused_until.is_none_or(|until| until <= now) => {
                state.paused_until = None;
                state.alarm = None;
            }
            // It was under way when another one met the reason for the pause.
            _ => {}
        }
        if !state.may_lend() {
            state.take_back();
        }
    }

    /// The receiver has answered: its place is free for the next one while the store makes the answer durable, unless
    /// as many wait for that already. Says whether the place was given up.
    pub fn answered(&self) -> Option<Look> {
        let mut state = self.lock();
        if state.settling >= state.policy.concurrency {
            return None;
        }
        state.settling += 1;
        Some(state.leave())
    }

    /// An attempt with so many bytes is settled, or lost; its place may have been given up before.
    pub fn end(&self, bytes: u64, has_left: bool) -> Look {
        let mut state = self.lock();
        // Room for bodies may be what the next one waits for.
        let was_full = state.bytes() >= LANE_BYTES_MAX;
        state.in_flight_bytes = state.in_flight_bytes.saturating_sub(bytes);
        if has_left {
            state.settling = state.settling.saturating_sub(1);
            return Look(was_full);
        }
        state.leave()
    }

    /// Whether nothing of it is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lock().in_flight == 0
    }

    /// Whether a new delivery is tried as soon as there is a place.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let state = self.lock();
        let rests = state.paused_until.is_some_and(|until| until > now);
        state.breaker.state() == BreakerState::Closed && !rests && !state.closed
    }

    /// Its breaker's state.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.lock().breaker.state()
    }

    /// As it stands at `now`.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> LaneView {
        let state = self.lock();
        LaneView {
            destination: self.name.clone(),
            breaker: state.breaker.state(),
            in_flight: state.in_flight,
            concurrency: state.policy.concurrency,
            paused_until: state.paused_until.filter(|until| *until > now),
            alarm: state.alarm.clone().or_else(|| {
                (state.breaker.state() != BreakerState::Closed)
                    .then(|| "the circuit breaker is open".to_owned())
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of an attempt the store needs to know only how long its lease is and how many there may be.
fn standby(name: &DestinationName, policy: &LanePolicy) -> Arc<Standby> {
    let lease = policy.timeout + LEASE_MARGIN;
    Arc::new(Standby::new(name.clone(), lease, policy.retry.attempts_max))
}

impl State {
    /// Whether an attempt is not as welcome as any other: a rate, batches, or a doubt about the receiver.
    fn is_in_doubt(&self) -> bool {
        self.closed
            || self.rate.is_some()
            || self.policy.batch_max > 1
            || self.breaker.state() != BreakerState::Closed
            || self.alarm.is_some()
            || self.paused_until.is_some()
    }

    fn may_lend(&self) -> bool {
        !self.is_in_doubt() && self.bytes() < LANE_BYTES_MAX
    }

    fn bytes(&self) -> u64 {
        self.in_flight_bytes + self.ahead.bytes()
    }

    /// Attempts at the same time.
    fn width(&self) -> u32 {
        if self.alarm.is_some() { 1 } else { self.policy.concurrency.max(1) }
    }

    /// How many leases may wait for a place.
    fn ahead_max(&self) -> u32 {
        if self.is_in_doubt() { 0 } else { self.ahead.max(self.width()) }
    }

    /// How many more leases it may have.
    fn free(&self) -> u32 {
        (self.width() + self.ahead_max()).saturating_sub(self.in_flight + self.coming())
    }

    /// Leases that wait for a place, or are on their way.
    fn coming(&self) -> u32 {
        self.lent + self.ahead.len()
    }

    /// Whether it is not worth asking yet: many are asked for at once. A place that would stay empty is always worth it,
    /// for nobody looks again when what is on its way arrives.
    fn has_enough(&self) -> bool {
        let without_place = (self.in_flight + self.coming()).saturating_sub(self.width());
        without_place > self.ahead_max() / 2
    }

    fn batch(&mut self, leases: Vec<Lease>, probe: bool) -> Batch {
        self.in_flight += 1;
        self.in_flight_bytes += bytes(&leases);
        Batch { destination: Arc::clone(&self.destination), policy: self.policy.clone(), leases, probe }
    }

    /// A place is free: lent on where the lane lends, or somebody has to look for what takes it.
    fn leave(&mut self) -> Look {
        self.in_flight = self.in_flight.saturating_sub(1);
        let lends = self.drained && self.may_lend();
        if lends && self.free() > 0 {
            self.lend(1);
        }
        Look(!lends && !self.has_enough())
    }

    fn lend(&mut self, attempts: u32) {
        self.lent += attempts;
        self.standby.lend(attempts);
    }

    fn take_back(&mut self) {
        self.drained = false;
        self.lent = self.lent.saturating_sub(self.standby.take_back());
    }

    /// As many of `attempts` as the rate allows now, or when it allows one.
    fn attempts_by_rate(&mut self, attempts: u32, now: Timestamp) -> Result<u32, Timestamp> {
        let Some(rate) = &mut self.rate else { return Ok(attempts) };
        match rate.available(now).min(attempts) {
            0 => Err(now.plus(rate.wait(now).max(Duration::from_millis(1)))),
            some => Ok(some),
        }
    }

    fn pause(&mut self, until: Timestamp, why: &str) {
        self.paused_until = self.paused_until.max(Some(until));
        self.alarm = Some(why.to_owned());
    }
}
