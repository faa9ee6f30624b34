//! Time as a value. [`SystemClock`] is the only place that reads the wall clock, once, at start.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This much later; stops at the end of time instead of overflowing.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This much earlier; stops at the beginning of time instead of overflowing.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// For libraries that speak `SystemTime`. Times before 1970 become 1970.
    #[must_use]
    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// From a `SystemTime`. Times before 1970 become 1970.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// RFC 3339 in UTC with milliseconds, as people and the API see it.
    #[must_use]
    pub fn rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => format!("{time:.3}"),
            Err(_) => format!("{} ms", self.0),
        }
    }
}

/// Where the time comes from. Decisions take a [`Timestamp`]; only edges hold a clock.
pub trait Clock: Send + Sync {
    /// The time now. Never goes back within a process, and no step of the wall clock moves it.
    fn now(&self) -> Timestamp;

    /// What the wall clock says now, wherever it was stepped to: what the timestamps of senders are held against, for
    /// they come from other machines.
    fn wall_now(&self) -> Timestamp {
        self.now()
    }

    /// Where its time begins, if the machine can tell.
    fn origin(&self) -> Option<Origin> {
        None
    }
}

/// What a clock says of the moment at which the machine was started. Two processes of one boot tell by it how far their
/// clocks are apart, whatever was done to the wall clock between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Names the boot; another boot, another name.
    pub boot: String,
    /// By the clock, to about 10 ms.
    pub at: Timestamp,
}

/// The wall clock as it was at start, plus what the monotonic clock has counted since: a step of the wall clock while
/// the process runs moves nothing.
#[derive(Debug)]
pub struct SystemClock {
    started_at: Timestamp,
    started: tokio::time::Instant,
    origin: Option<Origin>,
}

impl SystemClock {
    /// Reads the wall clock once.
    #[must_use]
    pub fn start() -> Self {
        let (started_at, started) = (Self::wall(), tokio::time::Instant::now());
        Self { started_at, started, origin: origin(started_at) }
    }

    /// What the wall clock says at this moment, for the check that notices a step of it.
    #[must_use]
    pub fn wall() -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
        Timestamp::from_system(SystemTime::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed())
    }

    fn wall_now(&self) -> Timestamp {
        Self::wall()
    }

    fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }
}

/// `None` where there is no `/proc` as on Linux.
fn origin(now: Timestamp) -> Option<Origin> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(Origin { boot: boot.trim().to_owned(), at: now.minus(Duration::try_from_secs_f64(seconds).ok()?) })
}

/// A clock that stands still until it is moved: for tests and simulation.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `at`.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.millis()))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Jumps anywhere, also back.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc3339_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_700_000_000_123).rfc3339(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Timestamp::from_millis(0).rfc3339(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
