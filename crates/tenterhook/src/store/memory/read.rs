//! What people see: lists, details, figures.

use super::state::{Event, State};
use super::table::{Counts, Row};
use crate::model::{
    DeliveryId, DeliveryState, DestinationStats, EventCounts, EventId, Ledger, Stats, Timestamp,
};
use crate::store::cursor::{page_size, parse};
use crate::store::selection::glob_matches;
use crate::store::{
    AuditEntry, DeliveryDetail, DeliveryQuery, DeliverySummary, EventDetail, EventQuery, EventSummary, Page,
    Payload, StoreError,
};

impl State {
    pub(super) fn events_page(&self, query: &EventQuery) -> Result<Page<EventSummary>, StoreError> {
        let after = query.after.as_deref().map(parse::<EventId>).transpose()?;
        let follows =
            |id: EventId| after.is_none_or(|after| if query.oldest_first { id > after } else { id < after });
        let matching = self
            .events
            .iter()
            .filter(|(id, event)| follows(**id) && self.is_asked_for(**id, event, query))
            .map(|(id, event)| self.summary(*id, event));
        let limit = page_size(query.limit);
        let items = if query.oldest_first {
            matching.take(limit + 1).collect()
        } else {
            matching.rev().take(limit + 1).collect()
        };
        Ok(page(items, limit, |summary: &EventSummary| summary.id.to_string()))
    }

    fn is_asked_for(&self, id: EventId, event: &Event, query: &EventQuery) -> bool {
        let parts = &event.parts;
        query.source.as_ref().is_none_or(|source| *source == parts.source)
            && query.event_type.as_ref().is_none_or(|glob| glob_matches(glob, &parts.event_type))
            && (query.provider_event_id.is_none() || query.provider_event_id == parts.provider_event_id)
            && query.since.is_none_or(|since| parts.received_at >= since)
            && query.until.is_none_or(|until| parts.received_at < until)
            && query.state.is_none_or(|state| state == self.event_state(id))
    }

    fn summary(&self, id: EventId, event: &Event) -> EventSummary {
        let parts = &event.parts;
        EventSummary {
            id,
            provider_event_id: parts.provider_event_id.clone(),
            source: parts.source.clone(),
            provider: parts.provider.clone(),
            event_type: parts.event_type.clone(),
            state: self.event_state(id),
            received_at: parts.received_at,
            body_bytes: u64::try_from(parts.body.len()).unwrap_or(u64::MAX),
            duplicates: event.duplicates,
            conflicts: event.conflicting,
            replay_suspect: event.replay_suspect,
        }
    }

    pub(super) fn event_detail(&self, id: EventId) -> Option<EventDetail> {
        let event = self.events.get(&id)?;
        let deliveries = self.deliveries.of_event(id).map(|(id, row)| DeliveryDetail {
            summary: self.delivery_summary(id, row, event),
            attempts: row.history.iter().cloned().collect(),
        });
        Some(EventDetail {
            summary: self.summary(id, event),
            correlation_id: event.parts.correlation_id.clone(),
            source_ip: event.parts.source_ip,
            original_url: event.parts.original_url.clone(),
            body_digest: event.parts.body_digest,
            processed_at: self.processed_at(id),
            result: event.result.clone(),
            deliveries: deliveries.collect(),
            conflicts: event.conflicts.iter().map(|conflict| conflict.record.clone()).collect(),
        })
    }

    pub(super) fn payload(&self, id: EventId, conflict: Option<u32>) -> Option<Payload> {
        let event = self.events.get(&id)?;
        let (headers, body) = match conflict {
            None => (&event.parts.headers, &event.parts.body),
            Some(number) => {
                let kept = event.conflicts.iter().find(|conflict| conflict.record.number == number)?;
                (&kept.headers, &kept.body)
            }
        };
        Some(Payload { headers: headers.clone(), body: body.clone() })
    }

    pub(super) fn deliveries_page(&self, query: &DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        let before = query.after.as_deref().map(parse::<DeliveryId>).transpose()?;
        let limit = page_size(query.selection.limit);
        let items = self
            .selected(&query.selection)
            .rev()
            .filter(|(id, ..)| before.as_ref().is_none_or(|before| id < before))
            .map(|(id, row, event)| self.delivery_summary(id, row, event))
            .take(limit + 1)
            .collect();
        Ok(page(items, limit, |summary: &DeliverySummary| summary.id.to_string()))
    }

    fn delivery_summary(&self, id: DeliveryId, row: &Row, event: &Event) -> DeliverySummary {
        DeliverySummary {
            source: event.parts.source.clone(),
            event_type: event.parts.event_type.clone(),
            state: row.state,
            priority: row.priority,
            ordering_key: row.ordering_key.clone(),
            held: row.state == DeliveryState::Pending && self.deliveries.is_held(&id, row),
            attempts: row.attempts,
            at: row.at,
            dead_reason: row.dead_reason,
            received_at: event.parts.received_at,
            id,
        }
    }

    pub(super) fn stats(&self, now: Timestamp) -> Stats {
        let mut stats = Stats {
            ledger: ledger(self.counts, self.deliveries.counts().values()),
            store_bytes: self.bytes_used(),
            dedupe_keys: u64::try_from(self.keys.len()).unwrap_or(u64::MAX),
            ..Stats::default()
        };
        for (destination, counts) in self.deliveries.counts() {
            let Counts { delivered, pending, leased, dead, .. } = *counts;
            let figures =
                DestinationStats { delivered, pending, leased, dead, ..DestinationStats::default() };
            stats.destinations.insert(destination.clone(), figures);
        }
        for destination in &self.paused {
            stats.destinations.entry(destination.clone()).or_default().paused = true;
        }
        let rows = self.deliveries.from(EventId::from_raw(0));
        for (id, row) in rows.filter(|(_, row)| row.state == DeliveryState::Pending) {
            let figures = stats.destinations.entry(id.destination.clone()).or_default();
            figures.retrying += u64::from(row.attempts > 0);
            figures.held += u64::from(self.deliveries.is_held(&id, row));
            let owed_for = self.events.get(&id.event).map(|event| now.since(event.parts.received_at));
            figures.oldest_pending = figures.oldest_pending.max(owed_for);
        }
        stats
    }

    pub(super) fn recount(&self) -> Ledger {
        let mut events = self.gone;
        for event in self.events.values() {
            events.accepted += 1;
            events.ignored += u64::from(event.ignored);
            events.conflicts += u64::try_from(event.conflicts.len()).unwrap_or(u64::MAX);
        }
        ledger(events, self.deliveries.recount().values())
    }

    pub(super) fn audits_page(&self, before: Option<i64>, limit: u32) -> Page<AuditEntry> {
        let limit = page_size(limit);
        let newest_first = self.audits.iter().rev();
        let older = newest_first.filter(|entry| before.is_none_or(|before| entry.id < before));
        page(older.take(limit + 1).cloned().collect(), limit, |entry: &AuditEntry| entry.id.to_string())
    }
}

fn ledger<'a>(events: EventCounts, destinations: impl Iterator<Item = &'a Counts>) -> Ledger {
    let empty = Ledger { events, ..Ledger::default() };
    destinations.fold(empty, |sum, counts| Ledger {
        events,
        owed: sum.owed + counts.owed,
        delivered: sum.delivered + counts.delivered,
        pending: sum.pending + counts.pending,
        leased: sum.leased + counts.leased,
        dead: sum.dead + counts.dead,
        purged: sum.purged + counts.purged,
    })
}

/// A page of at most `limit`, from one item more where there is one.
fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}
