//! The inbox: the only thing that remembers. Ingress accepts into it, the dispatcher leases from it and settles into
//! it, people change and read it through `ops`. Nobody else knows which backend it is.

pub mod memory;
pub mod query;
pub mod sqlite;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{
    Accepted, DeliveryId, DestinationName, EventId, Lease, Ledger, Settled, Settlement, Stats, Submission,
    Timestamp,
};
pub use query::{
    AttemptRecord, AuditEntry, Change, Changed, ConflictRecord, DeliveryDetail, DeliveryQuery,
    DeliverySummary, EventDetail, EventQuery, EventSummary, Page, Payload, Selection,
};

/// The store. Each bullet is a test of the contract suite that every backend passes.
#[async_trait]
pub trait Store: Send + Sync {
    /// - durable on return; all of the batch or none; answers in order
    /// - a known key is `Duplicate`, also within one batch and across concurrent calls, and only once the first is
    ///   durable; the same key with another body is `Conflict` (at most 8 bodies are kept per key)
    /// - a known `repeat` digest under another key is flagged, or a duplicate, as the submission's policy says
    /// - a duplicate of an event with dead deliveries redrives them, once per dead letter, audited, where the policy
    ///   says so
    /// - a failed call leaves no trace: no key is burnt
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError>;

    /// Takes leases for the lanes that ask; attempts += 1, durably.
    /// - most urgent first, then longest due; never one that a live lease covers
    /// - with an ordering key: never the second of a key while the first is unsettled, over priorities and batches
    /// - an expired lease is pending again at its end, or dead when its budget is spent
    /// - a body that does not fit its checksum is dead (`Corrupt`), never leased
    /// - nothing for a destination that is paused
    /// - says when the next one of these lanes falls due
    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError>;

    /// Ends leases: attempt row and new state in one durable step; answers in order.
    /// - a settlement whose lease was lost changes nothing and says so
    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError>;

    /// By hand, audited in the same step: at most `selection.limit` deliveries a call.
    /// - requeue adds a new budget and never repeats attempt numbers
    /// - requeue behind newer delivered ones of the same ordering key needs `out_of_order`
    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError>;

    /// Removes what retention allows, a bounded amount at a time.
    /// - never a pending, leased or dead delivery, nor its event (dead only with `dead_retention`)
    /// - the key outlives its event: a tombstone stays until the window ends
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError>;

    /// Events, newest first.
    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError>;

    /// One event with its deliveries, attempts and conflicts.
    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError>;

    /// The stored headers and exact body of an event, or of its n-th conflict (from 1).
    /// - bytes that do not fit their checksum are `StoreErrorKind::Corrupt`
    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError>;

    /// Deliveries, newest first.
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError>;

    /// Ledger and gauges, in one transaction.
    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError>;

    /// The ledger counted anew from the rows, for `ledger --verify`.
    async fn recount(&self) -> Result<Ledger, StoreError>;

    /// Pauses or resumes a destination, audited in the same step; survives a restart.
    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError>;

    /// Records something a person did that changed no delivery (a reload, a test delivery).
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// The audit trail, newest first.
    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError>;

    /// Whether the next `accept` would be taken; never waits. `/readyz` is this.
    fn ready(&self) -> Result<(), StoreError>;

    /// Ticks after every commit that made a delivery pending: what the dispatcher waits on.
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
    /// Events whose deliveries are all settled are kept this long after they were received.
    pub events: Duration,
    /// Dead letters are kept this long; `None`: until somebody decides.
    pub dead: Option<Duration>,
    /// Audit entries are kept this long.
    pub audit: Duration,
    /// Rows to remove at most in this call.
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
