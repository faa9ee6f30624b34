//! Connections that only read, for lists, details and bodies. Each read has a deadline, for a long one keeps the WAL
//! from being used again.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::engine::judge;
use super::queue::{Shared, closed};
use super::schema;
use crate::store::{StoreError, StoreErrorKind};

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    shared: Arc<Shared>,
    permits: Semaphore,
    at_once: u32,
    idle: Arc<Mutex<Vec<(u64, Connection)>>>,
}

impl Readers {
    /// `at_once` reads at the same time, each on a connection of its own that is kept.
    pub(super) fn new(path: PathBuf, shared: Arc<Shared>, at_once: u32) -> Self {
        Self { path, shared, permits: Semaphore::new(at_once as usize), at_once, idle: Arc::default() }
    }

    /// Runs `read` beside the runtime's threads, for `deadline` at most.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        deadline: Duration,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| closed())?;
        let epoch = self.shared.epoch.load(Ordering::SeqCst);
        let conn = self.connect(epoch)?;
        let interrupt = conn.get_interrupt_handle();
        let idle = Arc::clone(&self.idle);
        let mut task = tokio::task::spawn_blocking(move || {
            let outcome = read(&conn);
            // After an error the connection may be in the middle of something: a new one is cheap.
            if outcome.is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push((epoch, conn));
            }
            outcome
        });
        let joined = match tokio::time::timeout(deadline, &mut task).await {
            Ok(joined) => joined,
            Err(_) => {
                interrupt.interrupt();
                task.await
            }
        };
        drop(permit);
        match joined {
            Ok(outcome) => outcome.map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => StoreError::new(
                    StoreErrorKind::Unavailable,
                    format!("a read took longer than {} s: narrow it", deadline.as_secs()),
                ),
                _ => judge(&error, "read"),
            }),
            Err(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "a read was cut off")),
        }
    }

    fn connect(&self, epoch: u64) -> Result<Connection, StoreError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, _)| *of == epoch);
        if let Some((_, conn)) = idle.pop() {
            return Ok(conn);
        }
        drop(idle);
        schema::open_reader(&self.path).map_err(|error| judge(&error, "open for reading"))
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
