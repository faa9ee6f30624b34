//! The ledger: counts that always add up, and the figures that gauges show.

use std::collections::BTreeMap;
use std::time::Duration;

use super::name::DestinationName;

/// Everything that was ever accepted, and where it stands. `owed` is always
/// `delivered + pending + leased + dead + purged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events.
    pub events: EventCounts,
    /// Deliveries created.
    pub owed: u64,
    /// Confirmed by their destination.
    pub delivered: u64,
    /// Due now or later (orphans of a removed destination, and held ones, included).
    pub pending: u64,
    /// Being attempted.
    pub leased: u64,
    /// Given up.
    pub dead: u64,
    /// Removed by an operator, or dead letters that `dead_retention` removed.
    pub purged: u64,
}

impl Ledger {
    /// Whether the counts add up.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.owed == self.delivered + self.pending + self.leased + self.dead + self.purged
    }
}

/// Counts of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Recorded: answered 202, or a conflicting body that is delivered as an event of its own.
    pub accepted: u64,
    /// Accepted, but nothing was owed for them; part of `accepted`.
    pub ignored: u64,
    /// Bodies kept because their key was known with another body.
    pub conflicts: u64,
}

/// The store's figures at one moment, from one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The ledger.
    pub ledger: Ledger,
    /// Per destination, also of ones that are no longer configured.
    pub destinations: BTreeMap<DestinationName, DestinationStats>,
    /// Bytes on disk (database and its log); of memory for the memory store.
    pub store_bytes: u64,
    /// Keys in the dedupe index.
    pub dedupe_keys: u64,
}

/// One destination's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationStats {
    /// Confirmed, ever (less those that are replayed now).
    pub delivered: u64,
    /// Due now or later.
    pub pending: u64,
    /// Pending with at least one attempt behind them.
    pub retrying: u64,
    /// Being attempted.
    pub leased: u64,
    /// Given up.
    pub dead: u64,
    /// Pending, but behind another of the same ordering key.
    pub held: u64,
    /// How long ago the event of the oldest pending delivery was received.
    pub oldest_pending: Option<Duration>,
    /// Paused by a person.
    pub paused: bool,
}
