//! What is known of each event of a load, by its number: when it was sent, whether it was acknowledged, how often the
//! handler saw it, whether the gateway lists it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// When it was first sent, since the start of the run.
    sent: Duration,
    /// A 2xx was seen for it.
    pub(super) acked: bool,
    /// How often the handler was given it.
    pub(super) handled: u8,
    /// What the gateway says of it.
    pub(super) listed: Listed,
}

/// What the gateway's list says of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listed {
    /// Not in it.
    #[default]
    Not,
    /// In it, with something owed, given up or ignored.
    Kept,
    /// In it, and every delivery is confirmed.
    Delivered,
}

/// The journal of a run.
#[derive(Debug)]
pub(super) struct Journal {
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    /// Acknowledged, and not seen by the handler.
    owed: u64,
}

impl Journal {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, inner: Mutex::default() }
    }

    /// A new event, about to be sent.
    pub(super) fn begin(&self, at: Instant) -> u64 {
        let mut inner = self.lock();
        inner.entries.push(Entry { sent: at.duration_since(self.start), ..Entry::default() });
        inner.entries.len() as u64 - 1
    }

    /// A 2xx; whether it is the event's first.
    pub(super) fn acked(&self, number: u64) -> bool {
        let mut inner = self.lock();
        let Some(entry) = inner.entry(number) else { return false };
        let is_first = !std::mem::replace(&mut entry.acked, true);
        let is_owed = is_first && entry.handled == 0;
        inner.owed += u64::from(is_owed);
        is_first
    }

    /// The handler was given it; how long after it was sent, where this is the first time.
    pub(super) fn handled(&self, number: u64, at: Instant) -> Option<Duration> {
        let mut inner = self.lock();
        let entry = inner.entry(number)?;
        entry.handled = entry.handled.saturating_add(1);
        let (is_first, was_acked) = (entry.handled == 1, entry.acked);
        let took = at.duration_since(self.start).saturating_sub(entry.sent);
        inner.owed -= u64::from(is_first && was_acked);
        is_first.then_some(took)
    }

    /// The gateway lists it.
    pub(super) fn listed(&self, number: u64, listed: Listed) {
        if let Some(entry) = self.lock().entry(number) {
            entry.listed = listed;
        }
    }

    /// How many acknowledged events the handler has not seen.
    pub(super) fn owed(&self) -> u64 {
        self.lock().owed
    }

    /// How many entries fit.
    pub(super) fn count(&self, fits: impl Fn(&Entry) -> bool) -> u64 {
        self.lock().entries.iter().filter(|entry| fits(entry)).count() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        usize::try_from(number).ok().and_then(|index| self.entries.get_mut(index))
    }
}
