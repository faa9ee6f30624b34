//! When to try again: exponential, jittered, capped.

use std::time::Duration;

/// Backoff of one destination. The defaults are `min(2^k s, 6 h)` with ±20 % jitter and 27 attempts, about 75 hours
/// in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The delay before the second attempt; it doubles from there.
    pub base: Duration,
    /// No delay is longer; a `Retry-After` is clamped to it too.
    pub cap: Duration,
    /// The share by which a delay may be shorter or longer: 0.2 is ±20 %.
    pub jitter: f64,
    /// Attempts per budget; then the delivery is dead.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(6 * 3600),
            jitter: 0.2,
            attempts_max: 27,
        }
    }
}
