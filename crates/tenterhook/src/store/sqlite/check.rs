//! Where the file may be damaged: indexes that disagree with their table, counters that disagree with the rows, pages
//! that make no sense, a log with a hole. Finds it, says it, and makes anew what is derived; never touches a row.
//!
//! | found | when | what is done |
//! |---|---|---|
//! | an index that lost or invented rows | beside the work, once after each open | the indexes are made anew |
//! | a page that makes no sense | when it is needed | the indexes are made anew; where that does not help, the process ends |
//! | after such an end | at open | everything is checked; what is still damaged is refused |
//! | a hole in the log | at open | said, and the log is kept aside |

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode, InterruptHandle};

use super::queue::{Queue, Work};
use super::schema::{self, beside};
use super::syncer::UNDER_WAY_MAX;
use crate::store::{StoreError, StoreErrorKind};

/// Findings that are told.
const TOLD: usize = 5;

/// Makes every index anew from its table. One whose first page makes no sense cannot even be emptied: it is struck from
/// the schema and made again, and what is left of it goes with a `VACUUM`.
pub(super) fn rebuild(conn: &Connection) -> rusqlite::Result<()> {
    if conn.execute_batch("REINDEX").is_ok() {
        return Ok(());
    }
    let there = indexes(conn)?;
    let emptied = |name: &str| conn.execute_batch(&format!("REINDEX \"{name}\"")).is_ok();
    let lost: Vec<_> = there.iter().filter(|(name, _)| !emptied(name)).collect();
    conn.execute_batch("PRAGMA writable_schema=ON")?;
    for (name, _) in &lost {
        conn.execute("DELETE FROM sqlite_schema WHERE type='index' AND name=?1", [name])?;
    }
    conn.execute_batch("PRAGMA writable_schema=RESET")?;
    // Also those that a kill at this very place took away.
    let kept = indexes(conn)?;
    let fresh = Connection::open_in_memory()?;
    schema::migrate(&fresh, 0, &schema::MIGRATIONS)?;
    for index in indexes(&fresh)?.iter().filter(|index| kept.iter().all(|(name, _)| *name != index.0)) {
        conn.execute_batch(&index.1)?;
    }
    conn.execute_batch("VACUUM")
}

/// Every index that a statement of ours made, with that statement.
fn indexes(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type='index' AND sql IS NOT NULL";
    conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Remembers that the store was given up, so that the next start looks before it believes.
pub(super) fn mark(database: &Path, why: &str) {
    if let Err(error) = std::fs::write(marker(database), format!("{why}\n")) {
        tracing::warn!(%error, "store_mark_failed");
    }
}

fn marker(database: &Path) -> PathBuf {
    beside(database, ".damaged")
}

/// Checks everything where the last process gave the store up; a restart alone mends nothing.
pub(super) fn vet(database: &Path) -> Result<(), StoreError> {
    if !marker(database).exists() {
        return Ok(());
    }
    let conn = schema::open_writer(database)?;
    let whole = "PRAGMA integrity_check(100)";
    let mut found = findings(&conn, whole).unwrap_or_else(|error| vec![error.to_string()]);
    if !found.is_empty() {
        found = rebuild(&conn)
            .and_then(|()| findings(&conn, whole))
            .unwrap_or_else(|error| vec![error.to_string()]);
    }
    if found.is_empty() {
        tracing::warn!("store_repaired");
        let _ = std::fs::remove_file(marker(database));
        return Ok(());
    }
    let message = format!("`{}` is damaged: {}", database.display(), told(&found));
    Err(StoreError::new(StoreErrorKind::Corrupt, message))
}

/// Whether all tables, columns and indexes are there by name.
pub(super) fn schema(conn: &Connection) -> rusqlite::Result<()> {
    let fresh = Connection::open_in_memory()?;
    schema::migrate(&fresh, 0, &schema::MIGRATIONS)?;
    if listing(&fresh)? == listing(conn)? {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some("tables or columns are not as they were made".to_owned())))
}

fn listing(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT format('%s %s %s %s', m.type, m.name, m.tbl_name, p.name) FROM sqlite_schema m
               LEFT JOIN pragma_table_xinfo(m.name) p ORDER BY 1";
    conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn findings(conn: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut found: Vec<String> =
        conn.prepare(check)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    found.retain(|line| line != "ok");
    Ok(found)
}

fn told(found: &[String]) -> String {
    let mut told = found.iter().take(TOLD).map(|line| line.replace('\n', " ")).collect::<Vec<_>>().join("; ");
    if found.len() > TOLD {
        told.push_str(" and more");
    }
    told
}

/// A look at the deliveries, beside the work.
pub(super) struct Look {
    stop: Arc<AtomicBool>,
    interrupt: InterruptHandle,
    thread: JoinHandle<()>,
}

struct LookAt {
    conn: Connection,
    queue: Arc<Queue>,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Look {
    /// Begins. `None` where there is no connection or thread to be had: then nothing is looked at.
    pub(super) fn begin(database: &Path, queue: Arc<Queue>) -> Option<Self> {
        let conn = schema::open_reader(database).ok()?;
        let (stop, interrupt) = (Arc::<AtomicBool>::default(), conn.get_interrupt_handle());
        let look = LookAt { conn, queue, stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new().name("store-check".to_owned());
        let thread = thread.spawn(move || look.run()).ok()?;
        Some(Self { stop, interrupt, thread })
    }

    /// Breaks off, wherever it is.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.interrupt.interrupt();
        let _ = self.thread.join();
    }
}

impl LookAt {
    fn run(self) {
        match miscounted(&self.conn) {
            Ok(Some(said)) => tracing::error!(said, "store_ledger_mismatch"),
            Err(error) if self.is_over(&error) => return,
            _ => {}
        }
        if self.stop.load(Ordering::SeqCst) {
            return;
        }
        let found = match findings(&self.conn, "PRAGMA integrity_check(delivery)") {
            Ok(found) => found,
            Err(error) if self.is_over(&error) => return,
            Err(error) => vec![error.to_string()],
        };
        if !found.is_empty() {
            tracing::error!(findings = found.len(), said = told(&found), "store_damaged");
            self.queue.tell(Work::Rebuild);
        }
    }

    fn is_over(&self, error: &rusqlite::Error) -> bool {
        let code = error.sqlite_error_code();
        self.stop.load(Ordering::SeqCst)
            || matches!(code, Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy))
    }
}

/// Whether there are as many rows as the counters say. One statement, so one moment.
fn miscounted(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT (SELECT count(*) FROM delivery),
               (SELECT coalesce(sum(owed-gone_delivered-gone_purged),0) FROM tally),
               (SELECT count(*) FROM event), (SELECT accepted-gone_accepted FROM meta)";
    let counts = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
    let [deliveries, owed, events, accepted]: [i64; 4] = conn.query_row(sql, [], counts)?;
    let said = format!("{deliveries} of {owed} deliveries and {events} of {accepted} events are there");
    Ok((deliveries != owed || events != accepted).then_some(said))
}

/// The commits in a log, by its frames' headers alone.
#[derive(Debug, Default)]
pub(super) struct Wal {
    path: PathBuf,
    /// The number of the last frame of each commit, from 1.
    commits: Vec<i64>,
}

impl Wal {
    /// Reads the headers; of a log that is not there, or makes no sense, none.
    pub(super) fn scan(database: &Path) -> Self {
        let mut wal = Self { path: beside(database, "-wal"), commits: Vec::new() };
        let Ok(file) = File::open(&wal.path) else { return wal };
        let mut salts = None;
        for frame in 0.. {
            let mut header = [0u8; 24];
            if file.read_exact_at(&mut header, 32 + frame * (24 + 4096)).is_err() {
                break;
            }
            let [.., s0, s1, s2, s3, s4, s5, s6, s7, _, _, _, _, _, _, _, _] = header;
            // Frames of an earlier use of the file have other salts.
            let own = [s0, s1, s2, s3, s4, s5, s6, s7];
            let same = *salts.get_or_insert(own) == own;
            if same && header[4..8] != [0; 4] {
                wal.commits.push(i64::try_from(frame).unwrap_or(i64::MAX) + 1);
            }
        }
        wal
    }

    /// Says so, and keeps the log aside, where SQLite believes less of it than was durable. Only so many commits are ever on
    /// their way to the disk: more that are not believed mean that the first of them was damaged afterwards, and that
    /// everything behind it is lost.
    pub(super) fn compare(&self, conn: &Connection) -> rusqlite::Result<()> {
        let believed: i64 = conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
        let lost = self.commits.iter().filter(|last| **last > believed).count();
        if lost <= UNDER_WAY_MAX {
            return Ok(());
        }
        let aside = beside(&self.path, ".damaged");
        let kept = std::fs::copy(&self.path, &aside).map(drop);
        tracing::error!(commits = lost, aside = %aside.display(), ?kept, "store_wal_damaged");
        Ok(())
    }

    /// Whether the file holds what a connection believes to be in it. After a failed sync that is not certain: the system
    /// may have let go of what it could not write, and SQLite itself looks at checksums only when nobody has the log open.
    pub(super) fn confirm(&self, conn: &Connection) -> rusqlite::Result<()> {
        let believed: i64 = conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
        if believed <= 0 || self.intact(believed).unwrap_or(false) {
            return Ok(());
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let said = "the log does not hold what was written to it".to_owned();
        Err(rusqlite::Error::SqliteFailure(code, Some(said)))
    }

    /// Whether the checksums of that many frames fit (<https://www.sqlite.org/fileformat2.html#checksum_algorithm>).
    fn intact(&self, frames: i64) -> std::io::Result<bool> {
        let file = File::open(&self.path)?;
        let mut header = [0u8; 32];
        file.read_exact_at(&mut header, 0)?;
        let is_big_endian = header[3] & 1 == 1;
        let word = |bytes: &[u8]| {
            let bytes = bytes.try_into().unwrap_or_default();
            if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let add = |(mut s0, mut s1): (u32, u32), bytes: &[u8]| {
            for pair in bytes.chunks_exact(8) {
                s0 = s0.wrapping_add(word(&pair[..4])).wrapping_add(s1);
                s1 = s1.wrapping_add(word(&pair[4..])).wrapping_add(s0);
            }
            (s0, s1)
        };
        let stored = |bytes: &[u8]| {
            let half = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap_or_default());
            (half(&bytes[..4]), half(&bytes[4..8]))
        };
        let mut sum = add((0, 0), &header[..24]);
        let mut frame = vec![0u8; 24 + 4096];
        for number in 0..frames.unsigned_abs() {
            file.read_exact_at(&mut frame, 32 + number * (24 + 4096))?;
            sum = add(add(sum, &frame[..8]), &frame[24..]);
            if sum != stored(&frame[16..24]) || frame[8..16] != header[16..24] {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_does_not_hold_what_was_written_to_it_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;
             CREATE TABLE t(x); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2);",
        )
        .unwrap();
        Wal::scan(&path).confirm(&conn).unwrap();
        let log = beside(&path, "-wal");
        let mut bytes = std::fs::read(&log).unwrap();
        // The page of the last frame as it was before: what a system shows that let go of what it could not write.
        let last = bytes.len() - 100;
        bytes[last] ^= 1;
        std::fs::write(&log, bytes).unwrap();
        assert!(is_not_believed(&Wal::scan(&path), &conn));
        File::options().write(true).open(&log).unwrap().set_len(32 + 4120).unwrap();
        assert!(is_not_believed(&Wal::scan(&path), &conn), "a log that ends too early");
    }

    fn is_not_believed(wal: &Wal, conn: &Connection) -> bool {
        wal.confirm(conn).is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt))
    }
}
