//! Whether to try at all: a circuit breaker as a state machine one can see.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{BreakerState, FailureKind, Outcome, Timestamp};

/// When a destination's breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// Opens after this many failures in a row.
    pub failures: u32,
    /// Opens also when this share of the attempts in a window failed.
    pub rate: Option<FailureRate>,
    /// While open, one delivery is tried this often.
    pub probe_every: Duration,
    /// Closes after this many successes in a row.
    pub successes: u32,
}

/// A share of failures over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureRate {
    /// The share of failed attempts, 0 to 1, at which the breaker opens.
    pub share: f64,
    /// Over this window.
    pub window: Duration,
    /// With at least this many attempts in it.
    pub attempts_min: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 10, rate: None, probe_every: Duration::from_secs(1), successes: 2 }
    }
}

/// What the breaker lets through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permits {
    /// As many as the lane likes.
    All,
    /// One delivery, as a probe.
    Probe,
    /// None before this time.
    NoneUntil(Timestamp),
    /// None while the probe is under way.
    NoneWhileProbing,
}

/// One destination's circuit breaker.
///
/// ```text
///            failures in a row, or their share          probe due            success
///   closed ------------------------------------> open ------------> probing ----------> half-open
///     ^                                           ^                    | failure            |
///     |                                           +--------------------+--------------------+ failure
///     +---- enough successes in a row ----------------------------------------- (half-open) +
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    failures_in_a_row: u32,
    recent: VecDeque<(Timestamp, bool)>,
    /// How many of the recent ones failed.
    recent_failed: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    /// The next probe is due at a time; `probing`: one is under way. `successes` in a row so far.
    Open {
        probe_at: Timestamp,
        probing: bool,
        successes: u32,
    },
}

/// Attempts remembered for the failure rate, at most.
const RECENT_MAX: usize = 10_000;

impl Breaker {
    /// Closed.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed, failures_in_a_row: 0, recent: VecDeque::new(), recent_failed: 0 }
    }

    /// Its state, for people and metrics.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { probing: false, successes: 0, .. } => BreakerState::Open,
            State::Open { .. } => BreakerState::HalfOpen,
        }
    }

    /// What may be tried at `now`. Asking changes nothing; [`Breaker::probing`] says that a probe was taken.
    #[must_use]
    pub fn permits(&self, now: Timestamp) -> Permits {
        match self.state {
            State::Closed => Permits::All,
            State::Open { probing: true, .. } => Permits::NoneWhileProbing,
            State::Open { probe_at, .. } if now < probe_at => Permits::NoneUntil(probe_at),
            State::Open { .. } => Permits::Probe,
        }
    }

    /// A probe was begun.
    pub fn probing(&mut self, now: Timestamp) {
        if let State::Open { probe_at, probing, .. } = &mut self.state {
            *probing = true;
            *probe_at = now.plus(self.policy.probe_every);
        }
    }

    /// An attempt ended; `probe`: it was one. Attempts that were under way when the breaker opened say nothing new.
    pub fn record(&mut self, outcome: &Outcome, probe: bool, now: Timestamp) {
        if let State::Open { probing, .. } = &mut self.state {
            if !probe {
                return;
            }
            *probing = false;
        }
        let Some(failed) = counts_as_failure(outcome) else { return };
        self.failures_in_a_row = if failed { self.failures_in_a_row.saturating_add(1) } else { 0 };
        self.remember(now, failed);
        match &mut self.state {
            State::Closed => {
                if self.failures_in_a_row >= self.policy.failures || self.rate_is_too_high() {
                    self.open(now);
                }
            }
            State::Open { successes, .. } => {
                *successes = if failed { 0 } else { successes.saturating_add(1) };
                if *successes >= self.policy.successes {
                    self.state = State::Closed;
                    self.failures_in_a_row = 0;
                    self.forget();
                } else if !failed {
                    // The next probe need not wait: the receiver answers.
                    if let State::Open { probe_at, .. } = &mut self.state {
                        *probe_at = now;
                    }
                }
            }
        }
    }

    fn open(&mut self, now: Timestamp) {
        self.state =
            State::Open { probe_at: now.plus(self.policy.probe_every), probing: false, successes: 0 };
        self.forget();
    }

    fn remember(&mut self, now: Timestamp, failed: bool) {
        let Some(rate) = self.policy.rate else { return };
        self.recent.push_back((now, failed));
        self.recent_failed += usize::from(failed);
        while self.recent.len() > RECENT_MAX
            || self.recent.front().is_some_and(|(at, _)| now.since(*at) > rate.window)
        {
            if let Some((_, failed)) = self.recent.pop_front() {
                self.recent_failed -= usize::from(failed);
            }
        }
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.recent_failed = 0;
    }

    fn rate_is_too_high(&self) -> bool {
        let Some(rate) = self.policy.rate else { return false };
        let all = self.recent.len();
        let failed = self.recent_failed;
        #[expect(clippy::cast_precision_loss, reason = "at most 10,000")]
        let share = failed as f64 / all.max(1) as f64;
        all >= rate.attempts_min as usize && share >= rate.share
    }
}

/// Whether an outcome speaks for or against the receiver; `None`: it says nothing about it. A 4xx or a refusal for good
/// shows that the receiver is alive.
fn counts_as_failure(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Delivered | Outcome::Rejected => Some(false),
        Outcome::Failed { kind: FailureKind::Client, .. } => Some(false),
        Outcome::Failed { kind: FailureKind::RateLimited, .. } | Outcome::NotTried => None,
        Outcome::Failed { .. } => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn failed(kind: FailureKind) -> Outcome {
        Outcome::Failed { kind, after: None }
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        for _ in 0..10 {
            assert_eq!(breaker.permits(at(0)), Permits::All);
            breaker.record(&failed(FailureKind::Server), false, at(0));
        }
        breaker
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_one_success_between_does_not_let_it() {
        assert_eq!(opened().state(), BreakerState::Open);
        let mut breaker = Breaker::new(BreakerPolicy::default());
        for attempt in 0..100 {
            let outcome = if attempt % 10 == 9 { Outcome::Delivered } else { failed(FailureKind::Timeout) };
            breaker.record(&outcome, false, at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn answers_of_a_living_receiver_never_open_it() {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        for _ in 0..100 {
            breaker.record(&failed(FailureKind::Client), false, at(0));
            breaker.record(&Outcome::Rejected, false, at(0));
            breaker.record(&failed(FailureKind::RateLimited), false, at(0));
            breaker.record(&Outcome::NotTried, false, at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn open_it_lets_one_probe_a_second_through_and_closes_after_two_successes() {
        let mut breaker = opened();
        assert_eq!(breaker.permits(at(0)), Permits::NoneUntil(at(1)));
        assert_eq!(breaker.permits(at(1)), Permits::Probe);
        breaker.probing(at(1));
        assert_eq!(breaker.permits(at(2)), Permits::NoneWhileProbing);
        breaker.record(&failed(FailureKind::Server), true, at(1));
        assert_eq!(breaker.permits(at(1)), Permits::NoneUntil(at(2)));
        breaker.probing(at(2));
        breaker.record(&Outcome::Delivered, true, at(2));
        assert_eq!((breaker.state(), breaker.permits(at(2))), (BreakerState::HalfOpen, Permits::Probe));
        breaker.probing(at(2));
        breaker.record(&Outcome::Delivered, true, at(2));
        assert_eq!((breaker.state(), breaker.permits(at(2))), (BreakerState::Closed, Permits::All));
    }

    #[test]
    fn what_was_under_way_when_it_opened_neither_closes_it_nor_frees_the_probe() {
        let mut breaker = opened();
        breaker.probing(at(1));
        breaker.record(&Outcome::Delivered, false, at(1));
        breaker.record(&failed(FailureKind::Server), false, at(1));
        assert_eq!(breaker.permits(at(1)), Permits::NoneWhileProbing);
    }

    #[test]
    fn a_share_of_failures_over_a_window_opens_it_too() {
        let rate = FailureRate { share: 0.5, window: Duration::from_secs(10), attempts_min: 20 };
        let mut breaker = Breaker::new(BreakerPolicy { rate: Some(rate), ..BreakerPolicy::default() });
        for attempt in 0..19 {
            let outcome = if attempt % 2 == 0 { failed(FailureKind::Server) } else { Outcome::Delivered };
            breaker.record(&outcome, false, at(attempt));
            assert_eq!(
                breaker.state(),
                BreakerState::Closed,
                "a window of 10 s never holds 20 of one a second"
            );
        }
        for attempt in 0..20 {
            let outcome = if attempt % 2 == 0 { Outcome::Delivered } else { failed(FailureKind::Server) };
            breaker.record(&outcome, false, at(100));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
