//! When to try again: exponential, jittered, capped.

use std::time::Duration;

use fastrand::Rng;

/// Backoff of one destination. The defaults are `min(2^k s, 6 h)` with ±20 % jitter and 27 attempts, about 75 hours
/// in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The delay before the second attempt; it doubles from there.
    pub base: Duration,
    /// No delay is longer; a `Retry-After` is clamped to it too.
    pub cap: Duration,
    /// The share by which a delay may be shorter or longer: 0.2 is ±20 %.
    pub jitter: f64,
    /// Attempts per budget; then the delivery is dead.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(6 * 3600),
            jitter: 0.2,
            attempts_max: 27,
        }
    }
}

/// How long to wait after attempt number `attempt` of a budget (from 1) before the next one:
/// `min(base · 2^(attempt-1), cap)`, shortened or lengthened by up to the jitter's share.
#[must_use]
pub fn delay(policy: &RetryPolicy, attempt: u32, rng: &mut Rng) -> Duration {
    let doublings = attempt.saturating_sub(1).min(63);
    let whole = policy.base.as_secs_f64() * 2_f64.powi(i32::try_from(doublings).unwrap_or(63));
    let capped = whole.min(policy.cap.as_secs_f64());
    let share = policy.jitter.clamp(0.0, 1.0) * (2.0 * rng.f64() - 1.0);
    // A cap near the end of time, lengthened by the jitter, would not be a duration any more.
    Duration::try_from_secs_f64((capped * (1.0 + share)).max(0.0)).unwrap_or(policy.cap)
}

/// How long to wait where the receiver asked for `after`: what it asked for, but no less than the backoff and no more
/// than the cap, so that an absurd answer neither hammers the receiver nor hides a delivery for years.
#[must_use]
pub fn delay_after(policy: &RetryPolicy, attempt: u32, after: Option<Duration>, rng: &mut Rng) -> Duration {
    let backoff = delay(policy, attempt, rng);
    after.map_or(backoff, |asked| asked.min(policy.cap).max(backoff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_and_take_about_three_days_in_all() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
        let mut rng = Rng::with_seed(1);
        let delays: Vec<_> =
            (1..policy.attempts_max).map(|k| delay(&policy, k, &mut rng).as_secs()).collect();
        assert_eq!(delays[..5], [1, 2, 4, 8, 16]);
        assert_eq!(delays.last(), Some(&(6 * 3600)));
        let hours = delays.iter().sum::<u64>() / 3600;
        assert!((72..=78).contains(&hours), "{hours} h");
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let policy = RetryPolicy::default();
        let mut rng = Rng::with_seed(2);
        for attempt in 1..=200 {
            let plain = delay(&RetryPolicy { jitter: 0.0, ..policy }, attempt, &mut rng).as_secs_f64();
            let jittered = delay(&policy, attempt, &mut rng).as_secs_f64();
            assert!((0.8..=1.2).contains(&(jittered / plain)), "{attempt}: {jittered} of {plain}");
        }
    }

    #[test]
    fn no_policy_and_no_attempt_number_makes_a_delay_that_is_none() {
        let mut rng = Rng::with_seed(4);
        for cap in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
            for jitter in [0.0, 0.2, 1.0, 7.0, -1.0, f64::INFINITY] {
                for attempt in [0, 1, 2, 64, 1_000, u32::MAX] {
                    let policy = RetryPolicy { base: Duration::MAX, cap, jitter, attempts_max: 27 };
                    let waited = delay(&policy, attempt, &mut rng);
                    assert!(waited.as_secs_f64() <= cap.as_secs_f64() * 2.0, "{policy:?}: {waited:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured_within_backoff_and_cap() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
        let mut rng = Rng::with_seed(3);
        let mut asked =
            |seconds: u64| delay_after(&policy, 1, Some(Duration::from_secs(seconds)), &mut rng).as_secs();
        assert_eq!((asked(0), asked(30), asked(u64::MAX)), (1, 30, 6 * 3600));
    }
}
