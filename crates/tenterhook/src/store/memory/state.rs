//! What the store holds, and the small verbs that several others use.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use http::HeaderMap;

use super::table::Table;
use crate::model::{
    AdmittedParts, DeliveryState, DestinationName, Digest16, EventCounts, EventId, EventState, Submission,
    Timestamp,
};
use crate::store::{AuditEntry, ConflictRecord};

/// What an event or a kept conflict costs beside its bytes, about.
const ROW_BYTES: u64 = 1024;
/// What a remembered key costs, about.
const KEY_BYTES: u64 = 128;
/// Audit entries at most; the oldest go first, so that nobody can fill the store with them.
const AUDITS_MAX: usize = 100_000;

/// Everything.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) closed: bool,
    pub(super) events: BTreeMap<EventId, Event>,
    pub(super) last_id: Option<EventId>,
    pub(super) deliveries: Table,
    pub(super) keys: HashMap<Digest16, Key>,
    /// The events that carry a repeat digest, newest last.
    pub(super) repeats: HashMap<Digest16, Vec<Key>>,
    pub(super) counts: EventCounts,
    /// What events that are gone were counted as.
    pub(super) gone: EventCounts,
    pub(super) paused: BTreeSet<DestinationName>,
    pub(super) audits: VecDeque<AuditEntry>,
    last_audit: i64,
    /// Bytes of events and conflicts.
    pub(super) bytes: u64,
}

/// An event with everything but its deliveries.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) parts: AdmittedParts,
    pub(super) replay_suspect: bool,
    /// Nothing was owed for it when it came.
    pub(super) ignored: bool,
    pub(super) duplicates: u64,
    /// Conflicting requests, kept or not.
    pub(super) conflicting: u32,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) result: Option<String>,
}

/// A body that came under a known key.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) record: ConflictRecord,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A remembered key or repeat digest. It outlives its event: then it is a tombstone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) id: EventId,
    pub(super) body_digest: Digest16,
    pub(super) forgotten_at: Timestamp,
}

impl State {
    /// Events and bytes once a batch is accepted, at most: nothing is assumed to be a duplicate that is not known yet.
    pub(super) fn room_for(&self, batch: &[Submission]) -> (usize, u64) {
        let is_known = |parts: &AdmittedParts| {
            let known = parts.key.and_then(|key| self.known_key(key, parts.received_at));
            known.is_some_and(|known| known.body_digest == parts.body_digest)
        };
        let new = batch.iter().map(|submission| &*submission.admitted).filter(|parts| !is_known(parts));
        let remembered = u64::try_from(self.keys.len() + self.repeats.len()).unwrap_or(u64::MAX);
        let held = (self.events.len(), self.bytes.saturating_add(remembered.saturating_mul(KEY_BYTES)));
        new.fold(held, |(events, bytes), parts| {
            (events + 1, bytes.saturating_add(cost(&parts.headers, &parts.body)).saturating_add(KEY_BYTES))
        })
    }

    /// The event of a key, if that is remembered.
    pub(super) fn known_key(&self, key: Digest16, now: Timestamp) -> Option<Key> {
        self.keys.get(&key).copied().filter(|known| now < known.forgotten_at)
    }

    /// The newest event that carries a repeat digest, if one is remembered.
    pub(super) fn known_repeat(&self, repeat: Digest16, now: Timestamp) -> Option<Key> {
        self.repeats.get(&repeat)?.iter().rev().find(|known| now < known.forgotten_at).copied()
    }

    /// Forgets keys whose window is over, at most so many; says how many, and whether there are more.
    pub(super) fn forget_keys(&mut self, now: Timestamp, keys_max: usize) -> (usize, bool) {
        self.repeats.retain(|_, carriers| {
            carriers.retain(|known| now < known.forgotten_at);
            !carriers.is_empty()
        });
        let over: Vec<_> =
            self.keys.iter().filter(|(_, known)| now >= known.forgotten_at).map(|(key, _)| *key).collect();
        let forgotten = over.len().min(keys_max);
        for key in &over[..forgotten] {
            self.keys.remove(key);
        }
        (forgotten, over.len() > forgotten)
    }

    /// The state of an event, also of one that is gone.
    pub(super) fn event_state(&self, id: EventId) -> EventState {
        if !self.events.contains_key(&id) {
            return EventState::Forgotten;
        }
        EventState::of(self.deliveries.of_event(id).map(|(_, row)| row.state))
    }

    /// When the last delivery was confirmed, once all are.
    pub(super) fn processed_at(&self, id: EventId) -> Option<Timestamp> {
        if self.event_state(id) != EventState::Delivered {
            return None;
        }
        let rows = self.deliveries.of_event(id).map(|(_, row)| row);
        rows.filter(|row| row.state == DeliveryState::Delivered).map(|row| row.at).max()
    }

    /// Adds what a body costs.
    pub(super) fn charge(&mut self, headers: &HeaderMap, body: &Bytes) {
        self.bytes = self.bytes.saturating_add(cost(headers, body));
    }

    /// Removes an event and its deliveries; its keys stay.
    pub(super) fn remove_event(&mut self, id: EventId) {
        let rows: Vec<_> = self.deliveries.of_event(id).map(|(delivery, _)| delivery).collect();
        for delivery in &rows {
            self.deliveries.remove(delivery);
        }
        let Some(event) = self.events.remove(&id) else { return };
        self.gone.accepted += 1;
        self.gone.ignored += u64::from(event.ignored);
        self.gone.conflicts += u64::try_from(event.conflicts.len()).unwrap_or(u64::MAX);
        let kept = event.conflicts.iter().map(|conflict| cost(&conflict.headers, &conflict.body));
        let freed = kept.fold(cost(&event.parts.headers, &event.parts.body), u64::saturating_add);
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// Bytes in use, about.
    pub(super) fn bytes_used(&self) -> u64 {
        self.room_for(&[]).1
    }

    /// Appends to the audit trail.
    pub(super) fn audit(&mut self, entry: AuditEntry) {
        self.last_audit += 1;
        self.audits.push_back(AuditEntry { id: self.last_audit, ..entry });
        if self.audits.len() > AUDITS_MAX {
            self.audits.pop_front();
        }
    }

    /// Pauses or resumes.
    pub(super) fn set_paused(&mut self, destination: DestinationName, paused: bool, by: AuditEntry) {
        if paused {
            self.paused.insert(destination);
        } else {
            self.paused.remove(&destination);
        }
        self.audit(by);
    }
}

fn cost(headers: &HeaderMap, body: &Bytes) -> u64 {
    let headers: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    u64::try_from(headers + body.len()).unwrap_or(u64::MAX).saturating_add(ROW_BYTES)
}
