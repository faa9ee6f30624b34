//! Leases that are taken in the transaction that accepts their event: who stands by, what the present transaction took,
//! and the way to the dispatcher once it is durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::codec::Packed;
use crate::model::{DeliveryId, DestinationName, EventId, Lease, Message, Priority, Timestamp};
use crate::store::Standby;

/// Longer bodies are leased when they are asked for, so that what is handed out is bounded by the lanes' room alone.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the front and the writer share of it.
#[derive(Debug)]
pub(super) struct Handout {
    lanes: RwLock<HashMap<DestinationName, Arc<Standby>>>,
    /// Bounded by the room that is lent.
    out: UnboundedSender<Lease>,
    receiver: Mutex<Option<UnboundedReceiver<Lease>>>,
}

/// A lease that the present transaction takes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) event: i64,
    pub(super) until: i64,
    pub(super) priority: Priority,
    pub(super) replay_suspect: bool,
    pub(super) lane: Arc<Standby>,
}

impl Handout {
    pub(super) fn new() -> Self {
        let (out, receiver) = unbounded_channel();
        Self { lanes: RwLock::default(), out, receiver: Mutex::new(Some(receiver)) }
    }

    /// The receiving end, for whoever asks first.
    pub(super) fn receiver(&self) -> Option<UnboundedReceiver<Lease>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The lanes that stand by from now on.
    pub(super) fn stand_by(&self, lanes: Vec<Arc<Standby>>) {
        let lanes = lanes.into_iter().map(|lane| (lane.destination.clone(), lane)).collect();
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes;
    }

    /// The lane of a destination, with room for one used, where it has some.
    pub(super) fn use_one(&self, destination: &DestinationName, body_bytes: usize) -> Option<Arc<Standby>> {
        if body_bytes > BODY_BYTES_MAX {
            return None;
        }
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.get(destination).filter(|lane| lane.use_one()).map(Arc::clone)
    }

    /// Sends the leases that were taken of an event; they are durable now. Where nobody listens any more they end by
    /// themselves.
    pub(super) fn hand_out(&self, packed: Packed, taken: &[Taken]) {
        let parts = packed.parts;
        let Some(first) = taken.first() else { return };
        let message = Message {
            id: EventId::from_raw(first.event),
            provider_event_id: parts.provider_event_id,
            source: parts.source,
            provider: parts.provider,
            event_type: parts.event_type,
            attempt: 1,
            first_received: parts.received_at,
            correlation_id: parts.correlation_id,
            original_url: parts.original_url,
            replay_suspect: first.replay_suspect,
            headers: parts.headers,
            body: parts.body,
        };
        let lease = |taken: &Taken, message: Message| Lease {
            delivery: DeliveryId { event: message.id, destination: taken.lane.destination.clone() },
            until: Timestamp::from_millis(taken.until),
            attempt_of_budget: 1,
            priority: taken.priority,
            message,
        };
        if let Some((last, others)) = taken.split_last() {
            for taken in others {
                let _ = self.out.send(lease(taken, message.clone()));
            }
            let _ = self.out.send(lease(last, message));
        }
    }
}
