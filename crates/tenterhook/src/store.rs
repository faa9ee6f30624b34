//! The inbox: the only thing that remembers. Ingress accepts into it, the dispatcher leases from it and settles into
//! it, people change and read it through `ops`. Nobody else knows which backend it is.

pub mod cursor;
pub mod memory;
pub mod query;
pub mod selection;
pub mod sqlite;
mod standby;
pub mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use crate::model::{
    Accepted, DeliveryId, DestinationName, EventId, Lease, Ledger, Settled, Settlement, Stats, Submission,
    Timestamp,
};
pub use query::{
    AttemptRecord, AuditEntry, Change, Changed, ConflictRecord, DeliveryDetail, DeliveryQuery,
    DeliverySummary, EventDetail, EventQuery, EventSummary, Page, Payload, Selection,
};
pub use standby::Standby;

/// Conflicting bodies kept per key, at most.
pub const CONFLICTS_KEPT: usize = 8;

/// Attempts kept per delivery, at most: the latest ones (releases spend no budget, so nothing else bounds them).
pub const ATTEMPTS_KEPT: usize = 100;

/// The store. Each bullet is a test of the contract suite that every backend passes.
///
/// Time is in the arguments, so that the same calls give the same answers everywhere: an accept happens at the
/// submission's `received_at`, a settlement when its attempt ended (`started_at + took`), a change at `by.at`.
#[async_trait]
pub trait Store: Send + Sync {
    /// - durable on return; all of the batch or none; answers in order
    /// - ids are `EventId::next(last, received_at)`; a delivery is due at `received_at`
    /// - a known key is `Duplicate`, also within one batch and across concurrent calls, and only once the first is
    ///   durable; it is counted with the event, also when its event is gone (`Forgotten`)
    /// - a key and a repeat digest are known until `window::forgotten_at` of their event and its window, also when
    ///   the event is pruned or purged before
    /// - the same key with another body is `Conflict`: counted with the event, and kept unless that very body is
    ///   kept already, [`CONFLICTS_KEPT`] are, or the event is gone; with `OnConflict::Deliver` every body that is
    ///   not kept already is also an event of its own, without a key
    /// - a known `repeat` digest, where the key is new or there is none, is flagged, or a duplicate of the newest
    ///   event that carries it, as the submission's policy says
    /// - a duplicate of an event with dead deliveries redrives them, with a new budget, where the policy says so:
    ///   once per dead letter (one that dies again waits for a person, whose requeue allows one more), audited
    ///   (`gateway`, `redrive`, the event's id, how many), not those that `change` would call out of order; the answer
    ///   tells the state after it
    /// - a failed call leaves no trace: no key is burnt
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError>;

    /// Takes leases for the lanes that ask; attempts += 1, durably.
    /// - first, an expired lease (`until <= now`) of these lanes is pending again, due at its end; or dead
    ///   (`LeaseExpired`, at its end) when its budget is spent
    /// - most urgent first, then longest due, then oldest; never one that a live lease covers
    /// - `least_urgent_first` of a lane's leases come from its least urgent priority that has one to give, before the
    ///   others
    /// - with an ordering key (of one destination): never while an older one of the key is pending or leased, or dead
    ///   with `OnDead::Hold`, and never while any other of the key is leased; over priorities and batches
    /// - a body that does not fit its checksum is dead (`Corrupt`), never leased
    /// - nothing for a destination that is paused, and nothing of it in `next_due`
    /// - a lane ends at the first body that does not fit `bytes_max`; the other lanes go on
    /// - says when the next one of these lanes falls due or a lease of theirs ends, new ones included
    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError>;

    /// Where leases arrive that were taken in the very step that accepted their event, for lanes that stand by: for
    /// whoever asks first. `None`: this backend leases only when it is asked.
    /// - a lease that arrives is durable, with its first attempt counted, as if `lease` had taken it at the accept
    /// - never for a destination that is paused, with an ordering key, or once the lane has taken its room back
    fn handed_out(&self) -> Option<UnboundedReceiver<Lease>> {
        None
    }

    /// The lanes that lend room, in place of those before. They lend only while nothing else of theirs is due, so that
    /// nobody is overtaken.
    fn stand_by(&self, _lanes: Vec<Arc<Standby>>) {}

    /// Ends leases: attempt row and new state in one durable step; answers in order.
    /// - a settlement counts while its delivery is leased with that attempt number, also after the lease's end as
    ///   long as no `lease` has noticed; else it changes nothing and says so
    /// - `Release` keeps its attempt number, but spends nothing of the budget
    /// - a `result` is kept as the event's when the verdict is `Complete`
    /// - the latest [`ATTEMPTS_KEPT`] attempts are kept
    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError>;

    /// By hand, audited in the same step (unless nothing was changed): the first `selection.limit` deliveries in id
    /// order that are selected and that the change applies to.
    /// - requeue adds a new budget and never repeats attempt numbers; it is due at `by.at`
    /// - requeue behind newer delivered ones of the same destination and ordering key needs `out_of_order`; else
    ///   they are counted and left alone, one after another in id order
    /// - an event whose last delivery was forgotten goes with it; its key stays until its window ends
    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError>;

    /// Removes what retention allows, a bounded amount at a time.
    /// - never a pending, leased or dead delivery, nor its event (dead ones only when `retention.dead` has passed
    ///   since they died; they then count as purged)
    /// - the key outlives its event: a tombstone stays until the window ends, and is removed then
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError>;

    /// Events, newest first.
    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError>;

    /// One event with its deliveries, attempts and conflicts.
    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError>;

    /// The stored headers and exact body of an event, or of its n-th conflict (from 1).
    /// - bytes that do not fit their checksum are `StoreErrorKind::Corrupt`
    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError>;

    /// Deliveries, highest id (event, then destination name) first.
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError>;

    /// Ledger and gauges, in one transaction.
    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError>;

    /// The ledger counted anew from the rows, plus what is only counted any more (pruned, purged), for
    /// `ledger --verify`.
    async fn recount(&self) -> Result<Ledger, StoreError>;

    /// The ledger's counters and the recount of the same moment, in this order: they differ only where something is
    /// wrong. (A store that cannot give both of one moment gives them one after the other.)
    async fn compare(&self) -> Result<(Ledger, Ledger), StoreError> {
        let counters = self.stats(Timestamp::from_millis(0)).await?.ledger;
        Ok((counters, self.recount().await?))
    }

    /// Pauses or resumes a destination, audited in the same step; survives a restart.
    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError>;

    /// Whether a person paused that destination.
    async fn is_paused(&self, destination: &DestinationName) -> Result<bool, StoreError> {
        let stats = self.stats(Timestamp::from_millis(0)).await?;
        Ok(stats.destinations.get(destination).is_some_and(|of_destination| of_destination.paused))
    }

    /// Records something a person did that changed no delivery (a reload, a test delivery).
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// The audit trail, newest first; `before` is the number that the page before gave as `next`.
    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError>;

    /// Whether the next `accept` would be taken; never waits. `/readyz` is this.
    fn ready(&self) -> Result<(), StoreError>;

    /// Ticks after every commit that made a delivery pending, let a held one go on or resumed a destination: what the
    /// dispatcher waits on. It may tick more often.
    fn work(&self) -> watch::Receiver<u64>;

    /// Finishes what was taken, checkpoints and lets go of the files. Later calls are `Unavailable`.
    async fn close(&self) -> Result<(), StoreError>;
}

/// What the dispatcher could attempt now.
#[derive(Clone, Debug)]
pub struct Demand {
    /// One entry per destination with free capacity.
    pub lanes: Vec<LaneDemand>,
    /// Bodies of all leases together, at most; one lease is always allowed.
    pub bytes_max: u64,
    /// The time.
    pub now: Timestamp,
}

/// One destination's share of a demand.
#[derive(Clone, Debug)]
pub struct LaneDemand {
    /// The destination.
    pub destination: DestinationName,
    /// How many leases at most.
    pub limit: u32,
    /// How many of them are taken from the least urgent waiting priority first (the fairness bound).
    pub least_urgent_first: u32,
    /// How long a lease lasts.
    pub lease: Duration,
    /// Attempts per budget; an expired lease that has spent them is dead.
    pub attempts_max: u32,
    /// Not this one, when another is due (a probe never takes the same delivery twice running).
    pub avoid: Option<DeliveryId>,
}

/// The answer to a demand.
#[derive(Debug, Default)]
pub struct Leased {
    /// The leases taken.
    pub leases: Vec<Lease>,
    /// When the next delivery of the demanded lanes falls due or a lease of theirs ends, where that is in the future.
    pub next_due: Option<Timestamp>,
    /// Deliveries found dead on the way (budget spent by expired leases, corrupt bytes).
    pub found_dead: Vec<DeliveryId>,
}

/// What may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events whose deliveries are all settled (or that were ignored) are kept this long after they were received.
    pub events: Duration,
    /// Dead letters are kept this long after they died, and with them their event; `None`: until somebody decides.
    pub dead: Option<Duration>,
    /// Audit entries are kept this long.
    pub audit: Duration,
    /// Events, keys and audit entries to remove at most in this call, together.
    pub rows_max: u32,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events removed (their tombstones may remain).
    pub events: u64,
    /// Keys forgotten.
    pub keys: u64,
    /// There is more to remove right away.
    pub more: bool,
}

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// What kind of trouble.
    pub kind: StoreErrorKind,
    /// One line: what was attempted and what the engine said. No payload, no secret.
    pub message: String,
}

/// Kinds of trouble with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// Not now: the disk stalls, the queue is full, the store is being reopened or closed. Retry.
    Unavailable,
    /// No room: the disk or `store.max_bytes`. Heals when there is room again.
    Full,
    /// Stored bytes do not fit their checksum.
    Corrupt,
    /// Made by a newer version, or not ours at all: left untouched.
    Incompatible,
    /// Another process holds it; the message names its pid.
    Locked,
    /// The request itself cannot be carried out (a bad cursor).
    Invalid,
}

impl StoreErrorKind {
    /// The stable code, for logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Incompatible => "incompatible",
            Self::Locked => "locked",
            Self::Invalid => "invalid",
        }
    }
}

impl StoreError {
    /// Makes one.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Full)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {}: {}", self.kind.code(), self.message)
    }
}

impl std::error::Error for StoreError {}
