//! The writer thread: takes commands, lets them share one transaction, and answers once that is durable. Also the
//! whole of what happens when the disk says no.
//!
//! There is no linger: while one commit waits for the disk, the commands of the next one gather by themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use rusqlite::ErrorCode;
use tokio::time::Instant;

use super::ballast::Ballast;
use super::check;
use super::checkpoint::{self, Checkpointer, Turn, Wal};
use super::codec::Packed;
use super::cushion::{self, Cushion};
use super::engine::{ClockGuard, Commons, Engine, is_damage, judge};
use super::queue::{Command, Done, Shared, Work};
use super::{Fault, Faults, SqliteSettings};
use crate::model::{Accepted, Clock, Timestamp};
use crate::store::{StoreError, StoreErrorKind};
use crate::telemetry::metrics::Metrics;

/// One transaction takes at most so many submissions and bytes.
const GROUP_MAX: usize = 1024;
const GROUP_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How often a store in trouble is tried again by itself.
const PROBE: Duration = Duration::from_secs(1);
/// No command for so long: time to tidy up.
const IDLE: Duration = Duration::from_millis(50);
/// How often accepts make a store without room look whether there is some.
const LOOK: Duration = Duration::from_millis(100);
/// So many I/O errors within [`IO_ERRORS_WITHIN`] are fatal.
const IO_ERRORS_FATAL: usize = 3;
const IO_ERRORS_WITHIN: Duration = Duration::from_secs(60);
/// So many meetings with damaged pages within [`IO_ERRORS_WITHIN`] are fatal: the indexes were made anew in vain.
const DAMAGES_FATAL: usize = 3;

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
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    checkpointer: Checkpointer,
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
        metrics: Arc<Metrics>,
        shared: Arc<Shared>,
        checkpointer: Checkpointer,
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
            metrics,
            shared,
            checkpointer,
            asked_at_pages: 0,
            io_errors: Vec::new(),
            damages: Vec::new(),
            tried_to_open: None,
            probed: Instant::now(),
            vacuum: false,
        }
    }

    /// Until everybody has hung up, or somebody closes.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut carried = None;
        self.checkpoint();
        loop {
            let Some(first) = carried.take().or_else(|| self.next(commands)) else { break };
            let group = self.gather(first, commands, &mut carried);
            let closing = group.iter().any(|command| matches!(command.work, Work::Close));
            self.serve(group);
            if closing {
                break;
            }
            self.checkpoint();
        }
        if let Some(engine) = self.engine.take() {
            let _rest = self.checkpointer.rest();
            let _ = engine.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// The next command; `None` when everybody has hung up. Between commands the store heals and tidies up.
    fn next(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        loop {
            let mut in_trouble = self.engine.is_none() || self.shared.is_in_trouble();
            if in_trouble && self.probed.elapsed() >= PROBE {
                // Also while commands keep coming: those that are no accepts do not tell whether there is room.
                self.probe();
                in_trouble = self.engine.is_none() || self.shared.is_in_trouble();
            }
            let received = if in_trouble {
                commands.recv_timeout(PROBE)
            } else if self.vacuum {
                commands.recv_timeout(IDLE)
            } else {
                commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match received {
                Ok(command) => {
                    self.shared.taken(&command);
                    return Some(command);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if in_trouble => {}
                Err(RecvTimeoutError::Timeout) => self.give_back_pages(),
            }
        }
    }

    /// Everything that waits already, up to the bounds of one transaction. What does not fit is carried over.
    fn gather(
        &self,
        first: Command,
        commands: &Receiver<Command>,
        carried: &mut Option<Command>,
    ) -> Vec<Command> {
        let (mut submissions, mut bytes) = weight(&first);
        let mut group = vec![first];
        while submissions < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            if matches!(group.last(), Some(Command { work: Work::Prune(..) | Work::Close, .. })) {
                break;
            }
            let command = match commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
            self.shared.taken(&command);
            let (more_submissions, more_bytes) = weight(&command);
            if submissions + more_submissions > GROUP_MAX || bytes + more_bytes > GROUP_BYTES_MAX {
                *carried = Some(command);
                break;
            }
            submissions += more_submissions;
            bytes += more_bytes;
            group.push(command);
        }
        group
    }

    /// One transaction for all. Where one of them alone is to blame, the others get one of their own; where the disk
    /// is full, what takes no room is tried without what does.
    fn serve(&mut self, mut group: Vec<Command>) {
        // What failed beside the writer since the last transaction counts before the next one.
        if let Some(error) = self.checkpointer.failure() {
            self.after_tidying(Err(error));
        }
        if self.engine.is_none() && !self.reopen() {
            let trouble = self.shared.ready().err().unwrap_or_else(|| {
                StoreError::new(StoreErrorKind::Unavailable, "the store is being reopened")
            });
            return refuse(group, &trouble);
        }
        self.shared.busy();
        match self.transact(&group) {
            Ok(done) => {
                let accepts = group.iter().filter(|command| is_accept(command));
                if let Some(first) = accepts.map(|command| command.since).min() {
                    self.shared.pressure.learn(first.elapsed());
                }
                self.answer(group, done);
            }
            Err(error) if group.len() > 1 && is_about_one(&error) => {
                for command in group {
                    self.serve(vec![command]);
                }
            }
            Err(error) => {
                let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                let accepts: Vec<_> = group.extract_if(.., |command| is_accept(command)).collect();
                let others_are_worth_a_try = full && !accepts.is_empty() && !group.is_empty();
                refuse(accepts, &judge(&error, "write"));
                if others_are_worth_a_try {
                    self.serve(group);
                } else {
                    refuse(group, &judge(&error, "write"));
                }
            }
        }
        self.shared.idle();
    }

    /// Tells everybody, and hands out what was leased.
    fn answer(&mut self, group: Vec<Command>, done: Vec<Result<Done, StoreError>>) {
        let taken = self.engine.as_mut().map(|engine| std::mem::take(&mut engine.taken)).unwrap_or_default();
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
            self.commons.handout.hand_out(packed, &of_event);
        }
    }

    /// From BEGIN to COMMIT; on failure everything is as before, in the file and in RAM.
    fn transact(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Result<Done, StoreError>>> {
        if self.is_short() && self.looked.elapsed() >= LOOK && group.iter().any(is_accept) {
            self.look_for_room();
        }
        let Some(engine) = self.engine.as_mut() else { return Err(rusqlite::Error::InvalidQuery) };
        let began = Instant::now();
        let now = self.clock.now();
        let faults = self.settings.faults.as_deref();
        let mut outcome = perform(engine, group, now, faults);
        let mut fsync_took = Duration::ZERO;
        if let Ok(done) = outcome {
            let committing = Instant::now();
            outcome = match faults.and_then(Faults::at_commit) {
                Some(fault) => Err(fault.error()),
                None => engine.commit().map(|woke| {
                    if woke {
                        self.shared.tick();
                    }
                    done
                }),
            };
            fsync_took = committing.elapsed();
        }
        match outcome {
            Ok(done) => {
                let wrote = engine.wrote;
                self.guard = engine.guard;
                self.shared.keys.store(engine.dedupe.keys(), Ordering::Relaxed);
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                if wrote {
                    self.metrics.commit_took(began.elapsed(), weight_of(group));
                    self.metrics.fsync_took(fsync_took);
                }
                self.after_commit(group, &done, wrote);
                Ok(done)
            }
            Err(error) => {
                self.after_failure(&error);
                Err(error)
            }
        }
    }

    fn after_commit(&mut self, group: &[Command], done: &[Result<Done, StoreError>], wrote: bool) {
        let full = done.iter().find_map(|done| done.as_ref().err());
        let accepted = group.iter().any(is_accept) && !self.is_short();
        match full {
            Some(full) => {
                self.probed = Instant::now();
                self.shared.set_trouble(Some(full.clone()));
            }
            // Only an accept shows that there is room again; anything that writes shows that the disk answers.
            None if wrote && (accepted || !self.shared.is_full()) => self.shared.set_trouble(None),
            None => {}
        }
        self.vacuum |=
            group.iter().any(|command| matches!(command.work, Work::Prune(..) | Work::Change { .. }));
    }

    /// Rolls back and decides what kind of trouble it is.
    fn after_failure(&mut self, error: &rusqlite::Error) {
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
    fn break_off(&mut self, trouble: StoreError, io: bool) {
        self.shared.set_trouble(Some(StoreError { kind: StoreErrorKind::Unavailable, ..trouble.clone() }));
        self.engine = None;
        self.tried_to_open = None;
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
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

    fn reopen(&mut self) -> bool {
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
    fn probe(&mut self) {
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
            engine.conn.execute_batch("COMMIT; DELETE FROM probe WHERE id=1;")
        })();
        match tried {
            Ok(()) => self.shared.set_trouble(None),
            Err(error) => self.after_failure(&error),
        }
    }

    fn is_short(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.short.is_some())
    }

    /// Sees to the room that is set aside: without it accepts are refused, before anything fails.
    fn look_for_room(&mut self) {
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
        if kept.is_err() && wal.in_use() > 0 {
            // An emptied log needs less.
            let _rest = self.checkpointer.rest();
            wal = checkpoint::passive(&engine.conn)?;
            kept = self.cushion.keep(pages, wal.in_use(), wal.taken_over.unsigned_abs());
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
    fn checkpoint(&mut self) {
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
    fn after_tidying(&mut self, outcome: rusqlite::Result<()>) {
        match outcome {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                self.break_off(judge(&error, "checkpoint"), true);
            }
            // A full disk: the WAL keeps everything, and the next commit tells.
            Err(error) => tracing::warn!(%error, "store_checkpoint_failed"),
            Ok(()) => {}
        }
    }

    fn give_back_pages(&mut self) {
        let Some(engine) = self.engine.as_ref() else { return };
        let free = |conn: &rusqlite::Connection| {
            conn.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0))
        };
        let given_back = (|| {
            let mut statement = engine.conn.prepare_cached("PRAGMA incremental_vacuum(256)")?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            free(&engine.conn)
        })();
        self.cushion.forget();
        // Enough is kept to reuse: a file that shrinks and grows all day helps nobody.
        self.vacuum = matches!(given_back, Ok(left) if left > 1024);
        self.after_tidying(given_back.map(drop));
        self.checkpoint();
    }
}

const PROBE_BYTES: i64 = 64 * 1024;

fn refuse(group: Vec<Command>, error: &StoreError) {
    for command in group {
        // Closing a store that is in trouble already is no failure.
        let closing = matches!(command.work, Work::Close);
        let _ = command.reply.send(if closing { Ok(Done::Nothing) } else { Err(error.clone()) });
    }
}

fn is_accept(command: &Command) -> bool {
    matches!(command.work, Work::Accept(_))
}

fn weight(command: &Command) -> (usize, u64) {
    match &command.work {
        Work::Accept(batch) => (batch.len(), command.bytes),
        _ => (1, 0),
    }
}

fn weight_of(group: &[Command]) -> usize {
    group.iter().map(|command| if is_accept(command) { weight(command).0 } else { 0 }).sum()
}

fn new_id(answer: &Accepted) -> Option<i64> {
    match answer {
        Accepted::New { id, .. } => Some(id.raw()),
        Accepted::Duplicate(_) | Accepted::Conflict(_) => None,
    }
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

/// Every command of a group, in the order of arrival. An inner error concerns one command and nothing was written for
/// it; an outer one fails the transaction.
fn perform(
    engine: &mut Engine,
    group: &[Command],
    now: Timestamp,
    faults: Option<&dyn Faults>,
) -> rusqlite::Result<Vec<Result<Done, StoreError>>> {
    if let Some(pages) = faults.and_then(Faults::pages_max) {
        limit_pages(engine, pages)?;
    }
    engine.begin(now)?;
    let done = group
        .iter()
        .map(|command| match &command.work {
            Work::Accept(batch) => accept(engine, batch, command.bytes),
            Work::Lease(demand) => engine.lease(demand).map(|taken| Ok(Done::Taken(taken))),
            Work::TakeBack { corrupt, unread } => {
                engine.take_back(corrupt, unread).map(|()| Ok(Done::Nothing))
            }
            Work::Settle(batch) => {
                let settled = batch.iter().map(|settlement| engine.settle(settlement));
                settled.collect::<rusqlite::Result<_>>().map(|settled| Ok(Done::Settled(settled)))
            }
            Work::Change { ids, selection, change, by } => {
                engine.change(ids, selection, *change, by).map(|outcome| Ok(Done::Changed(outcome)))
            }
            Work::Prune(retention, now) => {
                engine.prune(retention, *now).map(|pruned| Ok(Done::Pruned(pruned)))
            }
            Work::Pause(destination, paused, by) => {
                engine.pause(destination.as_str(), *paused, by).map(|()| Ok(Done::Nothing))
            }
            Work::Audit(entry) => engine.audit(entry).map(|()| Ok(Done::Nothing)),
            Work::ConfirmClock => {
                engine.guard = ClockGuard::default();
                engine.guard_is_noted = false;
                Ok(Ok(Done::Nothing))
            }
            Work::Rebuild => check::rebuild(&engine.conn).map(|()| {
                tracing::error!("store_indexes_rebuilt");
                engine.tally.woke = true;
                Ok(Done::Nothing)
            }),
            Work::Close => Ok(Ok(Done::Nothing)),
        })
        .collect::<rusqlite::Result<_>>()?;
    engine.finish()?;
    Ok(done)
}

fn accept(engine: &mut Engine, batch: &[Packed], bytes: u64) -> rusqlite::Result<Result<Done, StoreError>> {
    let fits = |engine: &mut Engine, bytes: u64| {
        engine.room().map(|room| room >= i64::try_from(bytes).unwrap_or(i64::MAX))
    };
    // A duplicate needs no room: its sender is answered also by a full store.
    if let Some(short) = engine.short.clone()
        && engine.bytes_of_new(batch)? > 0
    {
        return Ok(Err(short));
    }
    if !fits(engine, bytes)? && !fits(engine, engine.bytes_of_new(batch)?)? {
        let message = "`store.max_bytes` is reached: prune, purge or raise it";
        return Ok(Err(StoreError::new(StoreErrorKind::Full, message)));
    }
    engine.spend(bytes);
    let accepted = batch.iter().map(|packed| engine.accept(packed)).collect::<rusqlite::Result<_>>()?;
    Ok(Ok(Done::Accepted(accepted)))
}
