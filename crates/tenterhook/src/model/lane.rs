//! A destination's lane as it stands at one moment: for metrics, admin and the CLI.

use super::name::DestinationName;
use super::time::Timestamp;

/// The circuit breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum BreakerState {
    /// Attempts flow.
    #[default]
    Closed,
    /// A probe is under way, or succeeded and the next one decides.
    HalfOpen,
    /// No attempts, but for a probe now and then.
    Open,
}

impl BreakerState {
    /// The stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// One destination's lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// The destination.
    pub destination: DestinationName,
    /// Its breaker.
    pub breaker: BreakerState,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts at the same time, at most.
    pub concurrency: u32,
    /// Nothing is leased before this time (a 429, or a trouble of our own).
    pub paused_until: Option<Timestamp>,
    /// Why nothing is leased, for people: the last `NotTried` reason, `rate limited by the receiver`.
    pub alarm: Option<String>,
}
