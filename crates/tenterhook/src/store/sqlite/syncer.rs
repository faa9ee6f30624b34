//! Makes commits durable, and only then tells anybody of them. SQLite leaves the fsync to this thread
//! (`synchronous=NORMAL`), so that the writer works at the next transaction while the disk is busy with the last one. One
//! transaction at a time: the next one is committed when the disk is free. Knows the log as a file, and nothing of what
//! stands in it.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::Faults;
use super::engine::judge;
use super::handout::{Handout, Taken};
use super::inbox::{self, is_accept};
use super::queue::{Commands, Done, Queue, Shared, Work};
use super::schema::{beside, failed};
use crate::model::Accepted;
use crate::store::{StoreError, StoreErrorKind};
use crate::telemetry::metrics::Metrics;

/// A transaction that is committed but not yet durable, with what is to be said of it.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) group: Commands,
    pub(super) done: Vec<Result<Done, StoreError>>,
    /// Leases of new deliveries.
    pub(super) taken: Vec<Taken>,
    /// The log it stands in; `None` where it wrote nothing.
    pub(super) log: Option<Arc<File>>,
    /// A delivery became attemptable.
    pub(super) woke: bool,
    /// Where it shows that a trouble is over: how many there had been.
    pub(super) ends_trouble: Option<u64>,
    pub(super) began: Instant,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Syncer {
    hand: Option<SyncSender<Committed>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Mutex<Now>,
    became_free: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    is_busy: bool,
    failure: Option<rusqlite::Error>,
}

/// What the thread works with.
pub(super) struct Surroundings {
    pub(super) shared: Arc<Shared>,
    pub(super) handout: Arc<Handout>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) faults: Option<Arc<dyn Faults>>,
    pub(super) queue: Arc<Queue>,
}

/// Opens the log of the database at `path`, which a connection holds open.
pub(super) fn open_log(path: &Path) -> Result<Arc<File>, StoreError> {
    let log = beside(path, "-wal");
    File::options()
        .read(true)
        .write(true)
        .open(&log)
        .map(Arc::new)
        .map_err(|error| failed(&log, "open", &error))
}

/// Makes durable what was written to the log.
pub(super) fn sync(log: &File, faults: Option<&dyn Faults>) -> rusqlite::Result<()> {
    if let Some(fault) = faults.and_then(Faults::at_sync) {
        return Err(fault.error());
    }
    log.sync_data().map_err(|error| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        rusqlite::Error::SqliteFailure(code, Some(format!("cannot make the log durable: {error}")))
    })
}

impl Syncer {
    pub(super) fn start(around: Surroundings) -> Result<Self, StoreError> {
        let state = Arc::<State>::default();
        let (hand, handed) = sync_channel(1);
        let of_thread = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("store-syncer".to_owned())
            .spawn(move || run(&around, &of_thread, &handed))
            .map_err(|error| {
                let message = format!("cannot start the syncer: {error}");
                StoreError::new(StoreErrorKind::Unavailable, message)
            })?;
        Ok(Self { hand: Some(hand), thread: Some(thread), state })
    }

    /// Whether the disk is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.state.lock().is_busy
    }

    /// Waits until it is not.
    pub(super) fn wait(&self) {
        let mut now = self.state.lock();
        while now.is_busy {
            now = self.state.became_free.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why the last transaction did not become durable, once.
    pub(super) fn failure(&self) -> Option<rusqlite::Error> {
        self.state.lock().failure.take()
    }

    /// Hands over what was committed; the disk is not at work.
    pub(super) fn hand_over(&self, committed: Committed) {
        self.state.lock().is_busy = true;
        let handed = self.hand.as_ref().map(|hand| hand.send(committed));
        if !matches!(handed, Some(Ok(()))) {
            // The callers hear that the store is closed: their senders were dropped with it.
            tracing::error!("store_syncer_gone");
            self.state.free(None);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.hand = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self, failure: Option<rusqlite::Error>) {
        let mut now = self.lock();
        now.is_busy = false;
        now.failure = failure;
        self.became_free.notify_all();
    }
}

fn run(around: &Surroundings, state: &State, handed: &Receiver<Committed>) {
    while let Ok(committed) = handed.recv() {
        let began = Instant::now();
        around.shared.syncing(true);
        let synced = match &committed.log {
            Some(log) => sync(log, around.faults.as_deref()),
            None => Ok(()),
        };
        around.shared.syncing(false);
        match synced {
            Ok(()) => {
                if let Some(troubles) = committed.ends_trouble {
                    around.shared.end_trouble(troubles);
                }
                // The writer goes on first: the disk waits for it, and these callers have waited already.
                state.free(None);
                around.queue.wake();
                around.publish(committed, began.elapsed());
            }
            Err(error) => {
                let trouble = judge(&error, "write");
                state.free(Some(error));
                around.queue.wake();
                for taken in &committed.taken {
                    taken.lane.lend(1);
                }
                inbox::refuse(committed.group, &trouble);
            }
        }
    }
}

impl Surroundings {
    /// Counts it, tells everybody, and hands out what was leased.
    fn publish(&self, committed: Committed, sync_took: Duration) {
        let Committed { group, done, taken, log, woke, began, .. } = committed;
        self.shared.count_commit();
        if log.is_some() {
            self.metrics
                .commit_took(began.elapsed(), group.iter().map(|command| inbox::accepts(command)).sum());
            self.metrics.fsync_took(sync_took);
        }
        let accepts = group.iter().filter(|command| is_accept(command));
        if let Some(first) = accepts.map(|command| command.since).min() {
            self.shared.pressure.learn(first.elapsed());
        }
        let mut accepted = Vec::new();
        for (command, done) in group.into_iter().zip(done) {
            if !taken.is_empty()
                && let (Work::Accept(batch), Ok(Done::Accepted(answers))) = (command.work, &done)
            {
                accepted.extend(batch.into_iter().zip(answers.iter().map(new_id)));
            }
            let _ = command.reply.send(done);
        }
        let mut taken = taken.into_iter().peekable();
        for (packed, id) in accepted {
            let of_event: Vec<_> =
                std::iter::from_fn(|| taken.next_if(|taken| Some(taken.event) == id)).collect();
            self.handout.hand_out(packed, &of_event);
        }
        if woke {
            self.shared.tick();
        }
    }
}

fn new_id(answer: &Accepted) -> Option<i64> {
    match answer {
        Accepted::New { id, .. } => Some(id.raw()),
        Accepted::Duplicate(_) | Accepted::Conflict(_) => None,
    }
}
