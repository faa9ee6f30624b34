//! When each attempt was due, by the journal and the documented policy alone: never early, never more than a second late,
//! and no more attempts than failures ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::peers::{Attempt, Failure, failures};
use crate::rig::Tally;

/// The destination's backoff: `min(BASE · 2^(k-1), CAP)`, ±20 %.
pub(super) const BASE: Duration = Duration::from_millis(1500);
pub(super) const CAP: Duration = Duration::from_millis(2500);
const JITTER: f64 = 0.2;
/// The promise.
const LATE: Duration = Duration::from_secs(1);
/// Timestamps are whole milliseconds.
const EARLY: Duration = Duration::from_millis(2);

/// The shortest and the longest wait after attempt `number` failed so.
pub(super) fn bounds(number: u32, failure: Failure) -> (Duration, Duration) {
    let doubled = BASE.saturating_mul(1 << number.saturating_sub(1).min(20));
    let plain = doubled.min(CAP).as_secs_f64();
    let asked = failure.retry_after.unwrap_or_default().min(CAP).as_secs_f64();
    let wait = |share: f64| Duration::from_secs_f64((plain * share).max(asked));
    (wait(1.0 - JITTER), wait(1.0 + JITTER))
}

/// Holds every attempt against its due time. A gateway that was not there yet is late only a second after it is.
pub(super) fn judge(journal: &[Attempt], starts: &[(Instant, Instant)], stall: Duration, tally: &mut Tally) {
    let mut events: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in journal {
        events.entry(&attempt.event).or_default().push(attempt);
    }
    for (id, mut attempts) in events {
        attempts.sort_by_key(|attempt| attempt.arrived);
        let wanted = failures(id).len() + 1;
        let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
        let as_wanted = numbers.iter().copied().eq((1..).take(wanted));
        tally
            .check(as_wanted, || format!("{id}: {wanted} attempts were to be made, these were: {numbers:?}"));
        tally.count("attempts", attempts.len() as u64);
        for pair in attempts.windows(2) {
            let (Some(failure), [before, after]) = (pair[0].failed, pair) else { continue };
            let (shortest, longest) = bounds(before.number, failure);
            let waited = after.arrived.duration_since(before.answered);
            let early = shortest.saturating_sub(waited);
            tally.check(early <= EARLY, || {
                format!("{id}: attempt {} came after {waited:?}, {early:?} early", after.number)
            });
            let due = before.answered + longest;
            let started =
                starts.iter().filter(|(began, _)| *began > before.answered && *began < after.arrived);
            let due = started.map(|(_, ready)| *ready).max().map_or(due, |ready| due.max(ready));
            let late = after.arrived.saturating_duration_since(due);
            tally.worst("late_ms", late.as_secs_f64() * 1000.0);
            tally.check(late <= LATE + stall, || {
                format!(
                    "{id}: attempt {} came {late:?} late (this machine stood still {stall:?})",
                    after.number
                )
            });
        }
    }
}

/// How long this process itself was kept from running: what a shared machine adds to everything.
pub(super) struct Stall {
    worst_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Stall {
    pub(super) fn watch() -> Self {
        let (worst_us, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (worst, stopped) = (Arc::clone(&worst_us), Arc::clone(&stop));
        tokio::spawn(async move {
            let nap = Duration::from_millis(10);
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                tokio::time::sleep(nap).await;
                let over = began.elapsed().saturating_sub(nap);
                worst.fetch_max(u64::try_from(over.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
            }
        });
        Self { worst_us, stop }
    }

    /// The worst so far.
    pub(super) fn worst(&self) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_policy() {
        use tenterhook::policy::backoff::{RetryPolicy, delay_after};
        let policy = RetryPolicy { base: BASE, cap: CAP, jitter: JITTER, attempts_max: 27 };
        let mut random = fastrand::Rng::with_seed(1);
        for number in 1..6 {
            for retry_after in [None, Some(2), Some(3600)].map(|it| it.map(Duration::from_secs)) {
                let (shortest, longest) = bounds(number, Failure { retry_after });
                for _ in 0..1000 {
                    let delay = delay_after(&policy, number, retry_after, &mut random);
                    assert!((shortest..=longest).contains(&delay), "{number} {retry_after:?}: {delay:?}");
                }
            }
        }
    }

    #[test]
    fn an_early_a_late_and_a_repeated_attempt_are_noticed() {
        let id = (0..).map(|n| format!("e{n}")).find(|id| failures(id).len() == 1).expect("there is one");
        let failure = failures(&id)[0];
        let (shortest, longest) = bounds(1, failure);
        let start = Instant::now();
        let attempt = |number: u32, at: Duration| Attempt {
            event: id.clone(),
            number,
            arrived: start + at,
            answered: start + at,
            failed: (number == 1).then_some(failure),
        };
        let found = |waits: &[Duration]| {
            let journal: Vec<_> = (1..).zip(waits).map(|(number, wait)| attempt(number, *wait)).collect();
            let mut tally = Tally::default();
            judge(&journal, &[], Duration::ZERO, &mut tally);
            tally.violations.len()
        };
        assert_eq!(found(&[Duration::ZERO, shortest]), 0);
        assert_eq!(found(&[Duration::ZERO, longest + LATE]), 0);
        assert_eq!(found(&[Duration::ZERO, shortest - EARLY * 2]), 1);
        assert_eq!(found(&[Duration::ZERO, longest + LATE + EARLY]), 1);
        assert_eq!(found(&[Duration::ZERO]), 1);
        assert_eq!(found(&[Duration::ZERO, shortest, shortest * 2]), 1);
    }
}
