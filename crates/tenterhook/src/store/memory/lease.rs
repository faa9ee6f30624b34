//! Taking leases and ending them.

use super::state::{Event, State};
use super::table::Row;
use crate::model::{
    DeadReason, DeliveryId, DeliveryState, Lease, Message, Priority, Settled, Settlement, Timestamp, Verdict,
};
use crate::store::{ATTEMPTS_KEPT, AttemptRecord, Demand, LaneDemand, Leased};

impl State {
    pub(super) fn lease(&mut self, demand: &Demand) -> Leased {
        let mut leased = Leased::default();
        for lane in &demand.lanes {
            leased.found_dead.extend(self.end_expired(lane, demand.now));
        }
        let mut bytes_left = demand.bytes_max;
        let is_open = |state: &Self, lane: &&LaneDemand| !state.paused.contains(&lane.destination);
        let lanes: Vec<_> = demand.lanes.iter().filter(|lane| is_open(self, lane)).collect();
        for lane in &lanes {
            for id in self.choose(lane, demand.now) {
                let bytes = self.events.get(&id.event).map_or(0, |event| event.parts.body.len());
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                if bytes > bytes_left && !leased.leases.is_empty() {
                    break;
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                leased.leases.extend(self.take_lease(&id, demand.now.plus(lane.lease)));
            }
        }
        let next = lanes.iter().filter_map(|lane| self.deliveries.next_due(&lane.destination, demand.now));
        leased.next_due = next.min();
        leased
    }

    /// Expired leases of a lane become pending, or dead; says which died.
    fn end_expired(&mut self, lane: &LaneDemand, now: Timestamp) -> Vec<DeliveryId> {
        let mut dead = Vec::new();
        for id in self.deliveries.expired(&lane.destination, now) {
            self.deliveries.update(&id, |row| {
                if row.spent >= lane.attempts_max {
                    row.die(DeadReason::LeaseExpired, row.at);
                    dead.push(id.clone());
                } else {
                    row.wait(row.at);
                }
            });
        }
        dead
    }

    /// Which deliveries a lane gets, in the order of taking.
    fn choose(&self, lane: &LaneDemand, now: Timestamp) -> Vec<DeliveryId> {
        let limit = usize::try_from(lane.limit).unwrap_or(usize::MAX);
        let mut by_urgency: Vec<Vec<DeliveryId>> = Priority::ALL
            .iter()
            .map(|priority| {
                let due = self.deliveries.due(&lane.destination, *priority, now);
                // Two of one ordering key are never both free, so one look at each is enough. One more than the
                // limit, in case one of them is to be avoided.
                due.filter(|id| self.is_free(id)).take(limit.saturating_add(1)).collect()
            })
            .collect();
        if let Some(avoid) = &lane.avoid
            && by_urgency.iter().flatten().any(|id| id != avoid)
        {
            for ids in &mut by_urgency {
                ids.retain(|id| id != avoid);
            }
        }
        let fair_share = usize::try_from(lane.least_urgent_first).unwrap_or(usize::MAX).min(limit);
        let mut chosen = Vec::new();
        if let Some(least_urgent) = by_urgency.iter_mut().rev().find(|ids| !ids.is_empty()) {
            chosen.extend(least_urgent.drain(..fair_share.min(least_urgent.len())));
        }
        chosen.extend(by_urgency.into_iter().flatten());
        chosen.truncate(limit);
        chosen
    }

    fn is_free(&self, id: &DeliveryId) -> bool {
        self.deliveries.row(id).is_some_and(|row| !self.deliveries.is_held(id, row))
    }

    fn take_lease(&mut self, id: &DeliveryId, until: Timestamp) -> Option<Lease> {
        self.deliveries.update(id, |row| {
            (row.state, row.at) = (DeliveryState::Leased, until);
            row.attempts += 1;
            row.spent += 1;
        });
        let (row, event) = (self.deliveries.row(id)?, self.events.get(&id.event)?);
        Some(Lease {
            delivery: id.clone(),
            until,
            attempt_of_budget: row.spent,
            priority: row.priority,
            message: message(id, row, event),
        })
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) -> Settled {
        let id = &settlement.delivery;
        let holds = |row: &Row| row.state == DeliveryState::Leased && row.attempts == settlement.attempt;
        if !self.deliveries.row(id).is_some_and(holds) {
            return Settled::LeaseLost;
        }
        self.deliveries.update(id, |row| {
            row.history.push_back(AttemptRecord::of(settlement));
            if row.history.len() > ATTEMPTS_KEPT {
                row.history.pop_front();
            }
            match settlement.verdict {
                Verdict::Complete => {
                    (row.state, row.at) = (DeliveryState::Delivered, settlement.ended_at());
                }
                Verdict::Retry { at } => row.wait(at),
                Verdict::DeadLetter { reason } => row.die(reason, settlement.ended_at()),
                Verdict::Release { at } => {
                    row.wait(at);
                    row.spent = row.spent.saturating_sub(1);
                }
            }
        });
        if let (Verdict::Complete, Some(result)) = (&settlement.verdict, &settlement.reply.result)
            && let Some(event) = self.events.get_mut(&id.event)
        {
            event.result = Some(result.clone());
        }
        Settled::Recorded
    }
}

fn message(id: &DeliveryId, row: &Row, event: &Event) -> Message {
    let parts = &event.parts;
    Message {
        id: id.event,
        provider_event_id: parts.provider_event_id.clone(),
        source: parts.source.clone(),
        provider: parts.provider.clone(),
        event_type: parts.event_type.clone(),
        attempt: row.attempts,
        first_received: parts.received_at,
        correlation_id: parts.correlation_id.clone(),
        original_url: parts.original_url.clone(),
        replay_suspect: event.replay_suspect,
        headers: parts.headers.clone(),
        body: parts.body.clone(),
    }
}
