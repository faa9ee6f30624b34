//! Room on the disk that is set aside before it is needed: blocks past the ends of the database and of its log. When the
//! disk is full, they are what deliveries, dead letters and the audit trail go on with; and when they cannot be had,
//! accepts are refused before any write fails. Knows nothing of SQLite but how long its pages and frames are, and that each
//! checkpoint ends by cutting the database file: [`Cushion::chunk`] says how much is left on.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::schema::beside;
use crate::store::{StoreError, StoreErrorKind};

/// What is set aside for each of the two files, in bytes: a thirty-second part of the disk, within these bounds.
const BYTES_MIN: u64 = 64 * 1024;
const BYTES_MAX: u64 = 4 * 1024 * 1024;
const PAGE: u64 = 4096;
const FRAME: u64 = PAGE + 24;
const WAL_HEADER: u64 = 32;
/// SQLite takes the length of a chunk as an `int`.
const CHUNK_MAX: u64 = 1 << 30;

/// The cushion of one store.
#[derive(Debug)]
pub(super) struct Cushion {
    bytes: u64,
    /// Held as long as the store is open: closing any handle of this file takes the locks away that SQLite holds on it.
    database: Side,
    /// What no checkpoint has cut off that ended since the last one that was noticed.
    cut: u64,
    wal: Side,
    frames: u64,
    taken_over: u64,
}

#[derive(Debug)]
struct Side {
    /// `None` where there is nothing to hold on to, as on a disk that cannot set room aside.
    file: Option<File>,
    /// Blocks are there up to this byte.
    until: u64,
    /// It is a log: written from its beginning to its end, so that there are no holes in it.
    is_log: bool,
    /// The file is made as long as its blocks are many. Else each checkpoint would make it longer, block by block.
    lengthens: bool,
}

impl Cushion {
    /// For the database at `path`, which is there. Nothing is set aside yet.
    pub(super) fn new(path: &Path) -> Self {
        let bytes = rustix::fs::statvfs(path).map_or(BYTES_MAX, |disk| {
            (disk.f_blocks.saturating_mul(disk.f_frsize) / 32).clamp(BYTES_MIN, BYTES_MAX)
        });
        let wal = Side { file: None, until: 0, is_log: true, lengthens: false };
        Self { bytes, database: Side::of(path, false), cut: 0, wal, frames: 0, taken_over: 0 }
    }

    /// The store was opened, with a log that may be a new file.
    pub(super) fn renew(&mut self, path: &Path) {
        self.wal = Side::of(&beside(path, "-wal"), true);
        (self.database.until, self.cut) = (0, 0);
    }

    /// Sets aside what is not yet, for a database of so many pages, with so many frames of its log in use and so many
    /// taken over. An error, which is `Full`: it cannot be had.
    pub(super) fn keep(&mut self, pages: u64, frames: u64, taken_over: u64) -> Result<(), StoreError> {
        let cut = if self.chunk(pages) == 0 { 0 } else { self.end(pages) };
        self.cut = self.cut.min(cut);
        if taken_over != self.taken_over {
            self.database.until = self.database.until.min(self.cut);
            self.cut = cut;
        }
        self.taken_over = taken_over;
        if !self.database.lengthens && frames + taken_over > 0 {
            // As long as the log is empty, SQLite takes the length of the file for that of the database.
            (self.database.lengthens, self.database.until) = (true, 0);
        }
        if frames < self.frames {
            // The log began anew, and may have been cut.
            self.wal.until = 0;
        }
        self.frames = frames;
        // Each by itself: what one lacks is no reason to do without the other.
        let database = self.database.reach(pages * PAGE + self.bytes, self.bytes);
        let wal = self.wal.reach(WAL_HEADER + frames * FRAME + self.bytes, self.bytes);
        database.and(wal)
    }

    /// Where a database of so many pages may end: what is set aside is before it, and as much again for what is added
    /// while a checkpoint is on its way.
    fn end(&self, pages: u64) -> u64 {
        pages * PAGE + 2 * self.bytes
    }

    /// Of what length SQLite has to think that the database file's chunks are, so that a checkpoint cuts it there, and not
    /// where its last page ends: that would give back what is set aside, and what pages need that are committed, but stand
    /// in the log only. 0: it is cut at its last page.
    pub(super) fn chunk(&self, pages: u64) -> i32 {
        let end = self.end(pages);
        if self.database.file.is_none() || limit().is_some_and(|limit| limit < end + CHUNK_MAX / PAGE) {
            return 0;
        }
        let chunks = end.div_ceil(CHUNK_MAX);
        i32::try_from(end.div_ceil(chunks).next_multiple_of(PAGE)).unwrap_or(0)
    }

    /// The log is empty, and nobody writes: cuts the database to so many pages. A shorter one is left as it is.
    pub(super) fn give_back(&self, pages: u64) -> std::io::Result<()> {
        match &self.database.file {
            Some(file) if file.metadata()?.len() > pages * PAGE => file.set_len(pages * PAGE),
            _ => Ok(()),
        }
    }
}

impl Side {
    fn of(path: &Path, is_log: bool) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).ok();
        Self { file, until: 0, is_log, lengthens: false }
    }

    /// Has blocks up to `end`, or a little beyond, so that it is not asked for with every page.
    fn reach(&mut self, end: u64, beyond: u64) -> Result<(), StoreError> {
        within_the_limit(end)?;
        if end <= self.until {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        if self.is_log {
            self.until = self.until.max(file.metadata().map_or(0, |metadata| metadata.len()));
        }
        for end in [end + beyond, end] {
            if end <= self.until {
                return Ok(());
            }
            if within_the_limit(end).is_err() {
                continue;
            }
            match set_aside(file, self.until, end - self.until, self.lengthens) {
                Ok(()) => self.until = end,
                Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG) => {}
                Err(errno) => {
                    tracing::debug!(%errno, "store_room_cannot_be_set_aside");
                    self.file = None;
                    return Ok(());
                }
            }
        }
        if end <= self.until {
            return Ok(());
        }
        Err(full("the disk is full, but for what is set aside for events that were accepted before"))
    }
}

#[cfg(target_os = "linux")]
fn set_aside(file: &File, from: u64, length: u64, lengthens: bool) -> rustix::io::Result<()> {
    use rustix::fs::FallocateFlags;
    let flags = if lengthens { FallocateFlags::empty() } else { FallocateFlags::KEEP_SIZE };
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, from, length))
}

#[cfg(not(target_os = "linux"))]
fn set_aside(_file: &File, _from: u64, _length: u64, _lengthens: bool) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOTSUP)
}

/// A limit on the size of files is met by writing, not by setting aside: and then it looks like a broken disk.
fn within_the_limit(end: u64) -> Result<(), StoreError> {
    match limit() {
        Some(limit) if end > limit => Err(full("the limit on the size of files (RLIMIT_FSIZE) is reached")),
        _ => Ok(()),
    }
}

fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

pub(super) fn full(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Full, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn blocks(path: &Path) -> u64 {
        std::fs::metadata(path).expect("is there").blocks() * 512
    }

    #[test]
    fn sets_blocks_aside_and_keeps_them_when_the_database_is_cut_as_was_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        let wal = beside(&path, "-wal");
        std::fs::write(&path, [1; 8192]).expect("writes");
        std::fs::write(&wal, [1; 4152]).expect("writes");
        let mut cushion = Cushion::new(&path);
        cushion.renew(&path);
        cushion.keep(2, 1, 0).expect("there is room");
        assert_eq!(std::fs::metadata(&wal).expect("is there").len(), 4152);
        for (file, length) in [(&path, 8192), (&wal, 4152)] {
            assert!(blocks(file) >= length + cushion.bytes, "{file:?}: {}", blocks(file));
        }
        let until = cushion.database.until;
        cushion.keep(3, 2, 0).expect("there is room");
        assert_eq!(cushion.database.until, until, "a page more does not ask again");
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        let chunk = u64::try_from(cushion.chunk(3)).expect("a length");
        // As SQLite does it at the end of a checkpoint.
        file.set_len((3 * PAGE).next_multiple_of(chunk)).expect("cuts");
        assert!(blocks(&path) >= 3 * PAGE + cushion.bytes, "{}", blocks(&path));
        // As it would do it by itself.
        file.set_len(2 * PAGE).expect("cuts");
        (cushion.cut, cushion.database.until) = (2 * PAGE, until);
        cushion.keep(3, 2, 2).expect("there is room");
        assert!(blocks(&path) >= 3 * PAGE + cushion.bytes, "{}", blocks(&path));
        cushion.give_back(3).expect("cuts");
        assert_eq!(std::fs::metadata(&path).expect("is there").len(), 3 * PAGE);
    }

    #[test]
    fn a_database_of_any_size_is_cut_beyond_what_is_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        std::fs::write(&path, [1; 8192]).expect("writes");
        let cushion = Cushion::new(&path);
        for pages in [1, 2, 1000, 262_143, 262_144, 500_000, 3_000_000, 100_000_000] {
            let chunk = u64::try_from(cushion.chunk(pages)).expect("a length");
            for added in [0, 1, cushion.bytes / PAGE] {
                let last = (pages + added) * PAGE;
                let cut = last.next_multiple_of(chunk);
                assert!(cut >= last + cushion.bytes, "{pages} pages, {added} more: cut at {cut}");
                assert!(cut <= last + 2 * cushion.bytes + PAGE * 1024, "{pages} pages: cut at {cut}");
            }
        }
    }
}
