//! Failed attempts to authenticate, counted per address and bounded in memory. Knows no tokens and no clock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;

/// Failures that one address may have in a [`WINDOW`].
const FAILURES_MAX: u32 = 10;

const WINDOW: Duration = Duration::from_secs(60);

/// Old counts are looked for no more often than this, so that a flood from many addresses costs little each.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Addresses that are told apart; the others share one count.
const ADDRESSES_MAX: usize = 4096;

/// What is known of one address.
#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Timestamp,
    count: u32,
}

/// Counts failures. Only failures: the right token is never held up, wherever it comes from, so that nobody can lock an
/// operator out by guessing beside them.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<IpAddr, Failures>,
    swept_at: Option<Timestamp>,
}

impl Throttle {
    /// Counts one failure; how long to wait, when there were too many.
    pub(super) fn failed(&self, address: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { by_address, swept_at } = &mut *counts;
        let mut key = address.map_or(SHARED, group);
        if by_address.len() >= ADDRESSES_MAX && !by_address.contains_key(&key) {
            if swept_at.is_none_or(|swept_at| now.since(swept_at) >= SWEEP_EVERY) {
                by_address.retain(|_, failures| now.since(failures.since) < WINDOW);
                *swept_at = Some(now);
            }
            if by_address.len() >= ADDRESSES_MAX {
                key = SHARED;
            }
        }
        let failures = by_address.entry(key).or_insert(Failures { since: now, count: 0 });
        if now.since(failures.since) >= WINDOW {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
        if failures.count > FAILURES_MAX {
            Err(WINDOW.saturating_sub(now.since(failures.since)))
        } else {
            Ok(())
        }
    }
}

/// One customer of a provider has a whole /64.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_throttled_for_the_rest_of_its_window_and_others_are_not() {
        let throttle = Throttle::default();
        let start = Timestamp::from_millis(1_764_000_000_000);
        let (one, other) = ("10.0.0.1".parse().ok(), "10.0.0.2".parse().ok());
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.failed(one, start), Ok(()));
        }
        let later = start.plus(Duration::from_secs(20));
        assert_eq!(throttle.failed(one, later), Err(Duration::from_secs(40)));
        assert_eq!(throttle.failed(other, later), Ok(()));
        assert_eq!(throttle.failed(one, start.plus(WINDOW)), Ok(()));
    }

    #[test]
    fn a_network_of_addresses_counts_as_one_and_memory_is_bounded() {
        let throttle = Throttle::default();
        let now = Timestamp::from_millis(0);
        let network: u128 = 0x2001_0db8 << 96;
        let refused = (0..100_u128)
            .filter(|host| throttle.failed(Some(IpAddr::V6((network | host).into())), now).is_err())
            .count();
        assert_eq!(refused, 100 - 10);
        for address in 0..10_000_u32 {
            let _ = throttle.failed(Some(IpAddr::V4(address.into())), now);
        }
        assert!(throttle.counts.lock().unwrap().by_address.len() <= ADDRESSES_MAX + 1);
        assert!(throttle.failed("99.0.0.1".parse().ok(), now).is_err(), "strangers share one count by now");
        assert!(throttle.failed("99.0.0.1".parse().ok(), now.plus(WINDOW)).is_ok(), "old counts are gone");
    }
}
