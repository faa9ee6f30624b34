//! The verbs that people and agents share. Knows the store as a trait; knows nothing of who is asking.

pub mod live;
pub mod order;

use std::sync::Arc;

use crate::model::{Clock, DestinationName, EventId, Ledger, Stats, Timestamp};
use crate::store::{
    AuditEntry, DeliveryQuery, DeliverySummary, EventDetail, EventQuery, EventSummary, Page, Payload, Store,
    StoreError,
};

/// What can be asked and ordered of a store: the same for the CLI, the admin API and whatever comes later.
#[derive(Clone)]
pub struct Ops {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Ops {
    /// Verbs over this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The time, as the verbs see it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the store would take an event now. Never waits.
    ///
    /// # Errors
    /// Why it would not.
    pub fn ready(&self) -> Result<(), StoreError> {
        self.store.ready()
    }

    /// A page of events. With `oldest_first` this is `events tail`: the id of the last event shown is the cursor from
    /// which to go on, also when there was no next page at the time.
    ///
    /// # Errors
    /// The store's; `Invalid` for a cursor that is none.
    pub async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError> {
        self.store.events(query).await
    }

    /// One event with its deliveries, attempts and conflicts.
    ///
    /// # Errors
    /// The store's.
    pub async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        self.store.event(id).await
    }

    /// Stored headers and exact body of an event, or of its n-th conflict (from 1).
    ///
    /// # Errors
    /// The store's; `Corrupt` for bytes that do not fit their checksum.
    pub async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError> {
        self.store.payload(id, conflict).await
    }

    /// A page of deliveries; the dead letters are those in that state.
    ///
    /// # Errors
    /// The store's; `Invalid` for a cursor that is none.
    pub async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        self.store.deliveries(query).await
    }

    /// Ledger and gauges, from one transaction.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        self.store.stats(self.now()).await
    }

    /// The ledger's counters and the rows counted anew, of the same moment.
    ///
    /// # Errors
    /// The store's.
    pub async fn compare(&self) -> Result<(Ledger, Ledger), StoreError> {
        self.store.compare().await
    }

    /// Pauses or resumes a destination. Survives a restart.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        actor: &str,
    ) -> Result<(), StoreError> {
        let action = if paused { "pause" } else { "resume" };
        let entry = self.entry(actor, action, destination.to_string());
        self.store.set_paused(destination, paused, entry).await?;
        tracing::info!(actor, action, "operator_change");
        Ok(())
    }

    /// Records something a person did that changed no delivery (a reload, a test delivery).
    ///
    /// # Errors
    /// The store's.
    pub async fn audit(&self, actor: &str, action: &str, subject: String) -> Result<(), StoreError> {
        self.store.audit(self.entry(actor, action, subject)).await
    }

    /// The audit trail, newest first; `before` is the number that the page before gave as `next`.
    ///
    /// # Errors
    /// The store's.
    pub async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        self.store.audits(before, limit).await
    }

    fn entry(&self, actor: &str, action: &str, subject: String) -> AuditEntry {
        AuditEntry {
            id: 0,
            at: self.now(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject,
            count: 0,
        }
    }
}
