//! An open loop's clock: requests fall due at even distances, whether or not earlier ones were answered. A kernel timer
//! wakes it, because the runtime's own counts in milliseconds, and latency is counted from the time that was due.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Wake-ups are at least this far apart; at higher rates each brings several requests.
const WAKE_NS_MIN: i64 = 50_000;

#[derive(Debug)]
pub(super) struct Pacer {
    start: Instant,
    per_second: f64,
    /// Nothing falls due after so many.
    count: u64,
    due: Semaphore,
    released: AtomicU64,
    taken: AtomicU64,
}

impl Pacer {
    pub(super) fn new(start: Instant, per_second: f64, count: Option<u64>) -> Self {
        Self {
            start,
            per_second,
            count: count.unwrap_or(u64::MAX),
            due: Semaphore::new(0),
            released: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }

    /// Waits for the next request that is due, and says since when. `None`: the run is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        Some(self.start + Duration::from_secs_f64(number as f64 / self.per_second))
    }

    /// Releases what falls due, until `until`; then what nobody took stays unsent.
    pub(super) async fn run(&self, until: Option<Instant>) -> io::Result<()> {
        let mut timer = timer((1e9 / self.per_second) as i64)?;
        loop {
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                break;
            }
            let due = (now.duration_since(self.start).as_secs_f64() * self.per_second) as u64 + 1;
            let due = due.min(self.count);
            let before = self.released.swap(due, Ordering::Relaxed);
            self.due.add_permits(due.saturating_sub(before) as usize);
            // More room than the eight bytes that come: a short read tells that there is nothing left.
            let _expirations = timer.read(&mut [0; 16]).await?;
        }
        self.close();
        Ok(())
    }

    /// Nothing falls due any more.
    pub(super) fn close(&self) {
        self.due.close();
    }

    /// How many fell due and were never sent, because every connection was busy.
    pub(super) fn unsent(&self) -> u64 {
        self.released.load(Ordering::Relaxed).saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

/// The runtime reads it as it reads a pipe: both are descriptors that become readable.
fn timer(distance_ns: i64) -> io::Result<Receiver> {
    let every = distance_ns.max(WAKE_NS_MIN);
    let every = Timespec { tv_sec: every / 1_000_000_000, tv_nsec: every % 1_000_000_000 };
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let setting = Itimerspec { it_interval: every, it_value: every };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
    Receiver::from_owned_fd_unchecked(timer)
}
