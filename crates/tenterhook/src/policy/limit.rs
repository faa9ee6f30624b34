//! How many per second: a token bucket, and one for each address with a bound on how many are remembered.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::model::Timestamp;

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePolicy {
    /// Sustained rate.
    pub per_second: f64,
    /// How many at once after a pause.
    pub burst: u32,
}

/// A token bucket. Time that goes back adds nothing.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    policy: RatePolicy,
    tokens: f64,
    at: Timestamp,
}

impl RateLimiter {
    /// A full bucket.
    #[must_use]
    pub fn new(policy: RatePolicy, now: Timestamp) -> Self {
        Self { policy, tokens: f64::from(policy.burst), at: now }
    }

    /// Takes `n`, or says how long to wait until there are that many. More than the burst are taken when the bucket is
    /// full, so that no request is refused for ever.
    pub fn try_take(&mut self, n: u32, now: Timestamp) -> Result<(), Duration> {
        self.refill(now);
        let needed = f64::from(n.min(self.policy.burst.max(1)));
        if self.tokens >= needed {
            self.tokens -= needed;
            return Ok(());
        }
        let seconds = (needed - self.tokens) / self.policy.per_second.max(f64::MIN_POSITIVE);
        Err(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// How many could be taken now.
    pub fn available(&mut self, now: Timestamp) -> u32 {
        self.refill(now);
        // Never negative, and a bucket holds no more than its burst, which is a `u32`.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the burst")]
        {
            self.tokens as u32
        }
    }

    /// How long until one can be taken; zero when one can be taken now.
    pub fn wait(&mut self, now: Timestamp) -> Duration {
        self.refill(now);
        let seconds = (1.0 - self.tokens).max(0.0) / self.policy.per_second.max(f64::MIN_POSITIVE);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_secs_f64();
        let burst = f64::from(self.policy.burst.max(1));
        self.tokens = (self.tokens + passed * self.policy.per_second).min(burst);
        self.at = self.at.max(now);
    }

    fn is_full(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.tokens >= f64::from(self.policy.burst.max(1))
    }
}

/// A token bucket for each address. An IPv6 address counts as its /64, which is what one sender has.
#[derive(Debug)]
pub struct AddressLimiter {
    policy: RatePolicy,
    entries_max: usize,
    buckets: HashMap<IpAddr, RateLimiter>,
    /// What addresses share that find no room of their own.
    rest: Option<RateLimiter>,
    /// When quiet addresses were last forgotten to make room.
    swept_at: Option<Timestamp>,
}

/// Quiet addresses are looked for at most this often: a flood from many addresses must not cost a walk through the
/// table for each request.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl AddressLimiter {
    /// Remembers at most `entries_max` addresses.
    #[must_use]
    pub fn new(policy: RatePolicy, entries_max: usize) -> Self {
        Self { policy, entries_max, buckets: HashMap::new(), rest: None, swept_at: None }
    }

    /// Takes one for `address`, or says how long to wait. When every place is taken by an address that sends right now,
    /// the others share one bucket: memory is bounded, and nobody gets around the limit by having many addresses.
    pub fn try_take(&mut self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let address = network(address);
        let full = !self.buckets.contains_key(&address) && self.buckets.len() >= self.entries_max;
        if full && self.swept_at.is_none_or(|at| now.since(at) >= SWEEP_EVERY) {
            self.swept_at = Some(now);
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let policy = self.policy;
        let bucket = if self.buckets.len() < self.entries_max || self.buckets.contains_key(&address) {
            self.buckets.entry(address).or_insert_with(|| RateLimiter::new(policy, now))
        } else {
            self.rest.get_or_insert_with(|| RateLimiter::new(policy, now))
        };
        bucket.try_take(1, now)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_sequence_of_requests_gets_more_than_the_burst_and_the_rate(
            steps in prop::collection::vec((0_i64..400, 1_u32..4), 1..200),
        ) {
            let mut limiter = RateLimiter::new(TEN, at(0));
            let (mut now, mut taken) = (0, 0);
            for (wait, n) in steps {
                now += wait;
                if limiter.try_take(n, at(now)).is_ok() {
                    taken += n;
                }
                let allowed = 5.0 + f64::from(u32::try_from(now).unwrap()) / 100.0;
                prop_assert!(f64::from(taken) <= allowed + 1e-6, "{taken} of {allowed} after {now} ms");
            }
        }

        #[test]
        fn who_waits_as_long_as_it_was_told_is_let_through(
            steps in prop::collection::vec((0_i64..400, 1_u32..6), 1..100),
        ) {
            let mut limiter = RateLimiter::new(TEN, at(0));
            let mut now = 0;
            for (wait, n) in steps {
                now += wait;
                if let Err(told) = limiter.try_take(n, at(now)) {
                    now += i64::try_from(told.as_millis()).unwrap() + 1;
                    prop_assert_eq!(limiter.try_take(n, at(now)), Ok(()));
                }
            }
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const TEN: RatePolicy = RatePolicy { per_second: 10.0, burst: 5 };

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut limiter = RateLimiter::new(TEN, at(0));
        assert_eq!(limiter.available(at(0)), 5);
        for _ in 0..5 {
            assert_eq!(limiter.try_take(1, at(0)), Ok(()));
        }
        assert_eq!(limiter.try_take(1, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(limiter.try_take(1, at(100)), Ok(()));
        assert_eq!(limiter.available(at(1_000_000)), 5);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut limiter = RateLimiter::new(TEN, at(10_000));
        assert_eq!(limiter.try_take(5, at(10_000)), Ok(()));
        assert!(limiter.try_take(1, at(0)).is_err());
        assert!(limiter.try_take(1, at(10_000)).is_err());
    }

    #[test]
    fn more_than_the_burst_waits_for_a_full_bucket() {
        let mut limiter = RateLimiter::new(TEN, at(0));
        assert_eq!(limiter.try_take(50, at(0)), Ok(()));
        assert_eq!(limiter.try_take(50, at(0)), Err(Duration::from_millis(500)));
    }

    #[test]
    fn addresses_are_counted_apart_and_forgotten_when_there_are_too_many() {
        let mut limiter = AddressLimiter::new(RatePolicy { per_second: 1.0, burst: 1 }, 2);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        assert_eq!(limiter.try_take(address(1), at(0)), Ok(()));
        assert!(limiter.try_take(address(1), at(0)).is_err());
        assert_eq!(limiter.try_take(address(2), at(0)), Ok(()));
        // No room: the third and the fourth share what is left.
        assert_eq!(limiter.try_take(address(3), at(0)), Ok(()));
        assert!(limiter.try_take(address(4), at(0)).is_err());
        // The first two have been quiet for long enough to be forgotten.
        assert_eq!(limiter.try_take(address(4), at(2_000)), Ok(()));
        assert!(limiter.buckets.len() <= 2);
    }

    #[test]
    fn one_v6_network_is_one_sender_and_a_mapped_v4_address_is_that_address() {
        let mut limiter = AddressLimiter::new(RatePolicy { per_second: 1.0, burst: 1 }, 10);
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(limiter.try_take(v6("2001:db8::1"), at(0)), Ok(()));
        assert!(limiter.try_take(v6("2001:db8::2"), at(0)).is_err());
        assert_eq!(limiter.try_take(v6("::ffff:192.0.2.1"), at(0)), Ok(()));
        assert!(limiter.try_take(IpAddr::from([192, 0, 2, 1]), at(0)).is_err());
    }
}
