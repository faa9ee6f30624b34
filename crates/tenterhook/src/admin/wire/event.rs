//! Events, deliveries and attempts, as they travel.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::admin::mask;
use crate::model::{DeliveryState, Priority, Timestamp};
use crate::store::{
    AttemptRecord, ConflictRecord, DeliveryDetail, DeliverySummary, EventDetail, EventSummary, Payload,
};

/// An event in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventWire {
    /// Our id. In a list with `order=asc` it is also the cursor from which to go on.
    pub id: String,
    /// The provider's id.
    pub event_id: Option<String>,
    /// The source.
    pub source: String,
    /// The provider's catalog name, or `custom`.
    pub provider: String,
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `pending`, `delivered`, `dead` or `ignored`.
    pub state: String,
    /// When it was received.
    pub received_at: String,
    /// Length of the body.
    pub body_bytes: u64,
    /// How often a duplicate of it was answered.
    pub duplicates: u64,
    /// How many requests with a conflicting body arrived.
    pub conflicts: u32,
    /// The same signed content was seen before under another id.
    pub replay_suspect: bool,
}

impl EventWire {
    /// As it travels.
    #[must_use]
    pub fn of(event: &EventSummary) -> Self {
        Self {
            id: event.id.to_string(),
            event_id: event.provider_event_id.clone(),
            source: event.source.to_string(),
            provider: event.provider.clone(),
            event_type: event.event_type.clone(),
            state: event.state.as_str().to_owned(),
            received_at: event.received_at.rfc3339(),
            body_bytes: event.body_bytes,
            duplicates: event.duplicates,
            conflicts: event.conflicts,
            replay_suspect: event.replay_suspect,
        }
    }
}

/// One event with all that is known of it but the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDetailWire {
    /// As in the list.
    #[serde(flatten)]
    pub event: EventWire,
    /// The correlation id of the request that brought it.
    pub correlation_id: String,
    /// The address it came from.
    pub source_ip: Option<String>,
    /// Path and query as they arrived, tokens masked.
    pub url: String,
    /// The first 16 bytes of the body's SHA-256, in hex.
    pub body_digest: String,
    /// When the last delivery was confirmed, once all are.
    pub processed_at: Option<String>,
    /// What a handler answered last.
    pub result: Option<String>,
    /// The stored headers, credentials masked; `null` when the payload cannot be read.
    pub headers: Option<Vec<(String, String)>>,
    /// `intact`, `corrupt` (the bytes do not fit their checksum) or `gone`.
    pub payload: String,
    /// The deliveries, each with its attempts.
    pub deliveries: Vec<DeliveryDetailWire>,
    /// Conflicting bodies kept.
    pub conflict_bodies: Vec<ConflictWire>,
}

impl EventDetailWire {
    /// As it travels. `payload` is the stored one; `corrupt` tells that it could not be read.
    #[must_use]
    pub fn of(event: &EventDetail, payload: Option<&Payload>, corrupt: bool) -> Self {
        Self {
            event: EventWire::of(&event.summary),
            correlation_id: event.correlation_id.clone(),
            source_ip: event.source_ip.map(|address| address.to_string()),
            url: mask::url(&event.original_url),
            body_digest: HEXLOWER.encode(&event.body_digest),
            processed_at: event.processed_at.map(Timestamp::rfc3339),
            result: event.result.clone(),
            headers: payload.map(|payload| mask::headers(&payload.headers)),
            payload: match payload {
                Some(_) => "intact",
                None if corrupt => "corrupt",
                None => "gone",
            }
            .to_owned(),
            deliveries: event.deliveries.iter().map(DeliveryDetailWire::of).collect(),
            conflict_bodies: event.conflicts.iter().map(ConflictWire::of).collect(),
        }
    }
}

/// A delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryWire {
    /// Its id: `evt_…/destination`.
    pub id: String,
    /// Its event.
    pub event: String,
    /// Where to.
    pub destination: String,
    /// The source of its event.
    pub source: String,
    /// The type of its event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `pending`, `leased`, `delivered`, `dead`.
    pub state: String,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// Its ordering key.
    pub ordering_key: Option<String>,
    /// It waits behind another of its ordering key.
    pub held: bool,
    /// Attempts made in all.
    pub attempts: u32,
    /// When it is due, while pending.
    pub due_at: Option<String>,
    /// When its lease ends, while leased.
    pub leased_until: Option<String>,
    /// When it was delivered or given up.
    pub settled_at: Option<String>,
    /// Why it is dead.
    pub dead_reason: Option<String>,
    /// When its event was received.
    pub received_at: String,
}

impl DeliveryWire {
    /// As it travels.
    #[must_use]
    pub fn of(delivery: &DeliverySummary) -> Self {
        let at = |states: &[DeliveryState]| states.contains(&delivery.state).then(|| delivery.at.rfc3339());
        Self {
            id: delivery.id.to_string(),
            event: delivery.id.event.to_string(),
            destination: delivery.id.destination.to_string(),
            source: delivery.source.to_string(),
            event_type: delivery.event_type.clone(),
            state: delivery.state.as_str().to_owned(),
            priority: match delivery.priority {
                Priority::High => "high",
                Priority::Normal => "normal",
                Priority::Low => "low",
            }
            .to_owned(),
            ordering_key: delivery.ordering_key.clone(),
            held: delivery.held,
            attempts: delivery.attempts,
            due_at: at(&[DeliveryState::Pending]),
            leased_until: at(&[DeliveryState::Leased]),
            settled_at: at(&[DeliveryState::Delivered, DeliveryState::Dead]),
            dead_reason: delivery.dead_reason.map(|reason| reason.code().to_owned()),
            received_at: delivery.received_at.rfc3339(),
        }
    }
}

/// One delivery with its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryDetailWire {
    /// As in the list.
    #[serde(flatten)]
    pub delivery: DeliveryWire,
    /// The attempts, oldest first. `attempts` beside it is their number, also of ones no longer kept.
    #[serde(rename = "attempt_log")]
    pub attempts: Vec<AttemptWire>,
}

impl DeliveryDetailWire {
    fn of(delivery: &DeliveryDetail) -> Self {
        Self {
            delivery: DeliveryWire::of(&delivery.summary),
            attempts: delivery.attempts.iter().map(AttemptWire::of).collect(),
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptWire {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// HTTP status or exit code.
    pub status: Option<i32>,
    /// What kind of failure (`connect`, `timeout`, `server`, …).
    pub failure: Option<String>,
    /// `complete`, `retry`, `dead_letter` or `release`.
    pub verdict: String,
    /// The beginning of the response or output.
    pub excerpt: String,
}

impl AttemptWire {
    fn of(attempt: &AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at.rfc3339(),
            took_ms: attempt.took_ms,
            status: attempt.status,
            failure: attempt.failure.map(|kind| kind.code().to_owned()),
            verdict: attempt.verdict.clone(),
            excerpt: attempt.excerpt.clone(),
        }
    }
}

/// A body that arrived under a known key. It is read at `/api/v1/events/{id}/body?conflict=NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictWire {
    /// Its number, from 1.
    pub number: u32,
    /// When it arrived.
    pub received_at: String,
    /// Its length.
    pub body_bytes: u64,
    /// The first 16 bytes of its SHA-256, in hex.
    pub body_digest: String,
    /// The event it was delivered as.
    pub delivered_as: Option<String>,
}

impl ConflictWire {
    fn of(conflict: &ConflictRecord) -> Self {
        Self {
            number: conflict.number,
            received_at: conflict.received_at.rfc3339(),
            body_bytes: conflict.body_bytes,
            body_digest: HEXLOWER.encode(&conflict.body_digest),
            delivered_as: conflict.delivered_as.map(|event| event.to_string()),
        }
    }
}
