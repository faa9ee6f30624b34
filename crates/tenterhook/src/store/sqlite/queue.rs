//! The way to the writer: bounded in commands and in bytes, never waited for. And what both ends share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::change::Outcome;
use super::codec::Packed;
use super::lease::{Picked, Taken};
use super::pressure::{Place, Pressure};
use crate::model::{Accepted, DeliveryId, DestinationName, Settled, Settlement, Timestamp};
use crate::store::{AuditEntry, Change, Demand, Pruned, Retention, Selection, StoreError, StoreErrorKind};

/// Commands that may wait.
const QUEUE: usize = 4096;
/// Bytes of submissions that may wait.
const QUEUE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// A transaction that takes longer makes the store not ready: the disk stalls.
const STALL_MS: i64 = 5_000;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Work {
    Accept(Vec<Packed>),
    Lease(Demand),
    TakeBack { corrupt: Vec<Picked>, unread: Vec<Picked> },
    Settle(Vec<Settlement>),
    Change { ids: Vec<DeliveryId>, selection: Selection, change: Change, by: AuditEntry },
    Prune(Retention, Timestamp),
    Pause(DestinationName, bool, AuditEntry),
    Audit(AuditEntry),
    ConfirmClock,
    Rebuild,
    Close,
}

/// What it answers, one for each kind of work.
#[derive(Debug)]
pub(super) enum Done {
    Accepted(Vec<Accepted>),
    Taken(Taken),
    Settled(Vec<Settled>),
    Changed(Outcome),
    Pruned(Pruned),
    Nothing,
}

/// Work and where its answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) work: Work,
    pub(super) bytes: u64,
    /// When it came.
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<Result<Done, StoreError>>,
    /// Of an accept; given back with its answer.
    pub(super) _place: Option<Place>,
}

/// Several, which move from hand to hand as pointers: one is 350 bytes long.
pub(super) type Commands = Vec<Box<Command>>;

/// What comes to the writer.
#[derive(Debug)]
pub(super) enum Call {
    Command(Box<Command>),
    /// A commit is durable, or failed to become so.
    Synced,
}

/// Why accepts are refused, where they are.
#[derive(Debug, Default)]
struct Trouble {
    now: Option<StoreError>,
    /// How often there was one.
    count: u64,
}

/// Connections that nobody uses at the moment, each with its epoch.
pub(super) type Idle = Mutex<Vec<(u64, rusqlite::Connection)>>;

/// What the writer and the front share.
#[derive(Debug)]
pub(super) struct Shared {
    trouble: Mutex<Trouble>,
    pub(super) closed: AtomicBool,
    waiting: AtomicUsize,
    waiting_bytes: AtomicU64,
    pub(super) pressure: Arc<Pressure>,
    /// When the present transaction began, and when the disk began to make one durable, in milliseconds since `born`;
    /// negative where there is none.
    writing_since_ms: AtomicI64,
    syncing_since_ms: AtomicI64,
    born: Instant,
    pub(super) keys: AtomicU64,
    pub(super) commits: AtomicU64,
    /// Moves on when everybody must let go of their connections.
    epoch: AtomicU64,
    idle: Mutex<Vec<Arc<Idle>>>,
    pub(super) work: watch::Sender<u64>,
    pub(super) fatal: watch::Sender<Option<String>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            trouble: Mutex::default(),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicU64::new(0),
            pressure: Pressure::new(QUEUE),
            writing_since_ms: AtomicI64::new(-1),
            syncing_since_ms: AtomicI64::new(-1),
            born: Instant::now(),
            keys: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            idle: Mutex::default(),
            work: watch::Sender::new(0),
            fatal: watch::Sender::new(None),
        }
    }

    /// Whether an accept would be taken now.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        if let Some(trouble) = self.trouble().now.clone() {
            return Err(trouble);
        }
        let stalls = |since: &AtomicI64| {
            let since = since.load(Ordering::Relaxed);
            since >= 0 && self.elapsed_ms() - since > STALL_MS
        };
        if stalls(&self.writing_since_ms) || stalls(&self.syncing_since_ms) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the disk stalls"));
        }
        if self.waiting.load(Ordering::Relaxed) >= QUEUE || !self.pressure.has_place() {
            return Err(queue_full());
        }
        Ok(())
    }

    /// Whether an accept was refused last.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble().now.is_some()
    }

    /// Whether what it was refused for is want of room.
    pub(super) fn is_full(&self) -> bool {
        self.trouble().now.as_ref().is_some_and(|trouble| trouble.kind == StoreErrorKind::Full)
    }

    /// A transaction begins, or ends.
    pub(super) fn writing(&self, now: bool) {
        self.writing_since_ms.store(if now { self.elapsed_ms() } else { -1 }, Ordering::Relaxed);
    }

    /// The disk begins to make a transaction durable, or ends.
    pub(super) fn syncing(&self, now: bool) {
        self.syncing_since_ms.store(if now { self.elapsed_ms() } else { -1 }, Ordering::Relaxed);
    }

    /// A transaction is durable.
    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Which connections count: those that were opened in this epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// A pool of connections that are closed with their epoch.
    pub(super) fn add_pool(&self, pool: Arc<Idle>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }

    /// Nothing that a connection remembers of the file is believed any more. SQLite keeps its locks for the whole process,
    /// and one that it failed to give back is only gone with the last connection: idle ones are closed at once.
    pub(super) fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        for pool in self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            pool.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// A command was taken off the queue.
    pub(super) fn taken(&self, command: &Command) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(command.bytes, Ordering::Relaxed);
    }

    /// The dispatcher should look.
    pub(super) fn tick(&self) {
        self.work.send_modify(|tick| *tick = tick.wrapping_add(1));
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.born.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// How often there was trouble: what [`Self::end_trouble`] asks for.
    pub(super) fn troubles(&self) -> u64 {
        self.trouble().count
    }

    /// The store is in trouble from now on, or no more. Logged where it changes.
    pub(super) fn set_trouble(&self, trouble: Option<StoreError>) {
        Self::change_trouble(&mut self.trouble(), trouble);
    }

    /// It is in trouble no more, unless a new one came since there were `troubles`.
    pub(super) fn end_trouble(&self, troubles: u64) {
        let mut trouble = self.trouble();
        if trouble.count == troubles {
            Self::change_trouble(&mut trouble, None);
        }
    }

    fn change_trouble(slot: &mut Trouble, trouble: Option<StoreError>) {
        match (&slot.now, &trouble) {
            (None, Some(error)) => tracing::error!(kind = error.kind.code(), %error, "store_not_ready"),
            (Some(_), None) => tracing::info!("store_ready"),
            _ => {}
        }
        slot.count += u64::from(trouble.is_some());
        slot.now = trouble;
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn queue_full() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "too many calls wait for the disk")
}

pub(super) fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the store is closed")
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Queue {
    sender: Mutex<Option<SyncSender<Call>>>,
    shared: Arc<Shared>,
}

impl Queue {
    pub(super) fn new(shared: Arc<Shared>) -> (Self, Receiver<Call>) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(QUEUE);
        (Self { sender: Mutex::new(Some(sender)), shared }, receiver)
    }

    /// Hands work to the writer and waits for it to be durable. Never waits for a place in the queue.
    pub(super) async fn ask(&self, work: Work) -> Result<Done, StoreError> {
        let bytes = match &work {
            Work::Accept(batch) => batch.iter().map(Packed::bytes).sum(),
            _ => 0,
        };
        let place = match &work {
            Work::Accept(_) => Some(self.shared.pressure.enter().ok_or_else(queue_full)?),
            _ => None,
        };
        let (reply, answer) = oneshot::channel();
        self.send(Command { work, bytes, since: Instant::now(), reply, _place: place })?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Hands work to the writer and does not wait. A writer that is gone needs none.
    pub(super) fn tell(&self, work: Work) {
        let (reply, _) = oneshot::channel();
        let _ = self.send(Command { work, bytes: 0, since: Instant::now(), reply, _place: None });
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        let bytes = command.bytes;
        let waiting_bytes = self.shared.waiting_bytes.load(Ordering::Relaxed);
        if waiting_bytes > 0 && waiting_bytes + bytes > QUEUE_BYTES_MAX {
            return Err(queue_full());
        }
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return Err(closed()) };
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        sender.try_send(Call::Command(Box::new(command))).map_err(|error| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => queue_full(),
                TrySendError::Disconnected(_) => closed(),
            }
        })
    }

    /// Tells the writer that a sync ended. Where the queue is full it has something to receive anyway.
    pub(super) fn synced(&self) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = sender.try_send(Call::Synced);
        }
    }

    /// No more commands: the writer ends after the ones it has.
    pub(super) fn hang_up(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
