//! Bugs that only pressure shows: a queue without an end, memory without a bound, one lane in front of another, an open
//! that reads everything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tenterhook::model::Submission;
use tenterhook::store::{EventQuery, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Bug;

/// Accepts that an endless queue lets through at a time.
const LET_THROUGH: usize = 64;
/// Copies of a body that a leak keeps: enough to show within seconds.
const COPIES: usize = 32;
/// How much longer the open of a store takes that reads everything, at least.
const SCAN_MIN: Duration = Duration::from_millis(200);

/// What such a bug remembers.
pub(super) struct Pressure {
    bug: Bug,
    /// Accepts that wait in front of the store, first come first served.
    queue: Arc<Semaphore>,
    kept: Mutex<Vec<Bytes>>,
    /// Leases that are not settled, of all destinations.
    leased: watch::Sender<usize>,
}

impl Pressure {
    pub(super) fn new(bug: Bug) -> Self {
        Self {
            bug,
            queue: Arc::new(Semaphore::new(LET_THROUGH)),
            kept: Mutex::default(),
            leased: watch::Sender::new(0),
        }
    }

    /// Before an accept; what it returns is held until the accept is over.
    pub(super) async fn accepting(&self, batch: &[Submission]) -> Option<OwnedSemaphorePermit> {
        if self.bug == Bug::Leak {
            let copies = batch.iter().flat_map(|it| {
                std::iter::repeat_with(|| Bytes::copy_from_slice(&it.admitted.body)).take(COPIES)
            });
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(copies);
        }
        match self.bug {
            Bug::EndlessQueue => Arc::clone(&self.queue).acquire_owned().await.ok(),
            _ => None,
        }
    }

    /// Before a lease: waits until what was leased before is settled, whosever it is.
    pub(super) async fn leasing(&self) {
        if self.bug == Bug::OneLane {
            let _ = self.leased.subscribe().wait_for(|leased| *leased == 0).await;
        }
    }

    /// After a lease.
    pub(super) fn leased(&self, leases: usize) {
        self.leased.send_modify(|leased| *leased += leases);
    }

    /// After a settlement.
    pub(super) fn settled(&self, leases: usize) {
        self.leased.send_modify(|leased| *leased = leased.saturating_sub(leases));
    }
}

/// Reads every event with its body, page by page.
pub(super) async fn scan(store: &dyn Store) -> Result<(), StoreError> {
    tokio::time::sleep(SCAN_MIN).await;
    let mut after = None;
    loop {
        let page = store.events(EventQuery { after, limit: 1000, ..EventQuery::default() }).await?;
        for event in &page.items {
            store.payload(event.id, None).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
