//! A delivery: one event owed to one destination; its leases, attempts and verdicts.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::id::{DeliveryId, EventId};
use super::name::{DestinationName, SourceName};
use super::time::Timestamp;

/// How urgent a delivery is. Sorts by urgency: `High` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// First.
    High,
    /// The default.
    #[default]
    Normal,
    /// Last, but at least one lease in 16.
    Low,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// A delivery to be created with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Where to.
    pub destination: DestinationName,
    /// How urgent.
    pub priority: Priority,
    /// Deliveries of one destination with equal keys are delivered one after another, in commit order.
    pub ordering_key: Option<String>,
    /// What a dead letter does to the ones behind it with the same ordering key.
    pub on_dead: OnDead,
}

/// `on_dead` of a route with an ordering key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnDead {
    /// The ones behind it go on.
    #[default]
    Continue,
    /// The ones behind it wait until somebody redrives or purges it.
    Hold,
}

/// Where a delivery stands. The text is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Due now or later.
    Pending,
    /// Being attempted, until the lease ends.
    Leased,
    /// Confirmed by the destination.
    Delivered,
    /// Given up; kept until somebody decides.
    Dead,
    /// Removed by an operator; only counted.
    Purged,
}

impl DeliveryState {
    /// The stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Purged => "purged",
        }
    }
}

/// The right to attempt a delivery until a time, with all that the attempt needs.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What is attempted. With `message.attempt` it is the fencing token.
    pub delivery: DeliveryId,
    /// When the right ends.
    pub until: Timestamp,
    /// Attempts already used of the present budget, this one included: 1 for the first attempt, and again 1 for the
    /// first after a redrive or replay.
    pub attempt_of_budget: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// What to deliver.
    pub message: Message,
}

/// What a destination is given. The body is exactly what was signed.
#[derive(Clone, Debug)]
pub struct Message {
    /// Our id of the event: `webhook-id`, the same on every attempt.
    pub id: EventId,
    /// The provider's own id.
    pub provider_event_id: Option<String>,
    /// The source that received it.
    pub source: SourceName,
    /// The provider's name in the catalog, or `custom`.
    pub provider: String,
    /// The event type.
    pub event_type: String,
    /// Which attempt this is, counted from 1; numbers never repeat.
    pub attempt: u32,
    /// When the event was received.
    pub first_received: Timestamp,
    /// The correlation id of the request that brought it.
    pub correlation_id: String,
    /// Path and query as they arrived.
    pub original_url: String,
    /// The same signed content was seen before under another id.
    pub replay_suspect: bool,
    /// The provider's own headers, as stored.
    pub headers: HeaderMap,
    /// The exact bytes.
    pub body: Bytes,
}

/// What came of one attempt, as the destination saw it. A failed delivery is a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What came of it.
    pub outcome: Outcome,
    /// HTTP status, or exit code.
    pub status: Option<i32>,
    /// The beginning of the response or output (at most 1 KiB), or what went wrong. No secret.
    pub excerpt: String,
    /// What the handler said, when it answered a JSON object (at most 4 KiB).
    pub result: Option<String>,
    /// How long the attempt took.
    pub took: Duration,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Confirmed by the receiver.
    Delivered,
    /// Not confirmed; a retry can help.
    Failed {
        /// What kind of failure, for breaker and metrics.
        kind: FailureKind,
        /// How long the receiver asked to wait (`Retry-After`), unclamped.
        after: Option<Duration>,
    },
    /// Refused for good by the receiver (410, a configured status or exit code, a `reject` of a batch item).
    Rejected,
    /// It could not be tried for a reason that is ours (a name that resolves to a private address, a missing
    /// certificate): the lane pauses with an alarm, and no attempt is spent.
    NotTried,
}

/// Kinds of failure. The code is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// No connection, or it broke before an answer.
    Connect,
    /// No answer in time.
    Timeout,
    /// 5xx, or a command that failed.
    Server,
    /// 4xx other than 429.
    Client,
    /// 429: the receiver asks for less.
    RateLimited,
    /// An answer that is not one (broken HTTP, 3xx, too large).
    Protocol,
    /// The destination's own code panicked.
    Internal,
}

impl FailureKind {
    /// Every kind, for tables.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Server,
        Self::Client,
        Self::RateLimited,
        Self::Protocol,
        Self::Internal,
    ];

    /// The stable code: metric label and stored text.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Client => "client",
            Self::RateLimited => "rate_limited",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered.
    Complete,
    /// Pending again, due at a time.
    Retry {
        /// When it is due.
        at: Timestamp,
    },
    /// Given up.
    DeadLetter {
        /// Why.
        reason: DeadReason,
    },
    /// Pending again without having spent anything of its budget (it was not tried).
    Release {
        /// When it is due.
        at: Timestamp,
    },
}

impl Verdict {
    /// The stable code, stored with the attempt.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Retry { .. } => "retry",
            Self::DeadLetter { .. } => "dead_letter",
            Self::Release { .. } => "release",
        }
    }
}

impl Settlement {
    /// When the attempt ended.
    #[must_use]
    pub fn ended_at(&self) -> Timestamp {
        self.started_at.plus(self.reply.took)
    }
}

/// Why a delivery is dead. The code is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// Every attempt of the budget failed.
    AttemptsExhausted,
    /// The receiver refused it for good.
    Rejected,
    /// The last lease of the budget ended without a settlement (the process died, or hung).
    LeaseExpired,
    /// A person gave it up.
    Cancelled,
    /// The stored bytes do not fit their checksum; they are kept for inspection and never delivered.
    Corrupt,
}

impl DeadReason {
    /// Every reason, for tables.
    pub const ALL: [Self; 5] =
        [Self::AttemptsExhausted, Self::Rejected, Self::LeaseExpired, Self::Cancelled, Self::Corrupt];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Rejected => "rejected",
            Self::LeaseExpired => "lease_expired",
            Self::Cancelled => "cancelled",
            Self::Corrupt => "corrupt",
        }
    }
}

/// The end of a lease: what happened, and what becomes of the delivery.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The attempt number of the lease: settles only that one.
    pub attempt: u32,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// What the destination said.
    pub reply: Reply,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What the store says of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The attempt and the new state are durable.
    Recorded,
    /// The lease had ended and somebody else holds the delivery, or it is settled already: nothing changed.
    LeaseLost,
}
