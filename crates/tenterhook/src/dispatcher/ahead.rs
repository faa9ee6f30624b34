//! What a lane has taken ahead: leases that wait for a place, in the order in which they were taken, and how many of
//! them make sense at the receiver's pace. Knows nothing of breakers, rates or the store.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Lease, Timestamp};

/// Leases are taken ahead for so much time: what an urgent delivery may have to wait for, and what a pause lets through.
const AHEAD: Duration = Duration::from_millis(250);

/// Leases taken ahead for each place, at most. A killed process leaves so many that were taken for nothing.
const AHEAD_PER_PLACE: u32 = 2;

/// Leases that wait for a place.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    leases: VecDeque<Lease>,
    /// Their bodies.
    bytes: u64,
    /// How long an attempt takes of late; unknown before the first.
    pace: Option<Duration>,
}

impl Ahead {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.leases.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, lease: Lease) {
        self.bytes += lease.message.body.len() as u64;
        self.leases.push_back(lease);
    }

    pub(super) fn pop(&mut self) -> Option<Lease> {
        let lease = self.leases.pop_front()?;
        self.bytes = self.bytes.saturating_sub(lease.message.body.len() as u64);
        Some(lease)
    }

    pub(super) fn drain(&mut self) -> Vec<Lease> {
        self.bytes = 0;
        self.leases.drain(..).collect()
    }

    /// The first ones, as far as their leases end before `needed`.
    pub(super) fn drain_late(&mut self, needed: Timestamp) -> Vec<Lease> {
        let mut late = Vec::new();
        while self.leases.front().is_some_and(|first| first.until <= needed) {
            late.extend(self.pop());
        }
        late
    }

    /// An attempt took so long.
    pub(super) fn learn(&mut self, took: Duration) {
        self.pace = Some(self.pace.map_or(took, |pace| (pace * 7 + took) / 8));
    }

    /// How many may wait: as many as so many places begin within [`AHEAD`].
    pub(super) fn max(&self, places: u32) -> u32 {
        let Some(pace) = self.pace else { return 0 };
        let rounds = AHEAD.as_micros() / pace.as_micros().max(1000);
        let leases = rounds.saturating_mul(u128::from(places));
        u32::try_from(leases).unwrap_or(u32::MAX).min(places.saturating_mul(AHEAD_PER_PLACE))
    }
}

/// The store puts the least urgent ones that have their turn before all others. Taken ahead, each waits for its own turn:
/// `since` are the leases since the last one; of `fairness` leases one is theirs.
pub(super) fn spread(leases: Vec<Lease>, since: u32, fairness: u32) -> Vec<Lease> {
    let is_behind = |pair: &[Lease]| pair[0].priority > pair[1].priority;
    let turns = leases.windows(2).position(is_behind).map_or(0, |last| last + 1);
    let mut others = leases;
    let mut turns: VecDeque<_> = others.drain(..turns).collect();
    let mut spread = Vec::with_capacity(turns.len() + others.len());
    for other in others {
        if (since + u32::try_from(spread.len()).unwrap_or(u32::MAX)) % fairness == fairness - 1 {
            spread.extend(turns.pop_front());
        }
        spread.push(other);
    }
    spread.extend(turns);
    spread
}
