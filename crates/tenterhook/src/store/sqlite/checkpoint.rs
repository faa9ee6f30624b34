//! Takes what has gathered in the WAL over into the database file, beside the writer, so that nobody who waits for a
//! commit waits for that. Only the last few pages are left to the writer itself: the WAL can begin anew only at a
//! moment when nothing is left in it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, FileControl};

use super::queue::Shared;
use super::{Faults, schema};
use crate::store::{StoreError, StoreErrorKind};

/// Pages of WAL after which the work begins: 4 MiB. More at once is less in all, but keeps the disk busy for so long that
/// commits have to wait for it.
const BEGIN_PAGES: i64 = 1000;
/// What the writer does itself: a few milliseconds.
pub(super) const TAIL_PAGES: i64 = 64;
/// Of a long WAL it does more: a part so small. Commits that are larger than the tail would let it grow for ever else.
const TAIL_PART: i64 = 16;
/// Beyond this the writer does all of it, and everybody waits: 256 MiB of WAL are enough.
const PAGES_MAX: i64 = 64_000;

/// How far the WAL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wal {
    /// Pages in it.
    pub(super) pages: i64,
    /// How many of them are in the database file as well.
    pub(super) taken_over: i64,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Nobody,
    /// The thread of [`Checkpointer`].
    Beside,
    /// The writer, for a moment.
    Tail,
    /// The writer, and everybody waits.
    All,
}

impl Wal {
    /// Pages that are needed; where there are none, the next commit begins the WAL anew.
    pub(super) fn in_use(self) -> u64 {
        if self.taken_over >= self.pages { 0 } else { self.pages.unsigned_abs() }
    }

    /// Whose turn it is.
    pub(super) fn turn(self) -> Turn {
        let left = self.pages - self.taken_over;
        if left <= 0 {
            Turn::Nobody
        } else if left >= PAGES_MAX {
            Turn::All
        } else if self.pages < BEGIN_PAGES {
            Turn::Nobody
        } else if left <= TAIL_PAGES.max(self.pages / TAIL_PART) {
            Turn::Tail
        } else {
            Turn::Beside
        }
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Held for as long as a connection is at work.
    at_work: Mutex<()>,
    is_busy: AtomicBool,
    /// Where the database file is cut, as [`cut_in`] is told.
    chunk: AtomicI32,
    failure: Mutex<Option<rusqlite::Error>>,
}

impl Checkpointer {
    pub(super) fn start(
        path: PathBuf,
        shared: Arc<Shared>,
        faults: Option<Arc<dyn Faults>>,
    ) -> Result<Self, StoreError> {
        let state = Arc::<State>::default();
        let (wake, asked) = sync_channel(1);
        let of_thread = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("checkpointer".to_owned())
            .spawn(move || run(&path, &shared, &of_thread, &asked, faults.as_deref()))
            .map_err(|error| {
                let message = format!("cannot start the checkpointer: {error}");
                StoreError::new(StoreErrorKind::Unavailable, message)
            })?;
        Ok(Self { wake: Some(wake), thread: Some(thread), state })
    }

    /// From its next turn on the database file is cut in such chunks.
    pub(super) fn cut_in(&self, chunk: i32) {
        self.state.chunk.store(chunk, Ordering::SeqCst);
    }

    /// Begins, unless it is at it already.
    pub(super) fn begin(&self) {
        let Some(wake) = &self.wake else { return };
        if !self.state.is_busy.swap(true, Ordering::SeqCst)
            && let Err(TrySendError::Disconnected(())) = wake.try_send(())
        {
            tracing::error!("store_checkpointer_gone");
        }
    }

    /// Closes its connection, which is of an epoch that ended.
    pub(super) fn let_go(&self) {
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
    }

    /// Whether it is at it.
    pub(super) fn is_busy(&self) -> bool {
        self.state.is_busy.load(Ordering::SeqCst)
    }

    /// Why the last turn failed, once.
    pub(super) fn failure(&self) -> Option<rusqlite::Error> {
        self.state.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the present turn; there is no other until the guard is gone.
    pub(super) fn rest(&self) -> MutexGuard<'_, ()> {
        self.state.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    path: &std::path::Path,
    shared: &Shared,
    state: &State,
    asked: &Receiver<()>,
    faults: Option<&dyn Faults>,
) {
    let mut kept: Option<(u64, Connection)> = None;
    while asked.recv().is_ok() {
        let at_work = state.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failed write nothing that a connection remembers of the file is believed.
        let epoch = shared.epoch();
        kept = kept.filter(|(of, _)| *of == epoch);
        if !state.is_busy.load(Ordering::SeqCst) {
            continue;
        }
        let done = match kept.take() {
            Some((_, conn)) => Ok(conn),
            None => schema::open_checkpointer(path),
        }
        .and_then(|conn| match faults.and_then(Faults::at_checkpoint) {
            Some(fault) => Err(fault.error()),
            None => {
                cut_in(&conn, state.chunk.load(Ordering::SeqCst)).and_then(|()| passive(&conn)).map(|_| conn)
            }
        });
        match done {
            Ok(conn) => kept = Some((epoch, conn)),
            Err(error) => *state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        }
        drop(at_work);
        state.is_busy.store(false, Ordering::SeqCst);
    }
}

/// A checkpoint of this connection that ends with nothing left in the WAL cuts the database file not behind its last page,
/// but behind the last chunk of such a length. 0: behind its last page.
pub(super) fn cut_in(conn: &Connection, mut chunk: i32) -> rusqlite::Result<()> {
    conn.file_control(Some("main"), FileControl::ChunkSize(&mut chunk))
}

/// Takes over as much as is possible without waiting for anybody.
pub(super) fn passive(conn: &Connection) -> rusqlite::Result<Wal> {
    wal(conn, "PRAGMA wal_checkpoint(PASSIVE)")
}

/// Takes everything over and makes the log an empty file. Says whether that came about: a reader can be in the way.
pub(super) fn truncate(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Only looks.
pub(super) fn look(conn: &Connection) -> rusqlite::Result<Wal> {
    wal(conn, "PRAGMA wal_checkpoint(NOOP)")
}

fn wal(conn: &Connection, pragma: &str) -> rusqlite::Result<Wal> {
    conn.prepare_cached(pragma)?
        .query_row([], |row| Ok(Wal { pages: row.get(1)?, taken_over: row.get::<_, i64>(2)?.max(0) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_takes_only_the_tail_or_what_has_become_too_much() {
        let turn = |pages, taken_over| Wal { pages, taken_over }.turn();
        assert_eq!(turn(0, 0), Turn::Nobody);
        assert_eq!(turn(999, 0), Turn::Nobody);
        assert_eq!(turn(1_000, 0), Turn::Beside);
        assert_eq!(turn(1_400, 1_000), Turn::Beside);
        assert_eq!(turn(1_450, 1_400), Turn::Tail);
        assert_eq!(turn(1_450, 1_450), Turn::Nobody);
        assert_eq!(turn(4_000, 3_744), Turn::Beside, "a commit of 1 MiB is more than a tail");
        assert_eq!(turn(4_500, 4_244), Turn::Tail, "but no part of a long WAL");
        assert_eq!(turn(70_000, 1_000), Turn::All);
    }
}
