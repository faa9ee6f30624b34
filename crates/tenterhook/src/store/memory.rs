//! The store in memory: the reference model that the others are compared with, and `memory:` for trials.
//!
//! Plain maps behind one lock that is never held across an await. Knows nothing of disks: what it holds is gone with
//! the process, so its "durable" means "visible to everybody", and there is no checksum to fail.

mod accept;
mod change;
mod lease;
mod prune;
mod read;
mod state;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use self::state::State;
use super::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Store, StoreError, StoreErrorKind,
};
use crate::model::{
    Accepted, Clock, DestinationName, EventId, Ledger, Settled, Settlement, Stats, Submission, Timestamp,
};

/// How much the store holds before it says `Full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of bodies, headers and bookkeeping together, about.
    pub bytes_max: u64,
    /// Events.
    pub events_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { bytes_max: 1 << 30, events_max: 1_000_000 }
    }
}

/// The inbox in memory.
pub struct MemoryStore {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    limits: MemoryLimits,
    work: watch::Sender<u64>,
}

impl MemoryStore {
    /// An empty store with the default limits. The clock only tells which keys may be forgotten when room is short.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(clock, MemoryLimits::default())
    }

    /// An empty store that is full at `limits`.
    #[must_use]
    pub fn with_limits(clock: Arc<dyn Clock>, limits: MemoryLimits) -> Self {
        Self { state: Mutex::default(), clock, limits, work: watch::Sender::new(0) }
    }

    /// The state, unless the store is closed.
    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        // A panic under the lock would be a bug of ours; going on with what is there beats refusing everything.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the store is closed"));
        }
        Ok(state)
    }

    /// Whether a batch fits; keys that nobody needs any more give way first.
    fn make_room(&self, state: &mut State, batch: &[Submission]) -> Result<(), StoreError> {
        let fits = |state: &State| {
            let (events, bytes) = state.room_for(batch);
            events <= self.limits.events_max && bytes <= self.limits.bytes_max
        };
        if !fits(state) {
            state.forget_keys(self.clock.now(), usize::MAX);
        }
        if fits(state) { Ok(()) } else { Err(full()) }
    }

    fn tick(&self) {
        self.work.send_modify(|tick| *tick = tick.wrapping_add(1));
    }
}

fn full() -> StoreError {
    StoreError::new(StoreErrorKind::Full, "the memory store has reached its limit of events or bytes")
}

#[async_trait]
impl Store for MemoryStore {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        let accepted: Vec<_> = {
            let mut state = self.state()?;
            self.make_room(&mut state, &batch)?;
            batch.into_iter().map(|submission| state.accept(submission)).collect()
        };
        self.tick();
        Ok(accepted)
    }

    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError> {
        Ok(self.state()?.lease(&demand))
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        let settled = {
            let mut state = self.state()?;
            batch.iter().map(|settlement| state.settle(settlement)).collect()
        };
        self.tick();
        Ok(settled)
    }

    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError> {
        let changed = self.state()?.change(&selection, change, by);
        self.tick();
        Ok(changed)
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        let pruned = self.state()?.prune(&retention, now);
        self.tick();
        Ok(pruned)
    }

    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError> {
        self.state()?.events_page(&query)
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        Ok(self.state()?.event_detail(id))
    }

    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError> {
        Ok(self.state()?.payload(id, conflict))
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        self.state()?.deliveries_page(&query)
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        Ok(self.state()?.stats(now))
    }

    async fn recount(&self) -> Result<Ledger, StoreError> {
        Ok(self.state()?.recount())
    }

    async fn compare(&self) -> Result<(Ledger, Ledger), StoreError> {
        let state = self.state()?;
        Ok((state.stats(Timestamp::from_millis(0)).ledger, state.recount()))
    }

    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError> {
        self.state()?.set_paused(destination, paused, by);
        self.tick();
        Ok(())
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.state()?.audit(entry);
        Ok(())
    }

    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        Ok(self.state()?.audits_page(before, limit))
    }

    fn ready(&self) -> Result<(), StoreError> {
        let state = self.state()?;
        let (events, bytes) = state.room_for(&[]);
        if events < self.limits.events_max && bytes < self.limits.bytes_max { Ok(()) } else { Err(full()) }
    }

    fn work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    async fn close(&self) -> Result<(), StoreError> {
        // Closing twice is fine: whoever stops the gateway need not know who came first.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.tick();
        Ok(())
    }
}
