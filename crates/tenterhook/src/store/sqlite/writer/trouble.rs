//! What follows when the disk says no: what is rolled back, what is opened anew, what is fatal, and when it is tried again.

use std::time::Duration;

use rusqlite::ErrorCode;
use tokio::time::Instant;

use super::{PROBE, Writer, is_about_one, limit_pages};
use crate::store::sqlite::ballast::Ballast;
use crate::store::sqlite::engine::{Engine, is_damage, judge};
use crate::store::sqlite::{Fault, Faults, check, checkpoint, syncer};
use crate::store::{StoreError, StoreErrorKind};
use std::sync::atomic::Ordering;

/// So many I/O errors within [`IO_ERRORS_WITHIN`] are fatal.
const IO_ERRORS_FATAL: usize = 3;
const IO_ERRORS_WITHIN: Duration = Duration::from_secs(60);
/// So many meetings with damaged pages within [`IO_ERRORS_WITHIN`] are fatal: the indexes were made anew in vain.
const DAMAGES_FATAL: usize = 3;
/// A transaction of that size shows that there is room.
const PROBE_BYTES: i64 = 64 * 1024;

impl Writer {
    /// Rolls back and decides what kind of trouble it is.
    pub(super) fn after_failure(&mut self, error: &rusqlite::Error) {
        self.probed = Instant::now();
        let rolled_back = self.engine.as_mut().map_or(Ok(()), Engine::roll_back);
        let code = error.sqlite_error_code();
        match (code, rolled_back) {
            (Some(ErrorCode::DiskFull), Ok(())) => {
                self.shared.set_trouble(Some(judge(error, "write")));
                // What the log holds already may fit into the database file; then the log's own room is free again,
                // for settlements above all.
                let emptied = self.engine.as_ref().map_or(Ok(()), |engine| {
                    let _rest = self.checkpointer.rest();
                    checkpoint::passive(&engine.conn).map(drop)
                });
                self.after_tidying(emptied);
            }
            (Some(ErrorCode::DatabaseBusy), Ok(())) => tracing::warn!(%error, "store_held_by_another_writer"),
            (_, Ok(())) if is_about_one(error) => tracing::error!(%error, "store_statement_failed"),
            (_, rolled_back) => {
                // A file that ends too early does not get longer by trying again.
                let is_damaged = is_damage(error);
                let io = !is_damaged
                    && (code == Some(ErrorCode::SystemIoFailure)
                        || rolled_back.is_err_and(|error| {
                            error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
                        }));
                self.break_off(judge(error, "write"), io);
                if is_damaged {
                    self.count_damage(&error.to_string());
                }
            }
        }
    }

    /// What is in the page cache cannot be trusted after a failed write: let go of the connection.
    pub(super) fn break_off(&mut self, trouble: StoreError, io: bool) {
        self.shared.set_trouble(Some(StoreError { kind: StoreErrorKind::Unavailable, ..trouble.clone() }));
        self.engine = None;
        self.tried_to_open = None;
        self.shared.end_epoch();
        self.checkpointer.let_go();
        if io {
            self.count_io_error(trouble.message);
        }
    }

    fn count_io_error(&mut self, message: String) {
        let now = Instant::now();
        self.io_errors.retain(|at| now.duration_since(*at) < IO_ERRORS_WITHIN);
        self.io_errors.push(now);
        if self.io_errors.len() >= IO_ERRORS_FATAL {
            tracing::error!(errors = self.io_errors.len(), "store_io_errors_fatal");
            self.shared.fatal.send_replace(Some(message));
        }
    }

    fn count_damage(&mut self, said: &str) {
        tracing::error!(said, "store_damaged");
        let now = Instant::now();
        self.damages.retain(|at| now.duration_since(*at) < IO_ERRORS_WITHIN);
        self.damages.push(now);
        if self.damages.len() >= DAMAGES_FATAL {
            let why = format!("`{}` is damaged: {said}", self.settings.path.display());
            check::mark(&self.settings.path, &why);
            self.shared.fatal.send_replace(Some(why));
        }
    }

    pub(super) fn reopen(&mut self) -> bool {
        if self.tried_to_open.is_some_and(|at| at.elapsed() < PROBE) {
            return false;
        }
        self.tried_to_open = Some(Instant::now());
        let opened = {
            let _rest = self.checkpointer.rest();
            Engine::open(&self.settings, self.commons.clone(), self.clock.as_ref(), Some(self.guard))
        };
        // What is derived is made anew before anything is believed that met a damaged page.
        let opened = opened.and_then(|engine| {
            if !self.damages.is_empty() {
                check::rebuild(&engine.conn).map_err(|error| judge(&error, "make the indexes anew"))?;
                tracing::error!("store_indexes_rebuilt");
            }
            Ok(engine)
        });
        match opened {
            Ok(engine) => {
                self.shared.keys.store(engine.dedupe.keys(), Ordering::Relaxed);
                self.engine = Some(engine);
                self.ballast = Ballast::default();
                self.cushion.renew(&self.settings.path);
                self.look_for_room();
                // Nobody knows what was committed just before: let the dispatcher look.
                self.shared.tick();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "store_reopen_failed");
                match error.kind {
                    StoreErrorKind::Unavailable => self.count_io_error(error.message.clone()),
                    StoreErrorKind::Corrupt => self.count_damage(&error.message),
                    _ => {}
                }
                self.shared.set_trouble(Some(error));
                false
            }
        }
    }

    /// Whether the trouble is over: a transaction of some size has to succeed.
    pub(super) fn probe(&mut self) {
        self.probed = Instant::now();
        if self.engine.is_none() && !self.reopen() {
            return;
        }
        if self.is_short() {
            self.look_for_room();
            if self.is_short() {
                return;
            }
        }
        let Some(engine) = self.engine.as_mut() else { return };
        let faults = self.settings.faults.as_deref();
        let tried = (|| {
            engine.begin(self.clock.now())?;
            if let Some(pages) = faults.and_then(Faults::pages_max) {
                limit_pages(engine, pages)?;
            }
            if engine.room()? < PROBE_BYTES {
                return Err(Fault::Full.error());
            }
            engine.conn.execute("INSERT OR REPLACE INTO probe VALUES(1,zeroblob(?1))", [PROBE_BYTES])?;
            if let Some(fault) = faults.and_then(Faults::at_commit) {
                return Err(fault.error());
            }
            engine.conn.execute_batch("COMMIT; DELETE FROM probe WHERE id=1;")?;
            engine.count_pages()?;
            syncer::sync(&engine.log, faults)
        })();
        match tried {
            Ok(()) => self.shared.set_trouble(None),
            Err(error) => self.after_failure(&error),
        }
    }
}
