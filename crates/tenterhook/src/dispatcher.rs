//! The dispatcher: leases what is due, delivers, judges, settles. Knows stores and destinations only as traits; knows
//! nothing of ingress, of the config or of the kind it delivers to.

use std::time::Duration;

use crate::policy::backoff::RetryPolicy;
use crate::policy::breaker::BreakerPolicy;
use crate::policy::limit::RatePolicy;

/// How one destination is delivered to.
#[derive(Clone, Debug)]
pub struct LanePolicy {
    /// Attempts at the same time.
    pub concurrency: u32,
    /// Attempts per second.
    pub rate: Option<RatePolicy>,
    /// The destination's own timeout; a lease lasts 10 s longer.
    pub timeout: Duration,
    /// When to retry.
    pub retry: RetryPolicy,
    /// Whether to try at all.
    pub breaker: BreakerPolicy,
    /// Events per attempt; 1 for a destination without batches.
    pub batch_max: u32,
}
