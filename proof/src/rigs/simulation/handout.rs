//! Leases that the disk takes in the step that accepts their event, for lanes that stand by, as the embedded store does.
//! The memory store leases only when it is asked; so the disk of a simulated world asks for it.

use std::sync::{Arc, Mutex};

use tenterhook::model::{DestinationName, Lease, Timestamp};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{Demand, LaneDemand, Leased, Standby, Store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::world::lock;

/// Who stands by in one process, and the way to its dispatcher.
pub(super) struct Handout {
    lanes: Mutex<Vec<Arc<Standby>>>,
    out: UnboundedSender<Lease>,
    receiver: Mutex<Option<UnboundedReceiver<Lease>>>,
}

impl Handout {
    /// Nobody stands by yet.
    pub(super) fn new() -> Arc<Self> {
        let (out, receiver) = unbounded_channel();
        Arc::new(Self { lanes: Mutex::default(), out, receiver: Mutex::new(Some(receiver)) })
    }

    /// The lanes that stand by from now on.
    pub(super) fn stand_by(&self, lanes: Vec<Arc<Standby>>) {
        *lock(&self.lanes) = lanes;
    }

    /// The receiving end, for whoever asks first.
    pub(super) fn receiver(&self) -> Option<UnboundedReceiver<Lease>> {
        lock(&self.receiver).take()
    }

    /// Leases one delivery of a destination where its lane has room for it.
    pub(super) async fn lease(
        &self,
        disk: &MemoryStore,
        destination: &DestinationName,
        now: Timestamp,
    ) -> Option<(Demand, Leased)> {
        let lane = lock(&self.lanes).iter().find(|lane| lane.destination == *destination).map(Arc::clone)?;
        if !lane.use_one() {
            return None;
        }
        let demanded = LaneDemand {
            destination: lane.destination.clone(),
            limit: 1,
            least_urgent_first: 0,
            lease: lane.lease,
            attempts_max: lane.attempts_max,
            avoid: None,
        };
        let demand = Demand { lanes: vec![demanded], bytes_max: u64::MAX, now };
        let leased = disk.lease(demand.clone()).await.ok()?;
        if leased.leases.is_empty() {
            lane.lend(1);
        }
        Some((demand, leased))
    }

    /// Sends what was leased, once it is durable. Where nobody listens any more, the leases end by themselves.
    pub(super) fn send(&self, leased: Leased) {
        for lease in leased.leases {
            let _ = self.out.send(lease);
        }
    }
}
