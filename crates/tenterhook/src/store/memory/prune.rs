//! Retention: events first, then keys, then the audit trail, within one budget of rows.

use super::state::State;
use crate::model::{DeliveryState, EventId, Timestamp};
use crate::store::{Pruned, Retention};

impl State {
    pub(super) fn prune(&mut self, retention: &Retention, now: Timestamp) -> Pruned {
        let rows_max = usize::try_from(retention.rows_max).unwrap_or(usize::MAX);
        let removable = self.events.keys().copied().filter(|id| self.is_removable(*id, retention, now));
        let mut events: Vec<_> = removable.take(rows_max.saturating_add(1)).collect();
        let more_events = events.len() > rows_max;
        events.truncate(rows_max);
        for id in &events {
            self.remove_event(*id);
        }
        let rows_left = rows_max - events.len();
        let (keys, more_keys) = self.forget_keys(now, rows_left);
        let more_audits = self.prune_audits(now.minus(retention.audit), rows_left - keys);
        Pruned {
            events: u64::try_from(events.len()).unwrap_or(u64::MAX),
            keys: u64::try_from(keys).unwrap_or(u64::MAX),
            more: more_events || more_keys || more_audits,
        }
    }

    fn is_removable(&self, id: EventId, retention: &Retention, now: Timestamp) -> bool {
        let Some(event) = self.events.get(&id) else { return false };
        event.parts.received_at.plus(retention.events) <= now
            && self.deliveries.of_event(id).all(|(_, row)| match row.state {
                DeliveryState::Pending | DeliveryState::Leased => false,
                DeliveryState::Dead => retention.dead.is_some_and(|dead| row.at.plus(dead) <= now),
                DeliveryState::Delivered | DeliveryState::Purged => true,
            })
    }

    /// Entries before `since`, oldest first; says whether some are left.
    fn prune_audits(&mut self, since: Timestamp, rows_max: usize) -> bool {
        let old = self.audits.iter().take_while(|entry| entry.at <= since).count();
        self.audits.drain(..old.min(rows_max));
        old > rows_max
    }
}
