//! Memory for bodies that nobody vouches for yet: one budget over all connections, counted by bytes that have really
//! arrived, so that nobody can take it by announcing much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Up to this length a body may use all of the budget; what is longer leaves a quarter of it alone. So a few endless
/// uploads cannot keep ordinary events out.
const SMALL_BODY_BYTES: u64 = 64 * 1024;

/// The budget.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    bytes_max: AtomicU64,
}

/// What one request holds of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), bytes_max: AtomicU64::new(bytes_max) })
    }

    /// Shares that are held already stay.
    pub(super) fn resize(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    /// Whether an ordinary body would find room now.
    pub(super) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.bytes_max.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `bytes` more; says whether they were there to take.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let bytes_max = self.budget.bytes_max.load(Ordering::Relaxed);
        let share = self.bytes.saturating_add(bytes);
        let ceiling = if share <= SMALL_BODY_BYTES { bytes_max } else { bytes_max / 4 * 3 };
        let taken = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= ceiling)
        });
        if taken.is_ok() {
            self.bytes = share;
        }
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_a_quarter_to_ordinary_ones() {
        let budget = Budget::new(400 * 1024);
        let mut large = budget.share();
        assert!(large.grow(300 * 1024));
        assert!(!large.grow(1), "a large body may not go into the last quarter");
        let mut small = budget.share();
        assert!(small.grow(64 * 1024));
        assert!(!small.grow(1), "it is large by now");
        assert!(budget.has_room());
        drop(large);
        assert!(small.grow(200 * 1024));
    }

    #[test]
    fn what_was_held_is_given_back_once() {
        let budget = Budget::new(1000);
        for _ in 0..10 {
            let mut share = budget.share();
            assert!(share.grow(400) && share.grow(600) && !share.grow(1));
            assert!(!budget.has_room());
        }
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
