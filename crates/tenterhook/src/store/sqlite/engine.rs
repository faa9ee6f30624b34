//! The read-write connection with all that must move in step with it: names, counters, the dedupe index, the last id.
//! Knows transactions; what is done inside one stands in `accept`, `lease`, `settle`, `change` and `prune`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, params};

use super::check::{self, Wal};
use super::codec::{DEAD, LEASED, PENDING, reason_code};
use super::dedupe::DedupeIndex;
use super::handout::{Handout, Taken};
use super::names::Names;
use super::row::{self, Row, columns};
use super::tally::Tally;
use super::{SqliteSettings, schema, syncer};
use crate::model::{Clock, DeadReason, DestinationName, Origin, Timestamp};
use crate::store::{AuditEntry, StoreError, StoreErrorKind};

/// A step of the wall clock beyond this, between two runs, is not believed at once.
const STEP_MS: i64 = 3_600_000;

/// How exactly two processes can compare their clocks.
const ORIGIN_MS: i64 = 20;

/// How often the time is noted while nothing happens.
const SEEN_EVERY_MS: i64 = 60_000;

/// What outlives an engine that had to be opened anew.
#[derive(Clone, Debug)]
pub(super) struct Commons {
    pub(super) names: Arc<Names>,
    pub(super) handout: Arc<Handout>,
}

/// The engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) conn: Connection,
    /// What has to be synced before anybody is told of a commit.
    pub(super) log: Arc<File>,
    pub(super) names: Arc<Names>,
    pub(super) handout: Arc<Handout>,
    /// Leases that the present transaction takes of new deliveries, in the order of their events.
    pub(super) taken: Vec<Taken>,
    pub(super) tally: Tally,
    pub(super) dedupe: DedupeIndex,
    pub(super) paused: HashSet<i64>,
    pub(super) last_id: i64,
    /// `last_id` as it was when the present transaction began.
    durable_id: i64,
    pub(super) guard: ClockGuard,
    /// Whether the file says the same of the clock.
    pub(super) guard_is_noted: bool,
    /// The time of the present transaction.
    pub(super) now: i64,
    /// Where the next prune looks on.
    pub(super) prune_from: i64,
    /// Events that it leaves alone because of what is in their deliveries.
    pub(super) damaged: HashSet<i64>,
    pub(super) bytes_max: Option<u64>,
    /// Pages of the database after the last transaction, those that are only in the log included.
    pub(super) pages: i64,
    /// Why there is no room for more events, where the disk has none.
    pub(super) short: Option<StoreError>,
    /// Bytes that the present transaction may still add, once somebody asked.
    room: Option<i64>,
    /// Rows that this connection had changed when the present transaction began.
    changes_before: u64,
    /// Whether the present transaction writes anything: only then does its commit say that the disk works.
    pub(super) wrote: bool,
    /// When `meta.last_seen` was written last.
    seen: i64,
    /// Where this process's time begins, until that is written.
    origin: Option<Origin>,
}

/// What the process that wrote last left behind.
#[derive(Debug)]
struct Former {
    last_id: i64,
    last_seen: i64,
    boot: String,
    origin: i64,
    doubt: ClockGuard,
}

impl Former {
    fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT max(last_id, coalesce((SELECT max(id) FROM event),0)), last_seen, boot, origin,
                   doubt_skew, doubt_until FROM meta";
        conn.query_row(sql, [], |row| {
            let doubt = ClockGuard { skew_ms: row.get(4)?, doubted_until: row.get(5)? };
            let (last_id, last_seen) = (row.get(0)?, row.get(1)?);
            Ok(Self { last_id, last_seen, boot: row.get(2)?, origin: row.get(3)?, doubt })
        })
    }

    /// How much later our clock calls the moment that its clock called a time: what its due times are off by. Within
    /// one boot that is known. After another one, only a clock that went back shows.
    fn shift(&self, origin: Option<&Origin>, now: i64) -> i64 {
        let gap = now.saturating_sub(self.last_seen);
        let known = origin.filter(|origin| origin.boot == self.boot).map(|origin| {
            (origin.at.millis().saturating_sub(self.origin), now.saturating_sub(origin.at.millis()))
        });
        let shift = match known {
            // The rest of the gap is the time for which nothing was written, within this boot.
            Some((shift, uptime))
                if (-STEP_MS..=uptime.saturating_add(STEP_MS)).contains(&gap.saturating_sub(shift)) =>
            {
                shift
            }
            _ if self.last_seen > 0 => gap.min(0),
            _ => 0,
        };
        if shift.abs() <= ORIGIN_MS { 0 } else { shift.saturating_add(ORIGIN_MS) }
    }
}

/// Whether the clock is believed for what cannot be undone: forgetting keys and removing events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClockGuard {
    skew_ms: i64,
    doubted_until: i64,
}

impl ClockGuard {
    /// What a new process makes of the clock. A doubt that the former one had goes on: a start that follows another one
    /// says nothing of whether the clock is right.
    fn after(former: &Former, now: i64) -> Self {
        let gap = now.saturating_sub(former.last_seen);
        if former.last_seen == 0 || gap.abs() <= STEP_MS {
            return if former.doubt.is_doubted(now) { former.doubt } else { Self::default() };
        }
        let skew_ms = now.saturating_sub(former.doubt.expiry(former.last_seen)).max(0);
        tracing::warn!(
            gap_s = gap / 1000,
            "store_clock_gap: retention and key expiry wait an hour, or until the clock is confirmed"
        );
        Self { skew_ms, doubted_until: now.saturating_add(STEP_MS) }
    }

    /// The time by which keys are forgotten.
    pub(super) fn expiry(&self, now: i64) -> i64 {
        if self.is_doubted(now) { now.saturating_sub(self.skew_ms) } else { now }
    }

    /// Whether removing is paused.
    pub(super) fn is_doubted(&self, now: i64) -> bool {
        now < self.doubted_until
    }
}

impl Engine {
    /// Opens the database and builds what is kept in RAM. `fresh`: for the first time in this process, so that leases
    /// of the former one end and due times from a clock that was ahead are clamped.
    pub(super) fn open(
        settings: &SqliteSettings,
        commons: Commons,
        clock: &dyn Clock,
        former: Option<ClockGuard>,
    ) -> Result<Self, StoreError> {
        let Commons { names, handout } = commons;
        let wal = Wal::scan(&settings.path);
        let conn = match former {
            None => schema::open_writer(&settings.path)?,
            Some(_) => schema::reopen_writer(&settings.path)?,
        };
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            // Tables that are not there any more, rows that are missing or hold what no version ever wrote.
            None | Some(ErrorCode::Unknown) => {
                StoreError::new(StoreErrorKind::Corrupt, format!("cannot open the store: {error}"))
            }
            Some(_) => judge(&error, "open the store"),
        };
        match former {
            Some(_) => {
                wal.confirm(&conn).map_err(failed)?;
                verify(&conn).map_err(failed)?;
            }
            None => {
                wal.compare(&conn).map_err(failed)?;
                check::schema(&conn).map_err(failed)?;
                check_tables(&conn, &SMALL).map_err(failed)?;
            }
        }
        names.load(&conn).map_err(failed)?;
        let (now, origin) = (clock.now().millis(), clock.origin());
        let left = Former::read(&conn).map_err(failed)?;
        let last_id = left.last_id;
        let guard = former.unwrap_or_else(|| ClockGuard::after(&left, now));
        let dedupe = DedupeIndex::load(&conn, guard.expiry(now)).map_err(failed)?;
        let mut engine = Self {
            conn,
            log: syncer::open_log(&settings.path)?,
            names,
            handout,
            taken: Vec::new(),
            tally: Tally::default(),
            dedupe,
            paused: HashSet::new(),
            last_id,
            durable_id: last_id,
            guard,
            guard_is_noted: guard == left.doubt,
            now,
            prune_from: 0,
            damaged: HashSet::new(),
            bytes_max: settings.bytes_max,
            pages: 0,
            short: None,
            room: None,
            origin,
            changes_before: 0,
            wrote: false,
            seen: 0,
        };
        engine.load_paused().map_err(failed)?;
        engine.count_pages().map_err(failed)?;
        if former.is_none() {
            engine.take_over(settings, &left).map_err(failed)?;
        }
        // From now on it is the syncer that makes a commit durable.
        engine.conn.execute_batch("PRAGMA synchronous=NORMAL").map_err(failed)?;
        Ok(engine)
    }

    /// Begins a transaction at a time.
    pub(super) fn begin(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        self.now = now.millis();
        self.room = None;
        self.durable_id = self.last_id;
        self.tally = Tally::default();
        self.changes_before = self.conn.total_changes();
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    /// Writes the counters: the last statement before a commit. Where nothing was changed nothing is written, so that a
    /// look for work that finds none costs no fsync; only the time is noted now and then.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        self.dedupe.save_runs(&self.conn)?;
        if let Some(origin) = &self.origin {
            self.conn
                .prepare_cached("UPDATE meta SET boot=?1, origin=?2")?
                .execute(params![origin.boot, origin.at.millis()])?;
        }
        if !self.guard_is_noted {
            self.conn
                .prepare_cached("UPDATE meta SET doubt_skew=?1, doubt_until=?2")?
                .execute([self.guard.skew_ms, self.guard.doubted_until])?;
        }
        let is_unchanged = self.conn.total_changes() == self.changes_before;
        self.wrote = !is_unchanged || !(0..SEEN_EVERY_MS).contains(&(self.now - self.seen));
        if !self.wrote {
            return Ok(());
        }
        self.seen = self.now;
        self.tally.write(&self.conn, self.last_id, self.now)?;
        self.count_pages()
    }

    /// Commits it; it is durable once the log is synced. Says whether a delivery became attemptable.
    pub(super) fn commit(&mut self) -> rusqlite::Result<bool> {
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.dedupe.commit();
        self.origin = None;
        self.guard_is_noted = true;
        Ok(self.tally.woke)
    }

    /// Forgets the transaction, also in RAM. An error means that the connection cannot be trusted.
    pub(super) fn roll_back(&mut self) -> rusqlite::Result<()> {
        self.dedupe.roll_back();
        for taken in self.taken.drain(..) {
            taken.lane.lend(1);
        }
        self.last_id = self.durable_id;
        self.tally = Tally::default();
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        self.names.load(&self.conn)?;
        self.load_paused()
    }

    /// Bytes that may still be added before `bytes_max`; negative when it is passed.
    pub(super) fn room(&mut self) -> rusqlite::Result<i64> {
        if let Some(room) = self.room {
            return Ok(room);
        }
        let room = match self.bytes_max {
            None => i64::MAX,
            Some(max) => {
                let (pages, free): (i64, i64) = self
                    .conn
                    .prepare_cached(
                        "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count",
                    )?
                    .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                i64::try_from(max).unwrap_or(i64::MAX).saturating_sub((pages - free).saturating_mul(4096))
            }
        };
        self.room = Some(room);
        Ok(room)
    }

    /// Asked within a transaction where there is one: then it takes no lock.
    pub(super) fn count_pages(&mut self) -> rusqlite::Result<()> {
        self.pages = self.conn.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?;
        Ok(())
    }

    /// Takes bytes off the room.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.room = self.room.map(|room| room.saturating_sub_unsigned(bytes));
    }

    /// Writes a line of the audit trail.
    pub(super) fn audit(&self, entry: &AuditEntry) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("INSERT INTO audit(at,actor,action,subject,count) VALUES(?1,?2,?3,?4,?5)")?
            .execute(params![
                entry.at.millis(),
                entry.actor,
                entry.action,
                entry.subject,
                i64::try_from(entry.count).unwrap_or(i64::MAX)
            ])
            .map(drop)
    }

    /// Pauses or resumes a destination.
    pub(super) fn pause(&mut self, destination: &str, paused: bool, by: &AuditEntry) -> rusqlite::Result<()> {
        let dest = self.names.intern(&self.conn, destination)?;
        if paused {
            self.conn.prepare_cached("INSERT OR IGNORE INTO paused(dest) VALUES(?1)")?.execute([dest])?;
            self.paused.insert(dest);
        } else {
            self.conn.prepare_cached("DELETE FROM paused WHERE dest=?1")?.execute([dest])?;
            self.paused.remove(&dest);
            self.tally.woke = true;
        }
        self.audit(by)
    }

    /// Ends a lease that nobody will settle, at a time: pending again, or dead when its budget is spent. True: dead.
    pub(super) fn end_lease(&mut self, old: &Row, attempts_max: i64, at: i64) -> rusqlite::Result<bool> {
        let is_dead = old.used() >= attempts_max;
        let new = if is_dead {
            Row { state: DEAD, at, reason: Some(reason_code(DeadReason::LeaseExpired)), ..*old }
        } else {
            Row { state: PENDING, at, ..*old }
        };
        row::change(&self.conn, &mut self.tally, old, new)?;
        Ok(is_dead)
    }

    fn load_paused(&mut self) -> rusqlite::Result<()> {
        self.paused = self
            .conn
            .prepare_cached("SELECT dest FROM paused")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(())
    }

    /// What a new process does first: nobody will settle the former one's leases, and due times are by its clock.
    fn take_over(&mut self, settings: &SqliteSettings, former: &Former) -> rusqlite::Result<()> {
        let now = self.now;
        let latest = Timestamp::from_millis(now).plus(settings.backoff_max).millis();
        let leased: Vec<Row> = self
            .conn
            .prepare(concat!(
                "SELECT ",
                columns!(),
                " FROM delivery INDEXED BY leased WHERE state=1 ORDER BY dest, at"
            ))?
            .query_map([], Row::read)?
            .collect::<rusqlite::Result<_>>()?;
        let is_later = |than: i64| {
            self.conn
                .prepare("SELECT 1 FROM delivery INDEXED BY ready WHERE state=0 AND at>?1 LIMIT 1")?
                .exists([than])
        };
        let shift = former.shift(self.origin.as_ref(), now);
        // What was due by its clock is due by ours, too.
        let waiting = if shift > 0 { former.last_seen } else { now };
        let is_shifted = shift != 0 && is_later(waiting)?;
        // Nothing to do is nothing to write: a store opens also on a full disk.
        if leased.is_empty() && !is_shifted && !is_later(latest)? {
            return Ok(());
        }
        self.begin(Timestamp::from_millis(now))?;
        let mut shifted = 0;
        if is_shifted {
            shifted = self.conn.execute(
                "UPDATE delivery INDEXED BY ready SET at=at+?1 WHERE state=0 AND at>?2",
                [shift, waiting],
            )?;
        }
        let (mut dead, mut not_begun) = (0_usize, 0_usize);
        let begun_until = self.begun_until(settings, &leased);
        for old in leased.iter().filter(|row| row.state == LEASED) {
            let at = old.at.min(now);
            if begun_until.get(&old.dest).is_some_and(|until| old.at > *until) {
                let new = Row { state: PENDING, at, base: old.base + 1, ..*old };
                row::change(&self.conn, &mut self.tally, old, new)?;
                not_begun += 1;
            } else {
                dead += usize::from(self.end_lease(old, old.budget, at)?);
            }
        }
        let clamped = self
            .conn
            .execute("UPDATE delivery INDEXED BY ready SET at=?1 WHERE state=0 AND at>?1", [latest])?;
        self.finish()?;
        self.commit()?;
        tracing::info!(leases = leased.len(), not_begun, dead, shifted, clamped, "store_leases_ended");
        Ok(())
    }

    /// Of each destination with more leases than can have been begun: the end of the last one that can. They are begun in
    /// the order in which they are taken, and last equally long; of those taken at the same time, all can.
    fn begun_until(&self, settings: &SqliteSettings, leased: &[Row]) -> HashMap<i64, i64> {
        let last = |(name, begun_max): (&DestinationName, &u32)| {
            let dest = self.names.id(name.as_str())?;
            let of_dest = leased.iter().filter(|row| row.dest == dest && row.state == LEASED);
            let last = usize::try_from(*begun_max).ok()?.checked_sub(1)?;
            of_dest.map(|row| row.at).nth(last).map(|at| (dest, at))
        };
        settings.begun_max.iter().filter_map(last).collect()
    }
}

/// What is cheap to check after an I/O error; then everything in the WAL goes to the database file, through an fsync
/// that counts.
fn verify(conn: &Connection) -> rusqlite::Result<()> {
    check_tables(conn, &SMALL)?;
    check_tables(conn, &["tombstone"])?;
    let is_cut_short: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_cut_short {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("a long read holds on to the log".to_owned())));
    }
    Ok(())
}

/// Tables of a few rows that everything needs.
const SMALL: [&str; 4] = ["meta", "tally", "name", "paused"];

fn check_tables(conn: &Connection, tables: &[&str]) -> rusqlite::Result<()> {
    for table in tables {
        let finding: String =
            conn.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))?;
        if finding != "ok" {
            let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(corrupt, Some(finding)));
        }
    }
    Ok(())
}

/// Whether the file says what cannot be, or ends before what must be in it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
        || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

/// What an engine error means to callers.
pub(super) fn judge(error: &rusqlite::Error, what: &str) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
        Some(ErrorCode::NotADatabase) => StoreErrorKind::Corrupt,
        _ if is_damage(error) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, format!("cannot {what}: {error}"))
}
