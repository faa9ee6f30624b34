//! The domain: events, deliveries, attempts, and what is said about them. Knows no SQL, no JSON, no sockets.
//!
//! ```text
//!            accept                lease                     settle(Complete)
//!   (new) -----------> pending ------------> leased(until) ------------------> delivered
//!                        ^  ^                   |   |  |
//!                        |  |  lease expired    |   |  |  settle(DeadLetter), or expired with no budget left
//!                        |  +-------------------+   |  +-------------------------> dead
//!                        |      settle(Retry{at})   |                               |
//!                        +--------------------------+            redrive            |
//!                        +----------------------------------------------------------+
//!                                     (replay: the same arrow, from delivered)
//! ```
//!
//! `attempts` grows when a lease is taken, so *(delivery id, attempt number)* is the fencing token, and an event that
//! kills the process still runs out of attempts. Attempt numbers never repeat: a redrive adds budget instead.

pub mod answer;
pub mod delivery;
pub mod event;
pub mod id;
pub mod lane;
pub mod ledger;
pub mod name;
pub mod registration;
pub mod time;

pub use answer::{HandlerAnswer, Heard};
pub use delivery::{
    DeadReason, DeliveryState, FailureKind, Lease, Message, NewDelivery, OnDead, Outcome, Priority, Reply,
    Settled, Settlement, Verdict,
};
pub use event::{
    Accepted, Admitted, AdmittedParts, DedupePolicy, Digest16, EventState, Known, OnConflict,
    OnDuplicateOfDead, OnRepeat, Submission,
};
pub use id::{DeliveryId, EventId};
pub use lane::{BreakerState, LaneView};
pub use ledger::{DestinationStats, EventCounts, Ledger, Stats};
pub use name::{DestinationName, SourceName};
pub use registration::{FormerKeys, Registration};
pub use time::{Clock, ManualClock, Origin, SystemClock, Timestamp};
