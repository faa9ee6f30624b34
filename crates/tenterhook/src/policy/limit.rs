//! How many per second: a token bucket.

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePolicy {
    /// Sustained rate.
    pub per_second: f64,
    /// How many at once after a pause.
    pub burst: u32,
}
