//! The embedded store: SQLite with one writer thread and group commit.
//!
//! ```text
//!   accept settle lease change prune          events event payload deliveries stats
//!        |  (compressed, summed up here)                    |
//!        v                                                  v
//!   bounded queue --> writer thread                    readers (query_only, a deadline each)
//!                     one transaction for all that waits, COMMIT
//!                          |
//!                          v
//!                     syncer thread
//!                     fdatasync, then the answers
//! ```
//!
//! | file | what it is for |
//! |---|---|
//! | `schema` | tables, identity of the file, migrations, pragmas |
//! | `lock` | one store, one process |
//! | `queue` `pressure` | the bounded way to the writer |
//! | `inbox` `perform` | what shares a transaction, and what each of it does |
//! | `writer` | group commit, and all that follows from a disk that says no |
//! | `syncer` | makes a commit durable beside the writer, and answers |
//! | `checkpoint` | the WAL's way into the database file, beside the writer |
//! | `cushion` `ballast` | room that is set aside for when the disk is full |
//! | `engine` | the connection with what moves in step with it |
//! | `accept` `lease` `settle` `change` `prune` | what is done inside a transaction |
//! | `handout` | leases that are taken in the transaction of their accept |
//! | `row` `tally` | a delivery's transitions, its place in line, the ledger |
//! | `dedupe` | the index of keys in RAM |
//! | `check` | what is damaged, and what of it can be made anew |
//! | `body` `events` `deliveries` `stats` `readers` | reading |
//! | `codec` `names` | how things are written down |
//!
//! Knows nothing of HTTP, retries or config.

mod accept;
mod answers;
mod ballast;
mod body;
mod change;
mod check;
mod checkpoint;
mod codec;
mod cushion;
mod dedupe;
mod deliveries;
mod engine;
mod events;
mod handout;
mod headers;
mod inbox;
mod lease;
mod lock;
mod names;
mod perform;
mod pressure;
mod prune;
mod queue;
mod readers;
mod row;
mod schema;
mod settle;
mod stats;
mod syncer;
mod tally;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use self::answers::{Answers, Audience};
use self::check::Look;
use self::checkpoint::Checkpointer;
use self::codec::Packed;
use self::engine::{Commons, Engine};
use self::handout::Handout;
use self::inbox::Inbox;
use self::lock::StoreLock;
use self::names::Names;
use self::queue::{Done, Queue, Shared, Work};
use self::readers::Readers;
use self::syncer::{Surroundings, Syncer};
use self::writer::Writer;
use super::cursor::{page_size, parse};
use super::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Standby, Store, StoreError,
    StoreErrorKind,
};
use crate::model::{
    Accepted, Clock, DestinationName, EventId, Lease, Ledger, Settled, Settlement, Stats, Submission,
    Timestamp,
};
use crate::telemetry::metrics::Metrics;

/// How long a list, a detail or a gauge may take.
const READ: Duration = Duration::from_secs(2);
/// How long the bodies of a lease may take: a cold disk and 4 MiB bodies.
const READ_BODIES: Duration = Duration::from_secs(10);
/// How long counting every row may take.
const RECOUNT: Duration = Duration::from_secs(600);
/// Batches above this are compressed beside the runtime's threads.
const COMPRESS_INLINE_BYTES_MAX: usize = 256 * 1024;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The database file; `-wal`, `-shm` and `.lock` lie beside it. Created (0600) if it is not there.
    pub path: PathBuf,
    /// Accepts are refused as `Full` once the database has this many bytes; everything else goes on. `None`: the disk
    /// is the limit.
    pub bytes_max: Option<u64>,
    /// The longest backoff of any destination: a due time further away comes from a clock that was ahead, and is
    /// brought back to it at open.
    pub backoff_max: Duration,
    /// Of each destination: how many deliveries can be begun and not settled at the same time. Leases beyond, which a
    /// killed process had taken ahead, have spent no attempt: at open the oldest ones count. Where it is not said, all do.
    pub begun_max: BTreeMap<DestinationName, u32>,
    /// Failures on purpose, for tests. `None` in earnest.
    pub faults: Option<Arc<dyn Faults>>,
}

impl SqliteSettings {
    /// The defaults for a file: no limit but the disk, six hours of backoff.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            bytes_max: None,
            backoff_max: Duration::from_secs(6 * 3600),
            begun_max: BTreeMap::new(),
            faults: None,
        }
    }
}

/// A failure on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full.
    Full,
    /// An fsync failed.
    Io,
}

impl Fault {
    fn error(self) -> rusqlite::Error {
        let code = match self {
            Self::Full => rusqlite::ffi::SQLITE_FULL,
            Self::Io => rusqlite::ffi::SQLITE_IOERR_FSYNC,
        };
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }
}

/// Where tests make the disk fail. Asked in the threads of the store.
pub trait Faults: Send + Sync + fmt::Debug {
    /// Before each COMMIT: what it fails with.
    fn at_commit(&self) -> Option<Fault> {
        None
    }

    /// Before a committed transaction is made durable: what that fails with.
    fn at_sync(&self) -> Option<Fault> {
        None
    }

    /// Before the checkpointer takes anything over: what that fails with.
    fn at_checkpoint(&self) -> Option<Fault> {
        None
    }

    /// Whether there is no more room to set aside.
    fn is_nearly_full(&self) -> bool {
        false
    }

    /// Pages (of 4 KiB) at which SQLite itself finds the database full.
    fn pages_max(&self) -> Option<u32> {
        None
    }
}

/// The inbox in a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Arc<Queue>,
    /// For people.
    readers: Readers,
    /// For the bodies of leases, which must not wait behind four people's lists.
    bodies: Readers,
    names: Arc<Names>,
    handout: Arc<Handout>,
    shared: Arc<Shared>,
    path: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
    look: Mutex<Option<Look>>,
}

impl SqliteStore {
    /// Locks, opens or creates, migrates, ends the leases of the former process, and builds the dedupe index: all
    /// before the first accept. Blocking: some seconds with millions of keys. Within the runtime that will use it.
    ///
    /// # Errors
    /// `Locked` names the pid that holds the store; `Incompatible` for files of others and of newer versions, which
    /// are left untouched; `Full`, `Corrupt` and `Unavailable` as the disk says.
    pub fn open(
        settings: SqliteSettings,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let lock = StoreLock::take(&settings.path)?;
        let names = Arc::<Names>::default();
        let handout = Arc::new(Handout::new());
        let commons = Commons { names: Arc::clone(&names), handout: Arc::clone(&handout) };
        check::vet(&settings.path)?;
        let open = || Engine::open(&settings, commons.clone(), clock.as_ref(), None);
        let engine = match open() {
            // The damage may be one of an index: that can be made anew.
            Err(error) if error.kind == StoreErrorKind::Corrupt => {
                let rebuilt = schema::open_writer(&settings.path)?;
                check::rebuild(&rebuilt).map_err(|_| error)?;
                tracing::error!("store_indexes_rebuilt");
                open()?
            }
            opened => opened?,
        };
        let shared = Arc::new(Shared::new());
        let (queue, calls) = Queue::new(Arc::clone(&shared));
        let path = settings.path.clone();
        let checkpointer = Checkpointer::start(path.clone(), Arc::clone(&shared), settings.faults.clone())?;
        let queue = Arc::new(queue);
        let answers =
            Answers::start(Audience { shared: Arc::clone(&shared), handout: Arc::clone(&handout), metrics })?;
        let syncer = Syncer::start(Surroundings {
            shared: Arc::clone(&shared),
            answers,
            faults: settings.faults.clone(),
            queue: Arc::clone(&queue),
        })?;
        let writer = Writer::new(engine, settings, clock, Arc::clone(&shared), checkpointer, syncer);
        let inbox = Inbox::new(calls, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                writer.run(inbox);
                drop(lock);
            })
            .map_err(|error| {
                StoreError::new(StoreErrorKind::Unavailable, format!("cannot start the writer: {error}"))
            })?;
        let look = Look::begin(&path, Arc::clone(&queue));
        Ok(Self {
            queue,
            readers: Readers::new(path.clone(), Arc::clone(&shared), 4),
            bodies: Readers::new(path.clone(), Arc::clone(&shared), 2),
            names,
            handout,
            shared,
            path,
            thread: Mutex::new(Some(thread)),
            look: Mutex::new(look),
        })
    }

    /// Becomes `Some` when the disk fails again and again (three I/O errors within a minute): the process should then
    /// end with status 70, for what the page cache says about the file cannot be believed any more.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.shared.fatal.subscribe()
    }

    /// The clock is right: retention and key expiry, which wait for an hour after a gap or step of the wall clock
    /// between two runs, go on now.
    ///
    /// # Errors
    /// `Unavailable` when the store is closed or in trouble.
    pub async fn confirm_clock(&self) -> Result<(), StoreError> {
        self.queue.ask(Work::ConfirmClock).await.map(drop)
    }

    /// Transactions committed since open.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, &Names) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let names = Arc::clone(&self.names);
        self.readers.read(READ, move |conn| read(conn, &names)).await
    }

    async fn slice(
        &self,
        selection: Selection,
        change: Change,
    ) -> Result<(Vec<crate::model::DeliveryId>, Option<crate::model::DeliveryId>), StoreError> {
        let limit = page_size(selection.limit);
        self.read(move |conn, names| deliveries::slice(conn, names, &selection, change, limit)).await
    }

    fn bytes_on_disk(&self) -> u64 {
        let length = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        length(&self.path) + length(&schema::beside(&self.path, "-wal"))
    }

    fn take_look(&self) -> Option<Look> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for SqliteStore {
    /// Lets the writer finish what it was given, and lets go of the lock.
    fn drop(&mut self) {
        if let Some(look) = self.take_look() {
            look.end();
        }
        self.queue.hang_up();
        if let Some(thread) = self.take_thread() {
            let _ = thread.join();
        }
    }
}

fn unexpected() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the writer gave the answer to another question")
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        // Compressing 10 KiB costs more than the rest of an accept: under load it would be events for bytes.
        let compresses = !self.shared.pressure.is_busy();
        let pack = move |batch: Vec<Submission>| {
            batch.into_iter().map(|submission| Packed::new(submission, compresses)).collect::<Vec<_>>()
        };
        let bytes: usize = batch.iter().map(|submission| submission.admitted.body.len()).sum();
        let packed = if bytes <= COMPRESS_INLINE_BYTES_MAX {
            pack(batch)
        } else {
            let packing = tokio::task::spawn_blocking(move || pack(batch)).await;
            packing.map_err(|_| StoreError::new(StoreErrorKind::Unavailable, "compressing was cut off"))?
        };
        match self.queue.ask(Work::Accept(packed)).await? {
            Done::Accepted(accepted) => Ok(accepted),
            _ => Err(unexpected()),
        }
    }

    /// Dropped before it returns, it may leave leases that nobody holds; they end by themselves.
    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError> {
        let Done::Taken(taken) = self.queue.ask(Work::Lease(demand)).await? else {
            return Err(unexpected());
        };
        let mut leased = Leased {
            leases: Vec::new(),
            next_due: taken.next_due.map(Timestamp::from_millis),
            found_dead: taken.found_dead,
        };
        if taken.picked.is_empty() {
            return Ok(leased);
        }
        let (names, picked) = (Arc::clone(&self.names), taken.picked.clone());
        let read = self.bodies.read(READ_BODIES, move |conn| Ok(body::read_all(conn, &names, picked))).await;
        let bodies = match read {
            Ok(bodies) => bodies,
            Err(error) => {
                let back = Work::TakeBack { corrupt: Vec::new(), unread: taken.picked };
                self.queue.ask(back).await?;
                return Err(error);
            }
        };
        if let Some(error) = &bodies.error {
            tracing::warn!(%error, unread = bodies.unread.len(), "store_bodies_unread");
        }
        for picked in &bodies.corrupt {
            tracing::error!(delivery = %picked.id(), "store_body_corrupt");
        }
        leased.found_dead.extend(bodies.corrupt.iter().map(lease::Picked::id));
        leased.leases = bodies.leases;
        if !bodies.corrupt.is_empty() || !bodies.unread.is_empty() {
            self.queue.ask(Work::TakeBack { corrupt: bodies.corrupt, unread: bodies.unread }).await?;
        }
        Ok(leased)
    }

    fn handed_out(&self) -> Option<UnboundedReceiver<Lease>> {
        self.handout.receiver()
    }

    fn stand_by(&self, lanes: Vec<Arc<Standby>>) {
        self.handout.stand_by(lanes);
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.queue.ask(Work::Settle(batch)).await? {
            Done::Settled(settled) => Ok(settled),
            _ => Err(unexpected()),
        }
    }

    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError> {
        let (ids, next) = self.slice(selection.clone(), change).await?;
        if ids.is_empty() {
            return Ok(Changed { next, ..Changed::default() });
        }
        match self.queue.ask(Work::Change { ids, selection, change, by }).await? {
            Done::Changed(outcome) => {
                Ok(Changed { count: outcome.count, out_of_order: outcome.out_of_order, next })
            }
            _ => Err(unexpected()),
        }
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        match self.queue.ask(Work::Prune(retention, now)).await? {
            Done::Pruned(pruned) => Ok(pruned),
            _ => Err(unexpected()),
        }
    }

    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError> {
        let after = query.after.as_deref().map(parse::<EventId>).transpose()?;
        let limit = page_size(query.limit);
        self.read(move |conn, names| events::page(conn, names, &query, after, limit)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        self.read(move |conn, names| events::detail(conn, names, id)).await
    }

    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError> {
        match self.read(move |conn, names| body::payload(conn, names, id, conflict)).await? {
            None => Ok(None),
            Some(Some(payload)) => Ok(Some(payload)),
            Some(None) => Err(StoreError::new(
                StoreErrorKind::Corrupt,
                format!("the stored bytes of {id} do not fit their checksum"),
            )),
        }
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        let before = query.after.as_deref().map(parse::<crate::model::DeliveryId>).transpose()?;
        let limit = page_size(query.selection.limit);
        self.read(move |conn, names| deliveries::page(conn, names, &query.selection, before.as_ref(), limit))
            .await
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        let mut stats = self.read(move |conn, names| stats::stats(conn, names, now)).await?;
        stats.store_bytes = self.bytes_on_disk();
        stats.dedupe_keys = self.shared.keys.load(Ordering::Relaxed);
        Ok(stats)
    }

    async fn recount(&self) -> Result<Ledger, StoreError> {
        self.readers.read(RECOUNT, stats::recount).await
    }

    async fn compare(&self) -> Result<(Ledger, Ledger), StoreError> {
        self.readers.read(RECOUNT, stats::compare).await
    }

    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError> {
        self.queue.ask(Work::Pause(destination, paused, by)).await.map(drop)
    }

    async fn is_paused(&self, destination: &DestinationName) -> Result<bool, StoreError> {
        let destination = destination.clone();
        self.read(move |conn, names| stats::is_paused(conn, names, &destination)).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.queue.ask(Work::Audit(entry)).await.map(drop)
    }

    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        let limit = page_size(limit);
        self.read(move |conn, _| stats::audits(conn, before, limit)).await
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.shared.ready()
    }

    fn work(&self) -> watch::Receiver<u64> {
        self.shared.work.subscribe()
    }

    async fn close(&self) -> Result<(), StoreError> {
        if let Some(look) = self.take_look() {
            let _ = tokio::task::spawn_blocking(move || look.end()).await;
        }
        self.readers.close().await;
        self.bodies.close().await;
        // Closing twice is fine: the second finds nobody to ask.
        let _ = self.queue.ask(Work::Close).await;
        self.queue.hang_up();
        if let Some(thread) = self.take_thread() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        Ok(())
    }
}
