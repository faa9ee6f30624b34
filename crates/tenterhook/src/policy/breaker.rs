//! Whether to try at all: a circuit breaker as a state machine one can see.

use std::time::Duration;

/// When a destination's breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// Opens after this many failures in a row.
    pub failures: u32,
    /// Opens also when this share of the attempts in a window failed.
    pub rate: Option<FailureRate>,
    /// While open, one delivery is tried this often.
    pub probe_every: Duration,
    /// Closes after this many successes in a row.
    pub successes: u32,
}

/// A share of failures over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureRate {
    /// The share of failed attempts, 0 to 1, at which the breaker opens.
    pub share: f64,
    /// Over this window.
    pub window: Duration,
    /// With at least this many attempts in it.
    pub attempts_min: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 10, rate: None, probe_every: Duration::from_secs(1), successes: 2 }
    }
}
