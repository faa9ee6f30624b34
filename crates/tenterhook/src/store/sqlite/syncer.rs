//! Makes commits durable, and only then tells anybody of them. SQLite leaves the fsync to this thread
//! (`synchronous=NORMAL`), so that the writer works at the next transaction while the disk is busy with the last one. That
//! one is committed when the disk is free, or so late that it will just be: the disk then never waits for the writer, and
//! no more than two commits are ever on their way to it. Knows the log as a file, and nothing of what stands in it.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::Faults;
use super::answers::{Answers, Durable};
use super::engine::judge;
use super::handout::Taken;
use super::inbox;
use super::queue::{Commands, Done, Queue, Shared};
use super::schema::{beside, failed};
use crate::store::{StoreError, StoreErrorKind};

/// Commits that may be on their way to the disk at the same time.
pub(super) const UNDER_WAY_MAX: usize = 2;

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
    /// Commits that are not durable yet.
    under_way: usize,
    /// When the present sync began.
    since: Option<Instant>,
    /// How long one takes, of late.
    usual: Duration,
    failure: Option<rusqlite::Error>,
}

/// What the thread works with.
pub(super) struct Surroundings {
    pub(super) shared: Arc<Shared>,
    pub(super) answers: Answers,
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

    /// Whether the next transaction may be committed now: it will be when half of the present sync is over.
    pub(super) fn may_commit(&self) -> bool {
        let now = self.state.lock();
        match now.under_way {
            0 => true,
            UNDER_WAY_MAX.. => false,
            _ => now.since.is_some_and(|since| since.elapsed() > now.usual / 2),
        }
    }

    /// Waits until a sync ends, where one is under way.
    pub(super) fn wait_for_one(&self) {
        let now = self.state.lock();
        let before = now.under_way;
        let ended = |now: &mut Now| now.under_way > 0 && now.under_way == before;
        drop(self.state.became_free.wait_while(now, ended));
    }

    /// Waits until nothing is under way.
    pub(super) fn wait(&self) {
        let mut now = self.state.lock();
        while now.under_way > 0 {
            now = self.state.became_free.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why a transaction did not become durable, once. Every one that was handed over since is refused as well; none is
    /// left when this says so.
    pub(super) fn failure(&self) -> Option<rusqlite::Error> {
        self.state.lock().failure.as_ref()?;
        self.wait();
        self.state.lock().failure.take()
    }

    /// Hands over what was committed, as [`Self::may_commit`] allowed.
    pub(super) fn hand_over(&self, committed: Committed) {
        self.state.lock().under_way += 1;
        let handed = self.hand.as_ref().map(|hand| hand.send(committed));
        if !matches!(handed, Some(Ok(()))) {
            // The callers hear that the store is closed: their senders were dropped with it.
            tracing::error!("store_syncer_gone");
            self.state.ended(None);
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

    /// A sync begins; the error: an earlier one has failed.
    fn begins(&self) -> Result<Instant, StoreError> {
        let mut now = self.lock();
        if let Some(error) = &now.failure {
            return Err(judge(error, "write"));
        }
        let since = Instant::now();
        now.since = Some(since);
        Ok(since)
    }

    fn ended(&self, failure: Option<rusqlite::Error>) {
        let mut now = self.lock();
        if let Some(since) = now.since.take() {
            now.usual = (now.usual * 7 + since.elapsed()) / 8;
        }
        now.under_way = now.under_way.saturating_sub(1);
        now.failure = now.failure.take().or(failure);
        self.became_free.notify_all();
    }
}

fn run(around: &Surroundings, state: &State, handed: &Receiver<Committed>) {
    while let Ok(committed) = handed.recv() {
        let synced = state.begins().map(|since| (since, around.make_durable(&committed)));
        match synced {
            Ok((since, Ok(()))) => {
                let took = since.elapsed();
                if let Some(troubles) = committed.ends_trouble {
                    around.shared.end_trouble(troubles);
                }
                // The writer goes on first, and the next sync begins while the callers of this one are told.
                state.ended(None);
                around.queue.synced();
                around.answers.give(Durable { committed, sync_took: took });
            }
            Ok((_, Err(error))) => {
                let trouble = judge(&error, "write");
                state.ended(Some(error));
                around.give_up(committed, &trouble);
            }
            Err(trouble) => {
                state.ended(None);
                around.give_up(committed, &trouble);
            }
        }
    }
}

impl Surroundings {
    fn make_durable(&self, committed: &Committed) -> rusqlite::Result<()> {
        let Some(log) = &committed.log else { return Ok(()) };
        self.shared.syncing(true);
        let synced = sync(log, self.faults.as_deref());
        self.shared.syncing(false);
        synced
    }

    /// Nobody knows what of it is on the disk.
    fn give_up(&self, committed: Committed, trouble: &StoreError) {
        self.queue.synced();
        for taken in &committed.taken {
            taken.lane.lend(1);
        }
        inbox::refuse(committed.group, trouble);
    }
}
