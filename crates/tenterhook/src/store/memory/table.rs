//! The deliveries: rows, the indexes over them, and the counts that always add up.
//!
//! A row changes only by being taken out and put back, and those two functions keep every index and every count: that
//! is why the ledger cannot drift from the rows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{
    DeadReason, DeliveryId, DeliveryState, DestinationName, EventId, NewDelivery, OnDead, Priority, Timestamp,
};
use crate::store::AttemptRecord;

/// One delivery.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) priority: Priority,
    pub(super) ordering_key: Option<String>,
    pub(super) on_dead: OnDead,
    pub(super) state: DeliveryState,
    /// Due (pending), the lease's end (leased), or settled at.
    pub(super) at: Timestamp,
    /// Attempts in all: the fencing token of the lease.
    pub(super) attempts: u32,
    /// Attempts of the present budget.
    pub(super) spent: u32,
    pub(super) dead_reason: Option<DeadReason>,
    /// A duplicate has redriven it since a person last did.
    pub(super) redriven: bool,
    pub(super) history: VecDeque<AttemptRecord>,
}

impl Row {
    /// A new delivery, due at once.
    pub(super) fn new(delivery: NewDelivery, due: Timestamp) -> Self {
        Self {
            priority: delivery.priority,
            ordering_key: delivery.ordering_key,
            on_dead: delivery.on_dead,
            state: DeliveryState::Pending,
            at: due,
            attempts: 0,
            spent: 0,
            dead_reason: None,
            redriven: false,
            history: VecDeque::new(),
        }
    }

    /// Pending, due at `due`.
    pub(super) fn wait(&mut self, due: Timestamp) {
        (self.state, self.at, self.dead_reason) = (DeliveryState::Pending, due, None);
    }

    /// Pending with a new budget.
    pub(super) fn requeue(&mut self, due: Timestamp) {
        self.wait(due);
        self.spent = 0;
    }

    /// Given up at `at`.
    pub(super) fn die(&mut self, reason: DeadReason, at: Timestamp) {
        (self.state, self.at, self.dead_reason) = (DeliveryState::Dead, at, Some(reason));
    }

    /// Whether younger ones of its ordering key have to wait.
    fn blocks_younger(&self) -> bool {
        match self.state {
            DeliveryState::Pending | DeliveryState::Leased => true,
            DeliveryState::Dead => self.on_dead == OnDead::Hold,
            DeliveryState::Delivered | DeliveryState::Purged => false,
        }
    }
}

/// The deliveries of one destination with one ordering key, by what they mean to each other.
#[derive(Debug, Default)]
struct Sequence {
    blocking: BTreeSet<EventId>,
    leased: BTreeSet<EventId>,
    delivered: BTreeSet<EventId>,
}

/// One destination's counts; `owed` is counted apart, so that the sum means something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) owed: u64,
    pub(super) delivered: u64,
    pub(super) pending: u64,
    pub(super) leased: u64,
    pub(super) dead: u64,
    pub(super) purged: u64,
}

impl Counts {
    /// The count of a state.
    pub(super) fn of(&mut self, state: DeliveryState) -> &mut u64 {
        match state {
            DeliveryState::Pending => &mut self.pending,
            DeliveryState::Leased => &mut self.leased,
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Dead => &mut self.dead,
            DeliveryState::Purged => &mut self.purged,
        }
    }
}

/// All deliveries.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<EventId, BTreeMap<DestinationName, Row>>,
    pending: BTreeMap<(DestinationName, Priority), BTreeSet<(Timestamp, EventId)>>,
    leased: BTreeMap<DestinationName, BTreeSet<(Timestamp, EventId)>>,
    sequences: BTreeMap<(DestinationName, String), Sequence>,
    counts: BTreeMap<DestinationName, Counts>,
    /// What rows that are gone were last counted as.
    gone: BTreeMap<DestinationName, Counts>,
}

impl Table {
    /// Adds a new delivery.
    pub(super) fn insert(&mut self, id: &DeliveryId, row: Row) {
        self.counts.entry(id.destination.clone()).or_default().owed += 1;
        self.put(id, row);
    }

    /// Changes a row, with all that follows from it.
    pub(super) fn update(&mut self, id: &DeliveryId, change: impl FnOnce(&mut Row)) {
        if let Some(mut row) = self.take(id) {
            change(&mut row);
            self.put(id, row);
        }
    }

    /// Removes a row. A delivered one stays counted as delivered, any other becomes purged.
    pub(super) fn remove(&mut self, id: &DeliveryId) {
        let Some(row) = self.take(id) else { return };
        let last = match row.state {
            DeliveryState::Delivered => DeliveryState::Delivered,
            _ => DeliveryState::Purged,
        };
        *self.counts.entry(id.destination.clone()).or_default().of(last) += 1;
        let gone = self.gone.entry(id.destination.clone()).or_default();
        *gone.of(last) += 1;
        gone.owed += 1;
    }

    /// One row.
    pub(super) fn row(&self, id: &DeliveryId) -> Option<&Row> {
        self.rows.get(&id.event)?.get(&id.destination)
    }

    /// The rows of an event, by destination.
    pub(super) fn of_event(&self, event: EventId) -> impl Iterator<Item = (DeliveryId, &Row)> {
        self.rows
            .get(&event)
            .into_iter()
            .flatten()
            .map(move |(destination, row)| (DeliveryId { event, destination: destination.clone() }, row))
    }

    /// All rows from that event on, in id order.
    pub(super) fn from(&self, event: EventId) -> impl DoubleEndedIterator<Item = (DeliveryId, &Row)> {
        self.rows.range(event..).flat_map(|(event, rows)| {
            rows.iter().map(|(destination, row)| {
                (DeliveryId { event: *event, destination: destination.clone() }, row)
            })
        })
    }

    /// Pending ones of a priority that are due, longest due first.
    pub(super) fn due(
        &self,
        destination: &DestinationName,
        priority: Priority,
        now: Timestamp,
    ) -> impl Iterator<Item = DeliveryId> {
        let waiting = self.pending.get(&(destination.clone(), priority));
        waiting.into_iter().flatten().take_while(move |(due, _)| *due <= now).map({
            let destination = destination.clone();
            move |(_, event)| DeliveryId { event: *event, destination: destination.clone() }
        })
    }

    /// Leases of a destination that are over, oldest event first.
    pub(super) fn expired(&self, destination: &DestinationName, now: Timestamp) -> Vec<DeliveryId> {
        let leases = self.leased.get(destination).into_iter().flatten();
        let mut expired: Vec<_> = leases
            .take_while(|(until, _)| *until <= now)
            .map(|(_, event)| DeliveryId { event: *event, destination: destination.clone() })
            .collect();
        expired.sort();
        expired
    }

    /// When the next one of a destination falls due after `now`, or a lease ends.
    pub(super) fn next_due(&self, destination: &DestinationName, now: Timestamp) -> Option<Timestamp> {
        let mut queues: Vec<_> = self.leased.get(destination).into_iter().collect();
        queues.extend(
            Priority::ALL.iter().filter_map(|priority| self.pending.get(&(destination.clone(), *priority))),
        );
        queues.into_iter().filter_map(|queue| Some(queue.range(just_after(now)..).next()?.0)).min()
    }

    /// Whether it has to wait for another of its ordering key.
    pub(super) fn is_held(&self, id: &DeliveryId, row: &Row) -> bool {
        self.sequence(id, row).is_some_and(|sequence| {
            sequence.blocking.first().is_some_and(|oldest| *oldest < id.event)
                || sequence.leased.iter().any(|leased| *leased != id.event)
        })
    }

    /// Whether a newer one of its ordering key is delivered already.
    pub(super) fn is_overtaken(&self, id: &DeliveryId, row: &Row) -> bool {
        self.sequence(id, row)
            .is_some_and(|sequence| sequence.delivered.last().is_some_and(|newest| *newest > id.event))
    }

    /// Every destination that ever was owed something, with its counts.
    pub(super) fn counts(&self) -> &BTreeMap<DestinationName, Counts> {
        &self.counts
    }

    /// The counts anew from the rows, and what is only counted any more.
    pub(super) fn recount(&self) -> BTreeMap<DestinationName, Counts> {
        let mut counts = self.gone.clone();
        for (destination, row) in self.rows.values().flatten() {
            let counts = counts.entry(destination.clone()).or_default();
            counts.owed += 1;
            *counts.of(row.state) += 1;
        }
        counts
    }

    fn sequence(&self, id: &DeliveryId, row: &Row) -> Option<&Sequence> {
        let key = row.ordering_key.clone()?;
        self.sequences.get(&(id.destination.clone(), key))
    }

    fn put(&mut self, id: &DeliveryId, row: Row) {
        let DeliveryId { event, destination } = id.clone();
        match row.state {
            DeliveryState::Pending => {
                let queue = self.pending.entry((destination.clone(), row.priority)).or_default();
                queue.insert((row.at, event));
            }
            DeliveryState::Leased => {
                self.leased.entry(destination.clone()).or_default().insert((row.at, event));
            }
            DeliveryState::Delivered | DeliveryState::Dead | DeliveryState::Purged => {}
        }
        if let Some(key) = row.ordering_key.clone() {
            let sequence = self.sequences.entry((destination.clone(), key)).or_default();
            if row.blocks_younger() {
                sequence.blocking.insert(event);
            }
            match row.state {
                DeliveryState::Leased => _ = sequence.leased.insert(event),
                DeliveryState::Delivered => _ = sequence.delivered.insert(event),
                _ => {}
            }
        }
        *self.counts.entry(destination.clone()).or_default().of(row.state) += 1;
        self.rows.entry(event).or_default().insert(destination, row);
    }

    fn take(&mut self, id: &DeliveryId) -> Option<Row> {
        let DeliveryId { event, destination } = id.clone();
        let rows = self.rows.get_mut(&event)?;
        let row = rows.remove(&destination)?;
        if rows.is_empty() {
            self.rows.remove(&event);
        }
        if let Some(queue) = self.pending.get_mut(&(destination.clone(), row.priority)) {
            queue.remove(&(row.at, event));
        }
        if let Some(queue) = self.leased.get_mut(&destination) {
            queue.remove(&(row.at, event));
        }
        if let Some(key) = row.ordering_key.clone() {
            self.leave_sequence(&(destination.clone(), key), event);
        }
        *self.counts.entry(destination).or_default().of(row.state) -= 1;
        Some(row)
    }

    fn leave_sequence(&mut self, key: &(DestinationName, String), event: EventId) {
        let Some(sequence) = self.sequences.get_mut(key) else { return };
        for members in [&mut sequence.blocking, &mut sequence.leased, &mut sequence.delivered] {
            members.remove(&event);
        }
        if sequence.blocking.is_empty() && sequence.delivered.is_empty() {
            self.sequences.remove(key);
        }
    }
}

/// The lower bound of everything later than `now`.
fn just_after(now: Timestamp) -> (Timestamp, EventId) {
    (Timestamp::from_millis(now.millis().saturating_add(1)), EventId::from_raw(i64::MIN))
}
