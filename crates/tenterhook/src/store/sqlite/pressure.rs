//! How many accepts may be on their way at the same time: as many as the disk makes durable soon. A longer queue stores
//! no more; it only makes everybody wait, until the senders give up and what they gave up is stored for nothing.
//! Knows no queue and no disk: it is told how long the slowest of a transaction had to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An accept that waited longer has waited too long.
const SOON: Duration = Duration::from_millis(400);
/// So many are always let in. Where a commit takes long however few it carries, fewer of them would help nobody.
const LIMIT_MIN: usize = 256;
/// Before anything is known of the disk.
const LIMIT_AT_FIRST: usize = 512;

/// With so many under way there is no time for what only saves room.
const BUSY: usize = 24;

/// The limit, and how much of it is taken.
#[derive(Debug)]
pub(super) struct Pressure {
    under_way: AtomicUsize,
    limit: AtomicUsize,
    limit_max: usize,
}

/// The place of one accept, from its arrival to its answer.
#[derive(Debug)]
pub(super) struct Place(Arc<Pressure>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pressure {
    /// Never more than `limit_max`.
    pub(super) fn new(limit_max: usize) -> Arc<Self> {
        Arc::new(Self {
            under_way: AtomicUsize::new(0),
            limit: AtomicUsize::new(LIMIT_AT_FIRST.min(limit_max)),
            limit_max,
        })
    }

    /// A place, where there is one.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let limit = self.limit.load(Ordering::Relaxed);
        let taken = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |places| {
            (places < limit).then_some(places + 1)
        });
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Whether [`Pressure::enter`] would find a place now.
    pub(super) fn has_place(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) < self.limit.load(Ordering::Relaxed)
    }

    /// Whether so many are under way that the processor is what they wait for.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= BUSY
    }

    /// A transaction is durable, and the slowest of its accepts took so long. Called by the syncer alone.
    pub(super) fn learn(&self, slowest: Duration) {
        let limit = self.limit.load(Ordering::Relaxed);
        let is_used = self.under_way.load(Ordering::Relaxed) > limit / 2;
        let next = if slowest > SOON {
            limit / 4 * 3
        } else if slowest < SOON / 2 && is_used {
            limit / 4 * 5
        } else {
            limit
        };
        self.limit.store(next.clamp(LIMIT_MIN.min(self.limit_max), self.limit_max), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pressure: &Arc<Pressure>) -> Vec<Place> {
        std::iter::from_fn(|| pressure.enter()).collect()
    }

    #[test]
    fn a_slow_disk_takes_fewer_and_a_quick_one_that_is_used_more() {
        let pressure = Pressure::new(4096);
        let taken = places(&pressure);
        assert_eq!((taken.len(), pressure.has_place()), (512, false));
        pressure.learn(Duration::from_millis(10));
        pressure.learn(Duration::from_millis(10));
        let more = places(&pressure);
        assert_eq!(taken.len() + more.len(), 800, "a quarter more, twice");
        drop((taken, more));
        assert!(pressure.has_place());
        for _ in 0..20 {
            pressure.learn(Duration::from_secs(3));
        }
        assert_eq!(places(&pressure).len(), LIMIT_MIN);
    }

    #[test]
    fn what_is_neither_quick_nor_slow_and_what_is_not_used_changes_nothing() {
        let pressure = Pressure::new(4096);
        pressure.learn(Duration::from_millis(1));
        let taken = places(&pressure);
        pressure.learn(Duration::from_millis(300));
        assert_eq!((taken.len(), places(&pressure).len()), (512, 0));
    }
}
