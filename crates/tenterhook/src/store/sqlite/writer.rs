//! The writer thread: takes commands and lets them share one transaction. While the disk makes one transaction durable,
//! the next one is at work; it is committed when the disk is free, and handed to the [`Syncer`], which answers.

mod trouble;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rusqlite::ErrorCode;
use tokio::time::Instant;

use super::ballast::Ballast;
use super::checkpoint::Checkpointer;
use super::cushion::Cushion;
use super::engine::{ClockGuard, Commons, Engine, judge};
use super::inbox::{Group, Inbox, is_accept, is_retention, refuse};
use super::perform::perform;
use super::queue::{Call, Command, Done, Shared, Work};
use super::syncer::{Committed, Syncer};
use super::{Faults, SqliteSettings};
use crate::model::Clock;
use crate::store::{StoreError, StoreErrorKind};

/// How often a store in trouble is tried again by itself.
const PROBE: Duration = Duration::from_secs(1);
/// No command for so long: time to tidy up.
const IDLE: Duration = Duration::from_millis(50);
/// How often accepts make a store without room look whether there is some.
const LOOK: Duration = Duration::from_millis(100);

/// The writer. Owns the only connection that writes.
pub(super) struct Writer {
    /// `None` after an I/O error, until it is opened again.
    engine: Option<Engine>,
    guard: ClockGuard,
    cushion: Cushion,
    /// When the cushion was looked at last.
    looked: Instant,
    ballast: Ballast,
    settings: SqliteSettings,
    commons: Commons,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    checkpointer: Checkpointer,
    syncer: Syncer,
    /// Pages of WAL when the checkpointer was asked last.
    asked_at_pages: i64,
    io_errors: Vec<Instant>,
    damages: Vec<Instant>,
    tried_to_open: Option<Instant>,
    /// When the trouble was looked at last.
    probed: Instant,
    /// Free pages are worth giving back once nothing else is to do.
    vacuum: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        if std::thread::panicking() {
            tracing::error!("store_writer_panicked");
            self.shared.fatal.send_replace(Some("the store's writer panicked".to_owned()));
        }
    }
}

impl Writer {
    pub(super) fn new(
        engine: Engine,
        settings: SqliteSettings,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        checkpointer: Checkpointer,
        syncer: Syncer,
    ) -> Self {
        let guard = engine.guard;
        let commons = Commons { names: Arc::clone(&engine.names), handout: Arc::clone(&engine.handout) };
        shared.keys.store(engine.dedupe.keys(), Ordering::Relaxed);
        let mut cushion = Cushion::new(&settings.path);
        cushion.renew(&settings.path);
        Self {
            engine: Some(engine),
            guard,
            cushion,
            looked: Instant::now(),
            ballast: Ballast::default(),
            settings,
            commons,
            clock,
            shared,
            checkpointer,
            syncer,
            asked_at_pages: 0,
            io_errors: Vec::new(),
            damages: Vec::new(),
            tried_to_open: None,
            probed: Instant::now(),
            vacuum: false,
        }
    }

    /// Until everybody has hung up, or somebody closes.
    pub(super) fn run(mut self, mut inbox: Inbox) {
        self.checkpoint();
        while let Some(first) = self.next(&mut inbox) {
            let mut group = Group::of(first);
            inbox.fill(&mut group);
            if self.serve(group, Some(&mut inbox)) {
                break;
            }
            self.checkpoint();
        }
        self.syncer.wait();
        self.heed();
        self.put_away();
    }

    /// The next command; `None` when everybody has hung up. Between commands the store heals and tidies up.
    fn next(&mut self, inbox: &mut Inbox) -> Option<Box<Command>> {
        loop {
            let mut in_trouble = self.engine.is_none() || self.shared.is_in_trouble();
            if in_trouble && self.probed.elapsed() >= PROBE {
                // Also while commands keep coming: those that are no accepts do not tell whether there is room.
                self.probe();
                in_trouble = self.engine.is_none() || self.shared.is_in_trouble();
            }
            let patience = if in_trouble { Some(PROBE) } else { self.vacuum.then_some(IDLE) };
            match inbox.next(patience) {
                Ok(Call::Command(command)) => return Some(command),
                Ok(Call::Synced) => self.heed(),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if in_trouble => {}
                Err(RecvTimeoutError::Timeout) => self.give_back_pages(),
            }
        }
    }

    /// What failed beside the writer counts before anything else is done.
    fn heed(&mut self) {
        if let Some(error) = self.syncer.failure() {
            self.break_off(judge(&error, "write"), true);
        }
        if let Some(error) = self.checkpointer.failure() {
            self.after_tidying(Err(error));
        }
    }

    /// One transaction for all, and for what arrives meanwhile. Where one of them alone is to blame, the others get one of
    /// their own; where the disk is full, what takes no room is tried without what does. True: the store is to be closed.
    fn serve(&mut self, mut group: Group, inbox: Option<&mut Inbox>) -> bool {
        self.heed();
        if self.engine.is_none() && !self.reopen() {
            let trouble = self.shared.ready().err().unwrap_or_else(|| {
                StoreError::new(StoreErrorKind::Unavailable, "the store is being reopened")
            });
            let closes = group.closes();
            refuse(group.commands, &trouble);
            return closes;
        }
        self.shared.writing(true);
        let outcome = self.transact(&mut group, inbox);
        self.shared.writing(false);
        let closes = group.closes();
        match outcome {
            Ok(committed) => self.syncer.hand_over(Committed { group: group.commands, ..committed }),
            Err(error) if group.commands.len() > 1 && is_about_one(&error) => {
                for command in group.commands {
                    self.serve(Group::of(command), None);
                }
            }
            Err(error) => {
                let mut others = group.commands;
                let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                let accepts: Vec<_> = others.extract_if(.., |command| is_accept(command)).collect();
                let others_are_worth_a_try = full && !accepts.is_empty() && !others.is_empty();
                refuse(accepts, &judge(&error, "write"));
                if others_are_worth_a_try {
                    self.serve(Group::from(others), None);
                } else {
                    refuse(others, &judge(&error, "write"));
                }
            }
        }
        closes
    }

    /// From BEGIN to COMMIT; on failure everything is as before, in the file and in RAM. What is committed is told by
    /// nobody before the [`Syncer`] has made it durable.
    fn transact(&mut self, group: &mut Group, inbox: Option<&mut Inbox>) -> rusqlite::Result<Committed> {
        if self.is_short()
            && self.looked.elapsed() >= LOOK
            && group.commands.iter().any(|command| is_accept(command))
        {
            self.look_for_room();
        }
        let began = Instant::now();
        let outcome = self.build(group, inbox).and_then(|done| Ok((self.commit()?, done)));
        match outcome {
            Ok((woke, done)) => {
                let ends_trouble = self.after_commit(&group.commands, &done);
                let Some(engine) = self.engine.as_mut() else { return Err(rusqlite::Error::InvalidQuery) };
                let log = is_owed(engine, &group.commands).then(|| Arc::clone(&engine.log));
                let taken = std::mem::take(&mut engine.taken);
                Ok(Committed { group: Vec::new(), done, taken, log, woke, ends_trouble, began })
            }
            Err(error) => {
                self.after_failure(&error);
                Err(error)
            }
        }
    }

    /// Performs a group, and what joins it while the disk is at work on the transaction before. Nothing is committed on
    /// top of what is lost.
    fn build(
        &mut self,
        group: &mut Group,
        mut inbox: Option<&mut Inbox>,
    ) -> rusqlite::Result<Vec<Result<Done, StoreError>>> {
        let Some(engine) = self.engine.as_mut() else { return Err(rusqlite::Error::InvalidQuery) };
        if let Some(pages) = self.settings.faults.as_deref().and_then(Faults::pages_max) {
            limit_pages(engine, pages)?;
        }
        engine.begin(self.clock.now())?;
        let mut done = Vec::with_capacity(group.commands.len());
        loop {
            for command in group.commands.iter().skip(done.len()) {
                done.push(perform(engine, command)?);
            }
            if self.syncer.may_commit() {
                break;
            }
            let may_grow = inbox.as_deref_mut().is_some_and(|inbox| inbox.fill(group));
            if group.commands.len() > done.len() || self.syncer.may_commit() {
                continue;
            }
            let waited = may_grow && inbox.as_deref_mut().is_some_and(|inbox| inbox.wait_for_one(group));
            if !waited {
                self.syncer.wait_for_one();
            }
        }
        if let Some(error) = self.syncer.failure() {
            return Err(error);
        }
        engine.finish()?;
        Ok(done)
    }

    /// Says whether a delivery became attemptable.
    fn commit(&mut self) -> rusqlite::Result<bool> {
        if let Some(fault) = self.settings.faults.as_deref().and_then(Faults::at_commit) {
            return Err(fault.error());
        }
        let Some(engine) = self.engine.as_mut() else { return Err(rusqlite::Error::InvalidQuery) };
        engine.commit()
    }

    /// Where a trouble is over once it is durable: how many there had been.
    fn after_commit(&mut self, group: &[Box<Command>], done: &[Result<Done, StoreError>]) -> Option<u64> {
        let engine = self.engine.as_ref()?;
        let is_owed = is_owed(engine, group);
        self.guard = engine.guard;
        self.shared.keys.store(engine.dedupe.keys(), Ordering::Relaxed);
        self.vacuum |=
            group.iter().any(|command| matches!(command.work, Work::Prune(..) | Work::Change { .. }));
        if let Some(full) = done.iter().find_map(|done| done.as_ref().err()) {
            self.probed = Instant::now();
            self.shared.set_trouble(Some(full.clone()));
            return None;
        }
        // Only an accept shows that there is room again; anything that writes shows that the disk answers.
        let accepted = group.iter().any(|command| is_accept(command)) && !self.is_short();
        (is_owed && (accepted || !self.shared.is_full())).then(|| self.shared.troubles())
    }
}

/// Whether somebody waits for the disk to have it. Retention waits for the next sync: one of its own would only keep the disk
/// from those who do, and would show nothing of whether it answers.
fn is_owed(engine: &Engine, group: &[Box<Command>]) -> bool {
    engine.wrote && !group.iter().all(|command| is_retention(command))
}

/// Whether the statement itself was refused, and not the disk.
fn is_about_one(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
        }
        None => true,
    }
}

fn limit_pages(engine: &Engine, pages: u32) -> rusqlite::Result<()> {
    engine.conn.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))
}
