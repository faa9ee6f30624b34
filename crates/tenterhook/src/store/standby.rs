//! Room that a lane lends to its store: as long as there is some, a new delivery may be leased in the very step that
//! makes it durable, instead of being asked for in a step of its own. Knows numbers only.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::model::DestinationName;

/// One lane's room.
#[derive(Debug)]
pub struct Standby {
    /// The lane's destination.
    pub destination: DestinationName,
    /// How long a lease lasts.
    pub lease: Duration,
    /// Attempts per budget.
    pub attempts_max: u32,
    room: AtomicU32,
}

impl Standby {
    /// A lane that lends nothing yet.
    #[must_use]
    pub fn new(destination: DestinationName, lease: Duration, attempts_max: u32) -> Self {
        Self { destination, lease, attempts_max, room: AtomicU32::new(0) }
    }

    /// Room for so many more attempts. Each is lent until it is taken back, or until its lease arrives.
    pub fn lend(&self, attempts: u32) {
        self.room.fetch_add(attempts, Ordering::SeqCst);
    }

    /// Takes back what was not used. The leases of the rest arrive, or have arrived.
    pub fn take_back(&self) -> u32 {
        self.room.swap(0, Ordering::SeqCst)
    }

    /// For the store: uses room for one, if there is some.
    pub fn use_one(&self) -> bool {
        let less = |room: u32| room.checked_sub(1);
        self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}
