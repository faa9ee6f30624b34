//! What is done between transactions: room is set aside, the log is taken over, pages are given back.

use rusqlite::{ErrorCode, Transaction, TransactionBehavior};
use tokio::time::Instant;

use super::Writer;
use super::limit_pages;
use crate::store::sqlite::Faults;
use crate::store::sqlite::checkpoint::{self, Turn, Wal};
use crate::store::sqlite::cushion;
use crate::store::sqlite::engine::judge;

impl Writer {
    pub(super) fn is_short(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.short.is_some())
    }

    /// Sees to the room that is set aside: without it accepts are refused, before anything fails.
    pub(super) fn look_for_room(&mut self) {
        let looked = self.keep_cushion();
        self.after_tidying(looked.map(drop));
    }

    /// Says how far the WAL is.
    fn keep_cushion(&mut self) -> rusqlite::Result<Wal> {
        let Some(engine) = self.engine.as_mut() else { return Err(rusqlite::Error::InvalidQuery) };
        self.looked = Instant::now();
        let mut wal = checkpoint::look(&engine.conn)?;
        let pages = engine.pages.unsigned_abs();
        let mut kept = self.cushion.keep(pages, wal.in_use(), wal.taken_over.unsigned_abs());
        let chunk = self.cushion.chunk(pages);
        checkpoint::cut_in(&engine.conn, chunk)?;
        self.checkpointer.cut_in(chunk);
        if kept.is_err() && wal.in_use() > 0 {
            // An emptied log needs less.
            let _rest = self.checkpointer.rest();
            match checkpoint::passive(&engine.conn) {
                Ok(emptied) => {
                    wal = emptied;
                    kept = self.cushion.keep(pages, wal.in_use(), wal.taken_over.unsigned_abs());
                }
                // It has to be told that there is no room all the more.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    tracing::debug!(%error, "store_log_cannot_be_emptied");
                }
                Err(error) => return Err(error),
            }
        }
        if self.settings.faults.as_deref().is_some_and(Faults::is_nearly_full) {
            kept = Err(cushion::full("a test says that the disk is nearly full"));
        }
        engine.short = kept.err();
        let tended = self.tend_ballast();
        if let Some(short) = self.engine.as_ref().and_then(|engine| engine.short.clone()) {
            self.shared.set_trouble(Some(short));
        }
        tended.map(|()| wal)
    }

    /// Gives the ballast up where there is no room, and takes it in again where there is.
    fn tend_ballast(&mut self) -> rusqlite::Result<()> {
        let Some(engine) = self.engine.as_mut() else { return Ok(()) };
        if let Some(pages) = self.settings.faults.as_deref().and_then(Faults::pages_max) {
            limit_pages(engine, pages)?;
        }
        match self.ballast.tend(&engine.conn, engine.short.is_none()) {
            Ok(false) => Ok(()),
            Ok(true) => engine.count_pages(),
            Err(error)
                if engine.short.is_none() && error.sqlite_error_code() == Some(ErrorCode::DiskFull) =>
            {
                engine.short = Some(judge(&error, "set room aside"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the WAL over into the database file, or has it taken over. After the callers were answered.
    pub(super) fn checkpoint(&mut self) {
        if self.engine.is_none() {
            return;
        }
        let kept = self.keep_cushion();
        let checkpointed = match self.checkpointer.failure() {
            Some(error) => Err(error),
            None => kept.and_then(|wal| self.take_over(wal)),
        };
        self.after_tidying(checkpointed);
    }

    fn take_over(&mut self, wal: Wal) -> rusqlite::Result<()> {
        let is_asked_already = (0..checkpoint::TAIL_PAGES).contains(&(wal.pages - self.asked_at_pages));
        match wal.turn() {
            Turn::Nobody => Ok(()),
            // A long read can keep pages where they are: asking again at once would change nothing.
            Turn::Beside if is_asked_already => Ok(()),
            Turn::Beside => {
                self.asked_at_pages = wal.pages;
                self.checkpointer.begin();
                Ok(())
            }
            Turn::Tail if self.checkpointer.is_busy() => Ok(()),
            Turn::Tail | Turn::All => {
                let Some(engine) = self.engine.as_ref() else { return Ok(()) };
                let rest = self.checkpointer.rest();
                checkpoint::passive(&engine.conn)?;
                drop(rest);
                self.keep_cushion().map(drop)
            }
        }
    }

    /// Also an fsync that nobody waited for makes the connection one that cannot be trusted.
    pub(super) fn after_tidying(&mut self, outcome: rusqlite::Result<()>) {
        match outcome {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                self.break_off(judge(&error, "checkpoint"), true);
            }
            // A full disk: the WAL keeps everything, and the next commit tells.
            Err(error) => tracing::warn!(%error, "store_checkpoint_failed"),
            Ok(()) => {}
        }
    }

    pub(super) fn give_back_pages(&mut self) {
        let Some(engine) = self.engine.as_mut() else { return };
        let free = |conn: &rusqlite::Connection| {
            conn.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0))
        };
        let given_back = (|| {
            let mut statement = engine.conn.prepare_cached("PRAGMA incremental_vacuum(256)")?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            drop(rows);
            drop(statement);
            engine.count_pages()?;
            free(&engine.conn)
        })();
        // Enough is kept to reuse: a file that shrinks and grows all day helps nobody.
        self.vacuum = matches!(given_back, Ok(left) if left > 1024);
        self.after_tidying(given_back.map(drop));
        self.checkpoint();
    }

    /// The last thing that is done: the log is emptied, and what was set aside is given back.
    pub(super) fn put_away(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        let _rest = self.checkpointer.rest();
        let is_emptied = checkpoint::truncate(&engine.conn).unwrap_or(false);
        // On a full disk the next process can do with what is set aside.
        if !is_emptied || engine.short.is_some() {
            return;
        }
        // While this is held, nobody adds a page behind the last one.
        let Ok(held) = Transaction::new_unchecked(&engine.conn, TransactionBehavior::Immediate) else {
            return;
        };
        if let Ok(pages) = held.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))
            && let Err(error) = self.cushion.give_back(pages.unsigned_abs())
        {
            tracing::debug!(%error, "store_room_not_given_back");
        }
    }
}
