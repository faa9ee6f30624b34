//! The tables, and how a file becomes and stays one of ours: identity, versions, pragmas.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::engine::judge as judge_error;
use crate::store::{StoreError, StoreErrorKind};

/// `TNHK`: what `file` and every other tool see in the header.
pub(super) const APPLICATION_ID: i32 = 0x544E_484B;

/// Each step takes `user_version` from its index to the next, in one transaction: killed anywhere, it begins anew.
pub(super) const MIGRATIONS: [&str; 3] = [V1, V2, V3];

const V1: &str = "
CREATE TABLE meta(
  one INTEGER PRIMARY KEY CHECK(one=1),
  last_id INTEGER NOT NULL DEFAULT 0, last_seen INTEGER NOT NULL DEFAULT 0, run_hi INTEGER NOT NULL DEFAULT 0,
  accepted INTEGER NOT NULL DEFAULT 0, ignored INTEGER NOT NULL DEFAULT 0, conflicts INTEGER NOT NULL DEFAULT 0,
  gone_accepted INTEGER NOT NULL DEFAULT 0, gone_ignored INTEGER NOT NULL DEFAULT 0,
  gone_conflicts INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO meta(one) VALUES(1);

CREATE TABLE tally(
  dest INTEGER PRIMARY KEY, owed INTEGER NOT NULL, pending INTEGER NOT NULL, leased INTEGER NOT NULL,
  delivered INTEGER NOT NULL, dead INTEGER NOT NULL, purged INTEGER NOT NULL, retrying INTEGER NOT NULL,
  held INTEGER NOT NULL, gone_delivered INTEGER NOT NULL, gone_purged INTEGER NOT NULL) STRICT;

CREATE TABLE name(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE event(
  id INTEGER PRIMARY KEY, source INTEGER NOT NULL, provider INTEGER NOT NULL,
  key BLOB, repeat BLOB, digest BLOB NOT NULL, forget_at INTEGER NOT NULL, ext_id TEXT, type TEXT NOT NULL,
  received INTEGER NOT NULL, len INTEGER NOT NULL, suspect INTEGER NOT NULL, ignored INTEGER NOT NULL,
  dups INTEGER NOT NULL DEFAULT 0, conflicts INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE payload(
  id INTEGER PRIMARY KEY, sum INTEGER NOT NULL, enc INTEGER NOT NULL, correlation TEXT NOT NULL, ip TEXT,
  url TEXT NOT NULL, headers BLOB NOT NULL, body BLOB NOT NULL) STRICT;

CREATE TABLE delivery(
  event INTEGER NOT NULL, dest INTEGER NOT NULL, state INTEGER NOT NULL, prio INTEGER NOT NULL,
  at INTEGER NOT NULL, attempts INTEGER NOT NULL, base INTEGER NOT NULL, budget INTEGER NOT NULL,
  held INTEGER NOT NULL, hold INTEGER NOT NULL, redriven INTEGER NOT NULL, reason INTEGER,
  ordh INTEGER, line INTEGER, ord TEXT, PRIMARY KEY(event,dest)) STRICT, WITHOUT ROWID;
CREATE INDEX ready ON delivery(dest,held,prio,at,event) WHERE state=0;
CREATE INDEX leased ON delivery(dest,at,event) WHERE state=1;
CREATE INDEX dead ON delivery(event) WHERE state=3;
CREATE INDEX line ON delivery(dest,line,held,event) WHERE line IS NOT NULL;
CREATE INDEX passed ON delivery(dest,ordh,event) WHERE state=2 AND ordh IS NOT NULL;

CREATE TABLE attempt(
  event INTEGER NOT NULL, dest INTEGER NOT NULL, n INTEGER NOT NULL, started INTEGER NOT NULL,
  took INTEGER NOT NULL, status INTEGER, failure INTEGER, verdict INTEGER NOT NULL, excerpt TEXT NOT NULL,
  PRIMARY KEY(event,dest,n)) STRICT, WITHOUT ROWID;
CREATE TABLE result(event INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;

CREATE TABLE conflict(
  id INTEGER PRIMARY KEY, event INTEGER NOT NULL, n INTEGER NOT NULL, received INTEGER NOT NULL,
  len INTEGER NOT NULL, digest BLOB NOT NULL, delivered_as INTEGER, sum INTEGER NOT NULL, enc INTEGER NOT NULL,
  headers BLOB NOT NULL, body BLOB NOT NULL, UNIQUE(event,n)) STRICT;

CREATE TABLE tombstone(
  id INTEGER PRIMARY KEY, key BLOB, repeat BLOB, digest BLOB NOT NULL,
  forget_at INTEGER NOT NULL) STRICT;
CREATE INDEX tombstone_end ON tombstone(forget_at);
CREATE TABLE dedupe_run(
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, forget_at INTEGER NOT NULL, pairs BLOB NOT NULL) STRICT;

CREATE TABLE paused(dest INTEGER PRIMARY KEY) STRICT;
CREATE TABLE audit(
  id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  subject TEXT NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE TABLE probe(id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;
";

/// Where the time of the process begins that wrote last, for the due times that it left.
const V2: &str = "
ALTER TABLE meta ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE meta ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;
";

/// The doubt about the clock that outlives a process: how far it had leapt, and until when it is not believed.
const V3: &str = "
ALTER TABLE meta ADD COLUMN doubt_skew INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN doubt_until INTEGER NOT NULL DEFAULT 0;
";

/// Opens the one read-write connection: refuses what is not ours before anything is written, creates or migrates.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    refuse_foreign_header(path)?;
    prepare_file(path)?;
    reopen_writer(path)
}

/// Opens it again in the same process. The file is looked at through SQLite only: its readers hold locks, and whoever
/// closes any handle of the file takes them away. One that is gone is not made anew.
pub(super) fn reopen_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let engine = |error: rusqlite::Error| judge_error(&error, &format!("open `{}`", path.display()));
    let conn = Connection::open_with_flags(path, flags).map_err(engine)?;
    conn.set_prepared_statement_cache_capacity(128);
    keep_plans(&conn).map_err(engine)?;
    conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(engine)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(engine)?;
    let (application, version) = identity(&conn).map_err(engine)?;
    judge(path, application, version, tables > 0)?;
    if tables == 0 {
        // These two count only before the first table. The journal is not WAL yet, so that the file's header tells
        // whose it is from its very first commit.
        conn.execute_batch("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;").map_err(engine)?;
    }
    conn.execute_batch("PRAGMA synchronous=FULL;").map_err(engine)?;
    migrate(&conn, version, &MIGRATIONS).map_err(engine)?;
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA fullfsync=1; PRAGMA checkpoint_fullfsync=1;
         PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=134217728; PRAGMA cache_size=-65536;
         PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF;",
    )
    .map_err(engine)?;
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(engine)?;
    if mode != "wal" {
        return Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!("`{}` cannot be put into WAL mode: is it on a local disk?", path.display()),
        ));
    }
    sync_directory(path)?;
    Ok(conn)
}

/// Makes the names of the files durable: SQLite tries that itself with the first commit, and goes on where it fails.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        // Not every file system can do that for a directory.
        Err(error) if error.kind() != std::io::ErrorKind::InvalidInput => {
            Err(failed(directory, "sync", &error))
        }
        _ => Ok(()),
    }
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_prepared_statement_cache_capacity(64);
    keep_plans(&conn)?;
    conn.busy_timeout(std::time::Duration::from_secs(2))?;
    // Only the writer and its checkpointer checkpoint, one at a time.
    conn.execute_batch(
        "PRAGMA query_only=1; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-8192; PRAGMA mmap_size=0;
         PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;",
    )?;
    Ok(conn)
}

/// Opens the connection of the checkpointer, which changes no row.
pub(super) fn open_checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA fullfsync=1; PRAGMA checkpoint_fullfsync=1; PRAGMA wal_autocheckpoint=0;
         PRAGMA cache_size=-512; PRAGMA mmap_size=0; PRAGMA trusted_schema=OFF;",
    )?;
    Ok(conn)
}

/// One plan per statement, whatever is bound to it. Without this SQLite compiles a statement anew for each new value of
/// a parameter that could change its plan, which cost more than everything else on the way to a handler together.
fn keep_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Brings `version` up to date, one transaction a step.
pub(super) fn migrate(conn: &Connection, version: i64, steps: &[&str]) -> rusqlite::Result<()> {
    for (index, step) in steps.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        let next = index + 1;
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step}; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={next}; COMMIT;"
        ))
        .inspect_err(|_| {
            let _ = conn.execute_batch("ROLLBACK");
        })?;
    }
    Ok(())
}

fn identity(conn: &Connection) -> rusqlite::Result<(i32, i64)> {
    let application = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((application, version))
}

fn judge(path: &Path, application: i32, version: i64, has_tables: bool) -> Result<(), StoreError> {
    let refuse = |message: String| Err(StoreError::new(StoreErrorKind::Incompatible, message));
    if application != APPLICATION_ID && (has_tables || application != 0) {
        return refuse(format!("`{}` is a database of another application: left untouched", path.display()));
    }
    let newest = MIGRATIONS.len() as i64;
    if !(0..=newest).contains(&version) {
        return refuse(format!(
            "`{}` was made by a newer version (schema {version}, this one knows {newest}): left untouched; run the newer version",
            path.display()
        ));
    }
    Ok(())
}

/// Looks at the first 100 bytes without SQLite, which could recover or create files beside it.
fn refuse_foreign_header(path: &Path) -> Result<(), StoreError> {
    let mut header = [0u8; 100];
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, "open", &error)),
    };
    let length = file.metadata().map_err(|error| failed(path, "open", &error))?.len();
    if length == 0 {
        // A new file gets a WAL only once there is something in it; SQLite would throw this one away.
        let wal = std::fs::metadata(beside(path, "-wal")).map_or(0, |metadata| metadata.len());
        if wal == 0 {
            return Ok(());
        }
        let message = format!(
            "`{}` is empty, but its `-wal` is not: something has cut it: left untouched",
            path.display()
        );
        return Err(StoreError::new(StoreErrorKind::Corrupt, message));
    }
    let read = file.read_exact(&mut header);
    if let Err(error) = &read
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        return Err(failed(path, "read", error));
    }
    if read.is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(StoreError::new(
            StoreErrorKind::Incompatible,
            format!("`{}` is not a SQLite database: left untouched", path.display()),
        ));
    }
    if beside(path, "-journal").exists() {
        // Killed while the file was being created: SQLite rolls that back, and identity is judged after it.
        return Ok(());
    }
    let [version, application] = [60, 68]
        .map(|at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    // Without an identity it is another's, or a file of ours whose very first commit failed: that one has no table.
    let has_tables = application == APPLICATION_ID || has_tables(path)?;
    // A version in the header may be older than what the WAL says; it is judged again after opening.
    judge(path, application, i64::from(version), has_tables)
}

/// Whether there is anything in a database; what makes no sense is taken for somebody's. Read-only, so that not even a
/// checkpoint touches it.
fn has_tables(path: &Path) -> Result<bool, StoreError> {
    let tables = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|conn| {
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    });
    match tables {
        Ok(tables) => Ok(tables > 0),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) => {
            Err(judge_error(&error, &format!("read `{}`", path.display())))
        }
        Err(_) => Ok(true),
    }
}

/// Creates the file for us alone; SQLite gives its WAL and shared memory the same mode.
fn prepare_file(path: &Path) -> Result<(), StoreError> {
    let create = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = create.map_err(|error| failed(path, "create", &error))?;
    let mode = file.metadata().map_err(|error| failed(path, "create", &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(|error| failed(path, "protect", &error))?;
    }
    Ok(())
}

/// `<db>` with something at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn failed(path: &Path, what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, format!("cannot {what} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(conn: &Connection) -> i64 {
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version")
    }

    #[test]
    fn a_migration_that_was_cut_off_leaves_its_step_undone_and_is_resumed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("old.db");
        let cut =
            ["CREATE TABLE a(x); INSERT INTO a VALUES(1)", "ALTER TABLE a ADD y; CREATE TABLE b(x); BROKEN"];
        let whole = [cut[0], "ALTER TABLE a ADD y; CREATE TABLE b(x); UPDATE a SET y=2"];
        let conn = Connection::open(&path).expect("opens");
        migrate(&conn, 0, &cut).expect_err("the second step fails");
        drop(conn);
        let conn = Connection::open(&path).expect("opens again");
        assert_eq!(version(&conn), 1);
        migrate(&conn, version(&conn), &whole).expect("resumes");
        assert_eq!(version(&conn), 2);
        let row = conn.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok((1, 2)));
        migrate(&conn, version(&conn), &whole).expect("nothing left to do");
    }
}
