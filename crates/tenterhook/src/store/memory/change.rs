//! Changes by hand: requeue, give up, forget.

use super::state::{Event, State};
use super::table::Row;
use crate::model::{DeadReason, DeliveryId, EventId};
use crate::store::cursor::page_size;
use crate::store::selection::Candidate;
use crate::store::{AuditEntry, Change, Changed, Selection};

impl State {
    pub(super) fn change(&mut self, selection: &Selection, change: Change, by: AuditEntry) -> Changed {
        let limit = page_size(selection.limit);
        let applies =
            |(id, row, _): (DeliveryId, &Row, &Event)| change.applies_to(row.state, selection).then_some(id);
        let mut ids: Vec<_> = self.selected(selection).filter_map(applies).take(limit + 1).collect();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut changed = Changed::default();
        for id in &ids {
            self.change_one(id, selection, change, &by, &mut changed);
        }
        changed.next = if more { ids.pop() } else { None };
        if changed.count > 0 && change != Change::DryRun {
            self.audit(AuditEntry { count: changed.count, ..by });
        }
        changed
    }

    fn change_one(
        &mut self,
        id: &DeliveryId,
        selection: &Selection,
        change: Change,
        by: &AuditEntry,
        changed: &mut Changed,
    ) {
        let Some(row) = self.deliveries.row(id) else { return };
        let overtaken = self.deliveries.is_overtaken(id, row);
        match change {
            Change::DryRun => {
                let requeue = Change::Requeue { out_of_order: false };
                changed.out_of_order += u64::from(overtaken && requeue.applies_to(row.state, selection));
            }
            Change::Requeue { out_of_order: false } if overtaken => {
                changed.out_of_order += 1;
                return;
            }
            Change::Requeue { .. } => self.deliveries.update(id, |row| {
                row.requeue(by.at);
                row.redriven = false;
            }),
            Change::DeadLetter => self.deliveries.update(id, |row| row.die(DeadReason::Cancelled, by.at)),
            Change::Forget => {
                self.deliveries.remove(id);
                if self.deliveries.of_event(id.event).next().is_none() {
                    self.remove_event(id.event);
                }
            }
        }
        changed.count += 1;
    }

    /// The selected deliveries with their events, in id order.
    pub(super) fn selected<'a>(
        &'a self,
        selection: &'a Selection,
    ) -> impl DoubleEndedIterator<Item = (DeliveryId, &'a Row, &'a Event)> {
        let begins = selection.after_id.as_ref().map(|after| after.event).max(selection.event);
        let rows = self.deliveries.from(begins.unwrap_or(EventId::from_raw(0)));
        rows.filter_map(move |(id, row)| {
            let event = self.events.get(&id.event)?;
            let candidate = Candidate {
                id: &id,
                state: row.state,
                source: &event.parts.source,
                event_type: &event.parts.event_type,
                received_at: event.parts.received_at,
            };
            selection.selects(&candidate).then_some((id, row, event))
        })
    }
}
