//! The open sources, by path, each with the state of its limits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::Timestamp;
use crate::policy::limit::{AddressLimiter, RateLimiter, RatePolicy};
use crate::source::Source;

use super::journal::Throttle;
use super::reply::Rejection;
use super::{Generation, IngressSettings};

/// Addresses that one limiter remembers at the same time.
const ADDRESSES_MAX: usize = 65_536;

/// One generation of sources.
pub(super) struct Doors {
    by_path: HashMap<String, Arc<Door>>,
    shared_addresses: Option<Limited<AddressLimiter>>,
    pub(super) settings: IngressSettings,
}

/// One source and the state of its limits.
pub(super) struct Door {
    pub(super) source: Arc<Source>,
    /// Verified requests.
    verified: Option<Limited<RateLimiter>>,
    /// By address, for this source alone.
    addresses: Option<Limited<AddressLimiter>>,
    /// By address, together with every source that has no limit of its own.
    shared_addresses: Option<Limited<AddressLimiter>>,
    /// For requests that wait for their handler, and how many those may be.
    waiting: Option<(u32, Arc<Semaphore>)>,
    pub(super) throttle: Arc<Throttle>,
}

/// A limiter that outlives a reload as long as its policy stays.
struct Limited<L> {
    policy: RatePolicy,
    limiter: Arc<Mutex<L>>,
}

impl<L> Clone for Limited<L> {
    fn clone(&self) -> Self {
        Self { policy: self.policy, limiter: Arc::clone(&self.limiter) }
    }
}

impl<L> Limited<L> {
    fn keep_or_open(
        policy: Option<RatePolicy>,
        before: Option<&Self>,
        open: impl FnOnce(RatePolicy) -> L,
    ) -> Option<Self> {
        let policy = policy?;
        let kept = before.filter(|before| before.policy == policy).cloned();
        Some(kept.unwrap_or_else(|| Self { policy, limiter: Arc::new(Mutex::new(open(policy))) }))
    }

    fn with<R>(&self, act: impl FnOnce(&mut L) -> R) -> R {
        act(&mut self.limiter.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Doors {
    /// Opens a generation, keeping what the limits of `before` have counted.
    pub(super) fn open(generation: Generation, before: Option<&Self>, now: Timestamp) -> Self {
        let Generation { sources, settings } = generation;
        let shared_addresses = Limited::keep_or_open(
            settings.rate_per_address,
            before.and_then(|before| before.shared_addresses.as_ref()),
            |policy| AddressLimiter::new(policy, ADDRESSES_MAX),
        );
        let mut doors = Vec::with_capacity(sources.len());
        for source in sources {
            let old = before.and_then(|before| before.named(&source));
            let door = Door::open(source, old, shared_addresses.as_ref(), now);
            doors.push(Arc::new(door));
        }
        let mut by_path: HashMap<_, _> =
            doors.iter().map(|door| (door.source.path.clone(), Arc::clone(door))).collect();
        // Where a provider asks at a path of its own choice, the first source of that provider answers.
        for door in &doors {
            for path in door.source.handshakes.paths() {
                by_path.entry(path.to_owned()).or_insert_with(|| Arc::clone(door));
            }
        }
        Self { by_path, shared_addresses, settings }
    }

    fn named(&self, source: &Source) -> Option<&Door> {
        self.by_path.values().find(|door| door.source.name == source.name).map(Arc::as_ref)
    }

    /// The source at exactly this path: nothing is decoded, joined or trimmed, so no spelling reaches another one.
    pub(super) fn at(&self, path: &str) -> Result<Arc<Door>, Rejection> {
        self.by_path.get(path).cloned().ok_or_else(Rejection::unknown_path)
    }
}

impl Door {
    fn open(
        source: Arc<Source>,
        before: Option<&Self>,
        shared_addresses: Option<&Limited<AddressLimiter>>,
        now: Timestamp,
    ) -> Self {
        let limits = &source.limits;
        let verified = Limited::keep_or_open(
            limits.rate,
            before.and_then(|before| before.verified.as_ref()),
            |policy| RateLimiter::new(policy, now),
        );
        let addresses = Limited::keep_or_open(
            limits.rate_per_address,
            before.and_then(|before| before.addresses.as_ref()),
            |policy| AddressLimiter::new(policy, ADDRESSES_MAX),
        );
        let shared_addresses = shared_addresses.cloned();
        let throttle = before.map_or_else(Default::default, |before| Arc::clone(&before.throttle));
        let waiting = source.respond.as_ref().map(|respond| {
            let kept = before.and_then(|before| before.waiting.clone());
            kept.filter(|(places, _)| *places == respond.waiting_max).unwrap_or_else(|| {
                (respond.waiting_max, Arc::new(Semaphore::new(respond.waiting_max as usize)))
            })
        });
        Self { source, verified, addresses, shared_addresses, waiting, throttle }
    }

    /// A place for one more request that waits for its handler; given back when dropped.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        let (_, places) = self.waiting.as_ref()?;
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// One request of this address, whoever it really is.
    pub(super) fn take_unverified(&self, address: IpAddr, now: Timestamp) -> Result<(), Rejection> {
        let own_or_shared = self.addresses.as_ref().or(self.shared_addresses.as_ref());
        let Some(addresses) = own_or_shared else { return Ok(()) };
        addresses
            .with(|limiter| limiter.try_take(network_of(address), now))
            .map_err(|wait: Duration| Rejection::rate("address_rate", wait))
    }

    /// One request of the provider itself: only verified ones count, so that nobody else can spend them.
    pub(super) fn take_verified(&self, now: Timestamp) -> Result<(), Rejection> {
        let Some(verified) = &self.verified else { return Ok(()) };
        verified
            .with(|limiter| limiter.try_take(1, now))
            .map_err(|wait: Duration| Rejection::rate("source_rate", wait))
    }
}

/// One subscriber has a whole IPv6 /64: its addresses count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}
