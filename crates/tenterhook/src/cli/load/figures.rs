//! What is counted while a load runs, and what it comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

/// Latencies are told apart to 1 %.
const DIGITS: u8 = 2;
/// Longer latencies count as this one: ten minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// An empty histogram of nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    // The bounds are constants within what the crate allows.
    Histogram::new_with_max(LATENCY_NS_MAX, DIGITS).unwrap_or_else(|_| unreachable!())
}

/// Counts a duration.
pub(super) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half are below.
    pub p50_ms: f64,
    /// 90 % are below.
    pub p90_ms: f64,
    /// 99 % are below.
    pub p99_ms: f64,
    /// 99.9 % are below.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Percentiles {
    /// Of a histogram of nanoseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |ns: u64| ns as f64 / 1e6;
        let at = |quantile: f64| ms(histogram.value_at_quantile(quantile));
        Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(histogram.max()),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p90 {p90_ms:.2}, p99 {p99_ms:.2}, p99.9 {p999_ms:.2}, max {max_ms:.1}")
    }
}

/// Counted while requests are sent.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) sent: u64,
    pub(super) duplicates: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) io_errors: u64,
    pub(super) acked: u64,
    pub(super) last: Option<Instant>,
    /// Answers within the measured time, by their latency.
    pub(super) latency: Histogram<u64>,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            duplicates: 0,
            statuses: BTreeMap::new(),
            io_errors: 0,
            acked: 0,
            last: None,
            latency: histogram(),
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// How far a load is, for a progress line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub answered: u64,
    /// Distinct events that were answered 2xx.
    pub acked: u64,
    /// Acknowledged events that the handler has not seen yet; 0 without a handler.
    pub owed: u64,
}

/// What the sending came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sent {
    /// Requests sent, duplicates included.
    pub sent: u64,
    /// Of these, events that had been acknowledged before.
    pub duplicates_sent: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer because the connection could not be made, or broke.
    pub io_errors: u64,
    /// Requests without an answer when the load gave up waiting.
    pub unanswered: u64,
    /// Requests of an open loop that fell due and were never sent, because every connection was busy.
    pub unsent: u64,
    /// Distinct events that were answered 2xx.
    pub acked: u64,
    /// The measured time in seconds: without warm-up, and without waiting for the last answers.
    pub seconds: f64,
    /// 2xx answers per second of the measured time.
    pub rate: f64,
    /// 2xx answers of the measured time: from the write (open loop: from when it was due) to the answer's last byte.
    #[serde(flatten)]
    pub latency: Percentiles,
}

/// What the handler saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Handled {
    /// Requests that it answered.
    pub calls: u64,
    /// Of these, requests without an event of this run.
    pub strangers: u64,
    /// Events seen once.
    pub once: u64,
    /// Events seen more than once.
    pub twice: u64,
    /// Acknowledged events that were not seen.
    pub never: u64,
    /// From the first request to the last event's first sight, in seconds.
    pub seconds: f64,
    /// Distinct events per second of that time.
    pub rate: f64,
    /// From the sending of an event to its first sight.
    #[serde(flatten)]
    pub latency: Percentiles,
}
