//! A memory store behind a line that can be cut.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tenterhook::model::{
    Accepted, DestinationName, EventId, Ledger, Settled, Settlement, Stats, Submission, Timestamp,
};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Store, StoreError, StoreErrorKind,
};
use tokio::sync::watch;

pub(super) struct Outage {
    store: MemoryStore,
    /// Leases and settlements are `Unavailable`.
    pub(super) cut: AtomicBool,
    /// Settlements alone are `Unavailable`.
    pub(super) cut_settlements: AtomicBool,
    /// Settlements are lost: somebody else holds the deliveries.
    pub(super) lose_leases: AtomicBool,
    pub(super) lease_calls: AtomicUsize,
}

impl Outage {
    pub(super) fn over(store: MemoryStore) -> Self {
        Self {
            store,
            cut: AtomicBool::new(false),
            cut_settlements: AtomicBool::new(false),
            lose_leases: AtomicBool::new(false),
            lease_calls: AtomicUsize::new(0),
        }
    }

    fn line(&self) -> Result<(), StoreError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "cut on purpose"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Outage {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        self.store.accept(batch).await
    }

    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError> {
        self.lease_calls.fetch_add(1, Ordering::SeqCst);
        self.line()?;
        self.store.lease(demand).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        self.line()?;
        if self.cut_settlements.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Full, "full on purpose"));
        }
        if self.lose_leases.load(Ordering::SeqCst) {
            return Ok(vec![Settled::LeaseLost; batch.len()]);
        }
        self.store.settle(batch).await
    }

    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError> {
        self.store.change(selection, change, by).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        self.store.prune(retention, now).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError> {
        self.store.events(query).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        self.store.event(id).await
    }

    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError> {
        self.store.payload(id, conflict).await
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        self.store.deliveries(query).await
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        self.store.stats(now).await
    }

    async fn recount(&self) -> Result<Ledger, StoreError> {
        self.store.recount().await
    }

    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError> {
        self.store.set_paused(destination, paused, by).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.store.audit(entry).await
    }

    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        self.store.audits(before, limit).await
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.store.ready()
    }

    fn work(&self) -> watch::Receiver<u64> {
        self.store.work()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
