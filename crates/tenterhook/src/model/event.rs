//! An event on its way in: admitted, submitted, answered.

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tenterhook_verify::Verified;

use super::delivery::{DeliveryState, NewDelivery};
use super::id::EventId;
use super::name::SourceName;
use super::time::Timestamp;

/// The first 16 bytes of a SHA-256.
pub type Digest16 = [u8; 16];

/// Everything about a request that the store keeps, before anybody vouches for it.
#[derive(Clone, Debug)]
pub struct AdmittedParts {
    /// The source that received it.
    pub source: SourceName,
    /// The provider's name in the catalog, or `custom`.
    pub provider: String,
    /// The provider's own id of the notification, exactly as sent; shown, and hashed into `key`.
    pub provider_event_id: Option<String>,
    /// The event type; `unknown` where there is none.
    pub event_type: String,
    /// The idempotency key: a digest of source and id (or of the signed content). `None`: every request is an event.
    pub key: Option<Digest16>,
    /// A digest of source and signed content, where the signature does not cover the id: equal ones are repeats.
    pub repeat: Option<Digest16>,
    /// A digest of the body: the same key with another one is a conflict.
    pub body_digest: Digest16,
    /// What to do about duplicates, repeats and conflicts.
    pub dedupe: DedupePolicy,
    /// The exact bytes that were signed.
    pub body: Bytes,
    /// The headers that may be stored (no tokens, no cookies, no hop-by-hop headers).
    pub headers: HeaderMap,
    /// Minted at the door for each request.
    pub correlation_id: String,
    /// The address the request came from, behind trusted proxies.
    pub source_ip: Option<IpAddr>,
    /// Path and query as they arrived, without a token that the source reads from the query.
    pub original_url: String,
    /// When it was received.
    pub received_at: Timestamp,
}

/// A request that was verified. It can be made only from a [`Verified`], so an unverified request cannot be stored.
#[derive(Clone, Debug)]
pub struct Admitted(AdmittedParts);

impl Admitted {
    /// Takes the proof that `parts.body` was verified.
    #[must_use]
    pub fn new(verified: &Verified<'_>, parts: AdmittedParts) -> Self {
        debug_assert_eq!(verified.request().body, &parts.body[..], "the proof is about another body");
        Self(parts)
    }

    /// The parts, for whoever stores them.
    #[must_use]
    pub fn into_parts(self) -> AdmittedParts {
        self.0
    }
}

impl Deref for Admitted {
    type Target = AdmittedParts;

    fn deref(&self) -> &AdmittedParts {
        &self.0
    }
}

/// An admitted event with what is owed for it: one atomic step of the store.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The event.
    pub admitted: Admitted,
    /// One per destination; empty for an event that is recorded as ignored.
    pub deliveries: Vec<NewDelivery>,
}

/// What a source does about requests that it has seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupePolicy {
    /// A key is never forgotten before this, and at most an eighth of it later.
    pub window: Duration,
    /// The same signed content under another id that the signature does not cover.
    pub on_repeat: OnRepeat,
    /// The same key with another body.
    pub on_conflict: OnConflict,
    /// A duplicate of an event that has dead letters.
    pub on_duplicate_of_dead: OnDuplicateOfDead,
}

impl Default for DedupePolicy {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(7 * 24 * 3600),
            on_repeat: OnRepeat::Deliver,
            on_conflict: OnConflict::Keep,
            on_duplicate_of_dead: OnDuplicateOfDead::Redrive,
        }
    }
}

/// `on_repeat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRepeat {
    /// Accepted, delivered, flagged `replay_suspect`.
    Deliver,
    /// Answered as a duplicate.
    Duplicate,
}

/// `on_conflict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Kept (at most 8 per key), shown, counted; not delivered.
    Keep,
    /// Kept, and delivered as an event of its own.
    Deliver,
}

/// `on_duplicate_of_dead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicateOfDead {
    /// The dead deliveries are made pending again, once per dead letter, audited.
    Redrive,
    /// Only answered.
    Report,
}

/// What the store says of a submission. Durable when it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A new event.
    New {
        /// Its id.
        id: EventId,
        /// The same signed content was seen under another id.
        replay_suspect: bool,
    },
    /// Known; nothing new was stored.
    Duplicate(Known),
    /// The same key with another body; the body is kept beside the first (unless 8 are already).
    Conflict(Known),
}

/// The event that a duplicate or a conflict met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The first event's id.
    pub id: EventId,
    /// Its rolled-up state.
    pub state: EventState,
    /// When its last delivery was delivered, once all are.
    pub processed_at: Option<Timestamp>,
    /// What the handler answered, for `duplicate_result = true`.
    pub result: Option<String>,
    /// How many dead deliveries this duplicate made pending again.
    pub redriven: u32,
}

/// The state of an event, rolled up from its deliveries. The text is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventState {
    /// At least one delivery is pending or leased.
    Pending,
    /// Every delivery is delivered.
    Delivered,
    /// None is pending, at least one is dead.
    Dead,
    /// Nothing is owed.
    Ignored,
    /// Only the key is left: retention or a purge took the event.
    Forgotten,
}

impl EventState {
    /// The stable text, in the API and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Ignored => "ignored",
            Self::Forgotten => "forgotten",
        }
    }

    /// Rolls up the states of an event's deliveries.
    #[must_use]
    pub fn of(deliveries: impl IntoIterator<Item = DeliveryState>) -> Self {
        deliveries.into_iter().fold(Self::Ignored, |state, delivery| match (state, delivery) {
            (Self::Pending, _) | (_, DeliveryState::Pending | DeliveryState::Leased) => Self::Pending,
            (Self::Dead, _) | (_, DeliveryState::Dead) => Self::Dead,
            (_, DeliveryState::Delivered) => Self::Delivered,
            (state, DeliveryState::Purged) => state,
        })
    }
}
