//! What people ask of the store, and what they see. Plain values; the wire shapes are the admin API's.

use std::net::IpAddr;

use bytes::Bytes;
use http::HeaderMap;

use crate::model::{
    DeadReason, DeliveryId, DeliveryState, DestinationName, Digest16, EventId, EventState, FailureKind,
    Outcome, Priority, Settlement, SourceName, Timestamp,
};

/// A page of a list, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass this as the query's `after` for the next page; `None` at the end. Opaque to callers.
    pub next: Option<String>,
}

/// Which events. Filters are combined with *and*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Of this source.
    pub source: Option<SourceName>,
    /// Of a type matching this glob (`*` matches any characters; `a` also matches `a.b`).
    pub event_type: Option<String>,
    /// With this provider's id.
    pub provider_event_id: Option<String>,
    /// In this state.
    pub state: Option<EventState>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// The cursor of the page before.
    pub after: Option<String>,
    /// Oldest first: what `events tail` follows.
    pub oldest_first: bool,
    /// Items at most; 0 and more than 1000 mean 1000.
    pub limit: u32,
}

/// An event in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSummary {
    /// Our id.
    pub id: EventId,
    /// The provider's id.
    pub provider_event_id: Option<String>,
    /// The source.
    pub source: SourceName,
    /// The provider's catalog name, or `custom`.
    pub provider: String,
    /// The event type.
    pub event_type: String,
    /// Rolled up from the deliveries.
    pub state: EventState,
    /// When it was received.
    pub received_at: Timestamp,
    /// Length of the body.
    pub body_bytes: u64,
    /// How often a duplicate of it was answered.
    pub duplicates: u64,
    /// How many requests with a conflicting body arrived, also ones whose body was not kept.
    pub conflicts: u32,
    /// The same signed content was seen before under another id.
    pub replay_suspect: bool,
}

/// One event with all that is known of it, but for the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDetail {
    /// As in the list.
    pub summary: EventSummary,
    /// The correlation id of the request that brought it.
    pub correlation_id: String,
    /// The address it came from.
    pub source_ip: Option<IpAddr>,
    /// Path and query as they arrived.
    pub original_url: String,
    /// Digest of the body.
    pub body_digest: Digest16,
    /// When the last delivery was confirmed, once all are.
    pub processed_at: Option<Timestamp>,
    /// What a handler answered last.
    pub result: Option<String>,
    /// The deliveries, each with its attempts.
    pub deliveries: Vec<DeliveryDetail>,
    /// Conflicting bodies kept.
    pub conflicts: Vec<ConflictRecord>,
}

/// One delivery with its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryDetail {
    /// As in the list.
    pub summary: DeliverySummary,
    /// The attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
}

/// A delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySummary {
    /// Its id.
    pub id: DeliveryId,
    /// The source of its event.
    pub source: SourceName,
    /// The type of its event.
    pub event_type: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How urgent it is.
    pub priority: Priority,
    /// Its ordering key.
    pub ordering_key: Option<String>,
    /// It waits behind another of its ordering key.
    pub held: bool,
    /// Attempts made in all.
    pub attempts: u32,
    /// When it is due (pending), or its lease ends (leased), or it was settled.
    pub at: Timestamp,
    /// Why it is dead.
    pub dead_reason: Option<DeadReason>,
    /// When its event was received.
    pub received_at: Timestamp,
}

/// One attempt, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// HTTP status or exit code.
    pub status: Option<i32>,
    /// What kind of failure; `None` when it was delivered, refused for good, or not tried.
    pub failure: Option<FailureKind>,
    /// Delivered, retried, dead: the verdict's stable code (`complete`, `retry`, `dead_letter`, `release`).
    pub verdict: String,
    /// The beginning of the response or output.
    pub excerpt: String,
}

impl AttemptRecord {
    /// What is recorded of a settlement.
    #[must_use]
    pub fn of(settlement: &Settlement) -> Self {
        let reply = &settlement.reply;
        Self {
            number: settlement.attempt,
            started_at: settlement.started_at,
            took_ms: u64::try_from(reply.took.as_millis()).unwrap_or(u64::MAX),
            status: reply.status,
            failure: match reply.outcome {
                Outcome::Failed { kind, .. } => Some(kind),
                Outcome::Delivered | Outcome::Rejected | Outcome::NotTried => None,
            },
            verdict: settlement.verdict.code().to_owned(),
            excerpt: reply.excerpt.clone(),
        }
    }
}

/// A body that arrived under a known key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRecord {
    /// Its number, from 1.
    pub number: u32,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Its length.
    pub body_bytes: u64,
    /// Its digest.
    pub body_digest: Digest16,
    /// The event it was delivered as, with `on_conflict = "deliver"`.
    pub delivered_as: Option<EventId>,
}

/// Headers and exact body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The stored headers.
    pub headers: HeaderMap,
    /// The exact bytes that were signed.
    pub body: Bytes,
}

/// Which deliveries, for lists. Filters are combined with *and*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// Which.
    pub selection: Selection,
    /// The cursor of the page before.
    pub after: Option<String>,
}

/// Which deliveries, for lists and for changes by hand. Filters are combined with *and*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Exactly these.
    pub ids: Option<Vec<DeliveryId>>,
    /// Of this event.
    pub event: Option<EventId>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this source.
    pub source: Option<SourceName>,
    /// To this destination.
    pub destination: Option<DestinationName>,
    /// Of a type matching this glob.
    pub event_type: Option<String>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Only destinations that are not among these (`dead purge --orphaned`).
    pub not_to: Option<Vec<DestinationName>>,
    /// Only ones after this id, in id order: the cursor of a change in slices.
    pub after_id: Option<DeliveryId>,
    /// Deliveries at most in one call; 0 and more than 1000 mean 1000.
    pub limit: u32,
}

/// A change by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only counts what is selected; `out_of_order` tells how many of them a requeue would leave alone. Not audited.
    DryRun,
    /// Dead or delivered: pending again, with a new budget (redrive, replay).
    Requeue {
        /// Also behind newer delivered ones of the same ordering key.
        out_of_order: bool,
    },
    /// Pending: dead (`Cancelled`).
    DeadLetter,
    /// Dead, or pending where the selection has `not_to` (its destination is gone): removed, only counted (`purged`).
    Forget,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Deliveries changed (or that would be).
    pub count: u64,
    /// Deliveries left alone because newer ones of their ordering key are delivered already.
    pub out_of_order: u64,
    /// Pass this as `after_id` for the next slice; `None` at the end.
    pub next: Option<DeliveryId>,
}

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, given by the store; 0 for a new entry.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: the token's name, `cli`, or `gateway`.
    pub actor: String,
    /// What: `redrive`, `replay`, `purge`, `cancel`, `pause`, `resume`, `reload`, …
    pub action: String,
    /// To what, one line.
    pub subject: String,
    /// How many things it touched (the store fills it in for changes).
    pub count: u64,
}
