//! Accepting one submission: new, duplicate, repeat or conflict.

use super::state::{Conflict, Event, Key, State};
use super::table::Row;
use crate::model::{
    Accepted, AdmittedParts, DeliveryId, DeliveryState, EventId, Known, NewDelivery, OnConflict,
    OnDuplicateOfDead, OnRepeat, Submission, Timestamp,
};
use crate::store::window::forgotten_at;
use crate::store::{AuditEntry, CONFLICTS_KEPT, ConflictRecord};

impl State {
    pub(super) fn accept(&mut self, submission: Submission) -> Accepted {
        let Submission { admitted, deliveries } = submission;
        let parts = admitted.into_parts();
        let now = parts.received_at;
        if let Some(known) = parts.key.and_then(|key| self.known_key(key, now)) {
            return if known.body_digest == parts.body_digest {
                Accepted::Duplicate(self.duplicate(known.id, &parts))
            } else {
                Accepted::Conflict(self.conflict(known.id, parts, deliveries))
            };
        }
        let repeated = parts.repeat.and_then(|repeat| self.known_repeat(repeat, now));
        match repeated {
            Some(known) if parts.dedupe.on_repeat == OnRepeat::Duplicate => {
                Accepted::Duplicate(self.duplicate(known.id, &parts))
            }
            _ => {
                let replay_suspect = repeated.is_some();
                Accepted::New { id: self.insert(parts, deliveries, replay_suspect), replay_suspect }
            }
        }
    }

    /// Stores an event with what is owed for it, and remembers its key and repeat digest.
    fn insert(
        &mut self,
        parts: AdmittedParts,
        deliveries: Vec<NewDelivery>,
        replay_suspect: bool,
    ) -> EventId {
        let id = EventId::next(self.last_id.unwrap_or(EventId::from_raw(0)), parts.received_at);
        self.last_id = Some(id);
        self.remember(id, &parts);
        self.charge(&parts.headers, &parts.body);
        let ignored = deliveries.is_empty();
        self.counts.accepted += 1;
        self.counts.ignored += u64::from(ignored);
        for delivery in deliveries {
            let delivery_id = DeliveryId { event: id, destination: delivery.destination.clone() };
            // Of two for one destination the first counts, as with routes.
            if self.deliveries.row(&delivery_id).is_none() {
                self.deliveries.insert(&delivery_id, Row::new(delivery, parts.received_at));
            }
        }
        let event = Event {
            parts,
            replay_suspect,
            ignored,
            duplicates: 0,
            conflicting: 0,
            conflicts: Vec::new(),
            result: None,
        };
        self.events.insert(id, event);
        id
    }

    fn remember(&mut self, id: EventId, parts: &AdmittedParts) {
        let forgotten_at = forgotten_at(parts.received_at, parts.dedupe.window);
        let known = Key { id, body_digest: parts.body_digest, forgotten_at };
        if let Some(key) = parts.key {
            self.keys.insert(key, known);
        }
        if let Some(repeat) = parts.repeat {
            let carriers = self.repeats.entry(repeat).or_default();
            // An older carrier matters only where its window ends later.
            carriers.retain(|older| older.forgotten_at > forgotten_at);
            carriers.push(known);
        }
    }

    fn duplicate(&mut self, id: EventId, parts: &AdmittedParts) -> Known {
        if let Some(event) = self.events.get_mut(&id) {
            event.duplicates += 1;
        }
        let redriven = match parts.dedupe.on_duplicate_of_dead {
            OnDuplicateOfDead::Redrive => self.redrive(id, parts.received_at),
            OnDuplicateOfDead::Report => 0,
        };
        self.known(id, redriven)
    }

    /// Makes the dead deliveries of an event pending again, each once.
    fn redrive(&mut self, id: EventId, now: Timestamp) -> u32 {
        let deliveries: Vec<_> = self.deliveries.of_event(id).map(|(delivery, _)| delivery).collect();
        let mut redriven = 0;
        for delivery in deliveries {
            let Some(row) = self.deliveries.row(&delivery) else { continue };
            if row.state != DeliveryState::Dead
                || row.redriven
                || self.deliveries.is_overtaken(&delivery, row)
            {
                continue;
            }
            self.deliveries.update(&delivery, |row| {
                row.requeue(now);
                row.redriven = true;
            });
            redriven += 1;
        }
        if redriven > 0 {
            self.audit(AuditEntry {
                id: 0,
                at: now,
                actor: "gateway".to_owned(),
                action: "redrive".to_owned(),
                subject: id.to_string(),
                count: u64::from(redriven),
            });
        }
        redriven
    }

    fn conflict(&mut self, id: EventId, parts: AdmittedParts, deliveries: Vec<NewDelivery>) -> Known {
        let digest = parts.body_digest;
        let (received_at, headers, body) = (parts.received_at, parts.headers.clone(), parts.body.clone());
        let kept = self.events.get(&id).map(|event| event.conflicts.as_slice()).unwrap_or_default();
        let is_kept = kept.iter().any(|conflict| conflict.record.body_digest == digest);
        let delivered_as = (!is_kept && parts.dedupe.on_conflict == OnConflict::Deliver).then(|| {
            let replay_suspect = parts.repeat.is_some_and(|r| self.known_repeat(r, received_at).is_some());
            self.insert(AdmittedParts { key: None, ..parts }, deliveries, replay_suspect)
        });
        let Some(event) = self.events.get_mut(&id) else { return self.known(id, 0) };
        event.conflicting = event.conflicting.saturating_add(1);
        if !is_kept && event.conflicts.len() < CONFLICTS_KEPT {
            let record = ConflictRecord {
                number: u32::try_from(event.conflicts.len() + 1).unwrap_or(u32::MAX),
                received_at,
                body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
                body_digest: digest,
                delivered_as,
            };
            event.conflicts.push(Conflict { record, headers: headers.clone(), body: body.clone() });
            self.counts.conflicts += 1;
            self.charge(&headers, &body);
        }
        self.known(id, 0)
    }

    fn known(&self, id: EventId, redriven: u32) -> Known {
        Known {
            id,
            state: self.event_state(id),
            processed_at: self.processed_at(id),
            result: self.events.get(&id).and_then(|event| event.result.clone()),
            redriven,
        }
    }
}
