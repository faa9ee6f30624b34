//! Connections that only read, for lists, details and bodies. Each read has a deadline, for a long one keeps the WAL
//! from being used again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, InterruptHandle};
use tokio::sync::Semaphore;

use super::engine::judge;
use super::queue::{Idle, Shared, closed};
use super::schema;
use crate::store::{StoreError, StoreErrorKind};

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    shared: Arc<Shared>,
    permits: Semaphore,
    at_once: u32,
    idle: Arc<Idle>,
}

impl Readers {
    /// `at_once` reads at the same time, each on a connection of its own that is kept.
    pub(super) fn new(path: PathBuf, shared: Arc<Shared>, at_once: u32) -> Self {
        let idle = Arc::<Idle>::default();
        shared.add_pool(Arc::clone(&idle));
        Self { path, shared, permits: Semaphore::new(at_once as usize), at_once, idle }
    }

    /// Runs `read` beside the runtime's threads, for `deadline` at most. There, too, its connection is opened: where the
    /// locks cannot be had that takes seconds.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        deadline: Duration,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| closed())?;
        let epoch = self.shared.epoch();
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let progress = Arc::new(Mutex::new(Progress::Opening));
        let (reading, shared) = (Arc::clone(&progress), Arc::clone(&self.shared));
        let mut task = tokio::task::spawn_blocking(move || {
            let conn = connect(&path, &idle, epoch).map_err(|error| judge(&error, "open for reading"))?;
            if !reading.lock().unwrap_or_else(PoisonError::into_inner).begin(&conn) {
                return Err(too_long(deadline));
            }
            let outcome = read(&conn);
            // After an error the connection may be in the middle of something: a new one is cheap.
            if outcome.is_ok() && shared.epoch() == epoch {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push((epoch, conn));
            }
            outcome.map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => too_long(deadline),
                _ => judge(&error, "read"),
            })
        });
        let joined = match tokio::time::timeout(deadline, &mut task).await {
            Ok(joined) => joined,
            Err(_) => {
                progress.lock().unwrap_or_else(PoisonError::into_inner).end();
                task.await
            }
        };
        drop(permit);
        joined.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable, "a read was cut off")))
    }

    /// No more reads; waits for those under way and closes every connection.
    pub(super) async fn close(&self) {
        // Those who wait are turned away, those who read finish: they are bounded by their deadlines.
        if let Ok(permits) = self.permits.acquire_many(self.at_once).await {
            permits.forget();
        }
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// How far a read is, for whoever breaks it off.
enum Progress {
    Opening,
    Reading(InterruptHandle),
    BrokenOff,
}

impl Progress {
    /// Whether it is still wanted.
    fn begin(&mut self, conn: &Connection) -> bool {
        if matches!(self, Self::BrokenOff) {
            return false;
        }
        *self = Self::Reading(conn.get_interrupt_handle());
        true
    }

    fn end(&mut self) {
        if let Self::Reading(interrupt) = self {
            interrupt.interrupt();
        }
        *self = Self::BrokenOff;
    }
}

fn connect(path: &Path, idle: &Idle, epoch: u64) -> rusqlite::Result<Connection> {
    let kept = {
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, _)| *of == epoch);
        idle.pop()
    };
    kept.map_or_else(|| schema::open_reader(path), |(_, conn)| Ok(conn))
}

fn too_long(deadline: Duration) -> StoreError {
    let message = format!("a read took longer than {} s: narrow it", deadline.as_secs());
    StoreError::new(StoreErrorKind::Unavailable, message)
}
