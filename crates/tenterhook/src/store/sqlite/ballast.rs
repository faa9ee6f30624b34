//! Pages inside the database that are given up when the disk is full: for the rows that settlements add, which accepts do
//! not get at. What is set aside past the ends of the files can be lost to another program, these pages cannot. Does not
//! know when the disk is full: it is told.

use rusqlite::Connection;

/// Rows of some thousand attempts.
const BYTES: i64 = 256 * 1024;
/// Its row in `probe`; the other one is written to see whether the disk answers.
const ROW: i64 = 2;

/// The ballast of one database.
#[derive(Debug, Default)]
pub(super) struct Ballast {
    /// Whether the database holds it, where that is known.
    is_there: Option<bool>,
}

impl Ballast {
    /// Sees to it that the database holds it, or that it does not, in a transaction of its own. Says whether anything
    /// had to be done.
    pub(super) fn tend(&mut self, conn: &Connection, wanted: bool) -> rusqlite::Result<bool> {
        if self.is_there == Some(wanted) {
            return Ok(false);
        }
        if wanted {
            conn.execute("INSERT OR IGNORE INTO probe VALUES(?1,zeroblob(?2))", [ROW, BYTES])?;
        } else {
            conn.execute("DELETE FROM probe WHERE id=?1", [ROW])?;
        }
        self.is_there = Some(wanted);
        Ok(true)
    }
}
