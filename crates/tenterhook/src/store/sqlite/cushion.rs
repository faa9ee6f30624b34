//! Room on the disk that is set aside before it is needed: blocks past the ends of the database and of its log. When the
//! disk is full, they are what deliveries, dead letters and the audit trail go on with; and when they cannot be had,
//! accepts are refused before any write fails. Knows nothing of SQLite but how long its pages and frames are.

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

/// The cushion of one store.
#[derive(Debug)]
pub(super) struct Cushion {
    bytes: u64,
    /// Held as long as the store is open: closing any handle of this file takes the locks away that SQLite holds on it.
    database: Side,
    wal: Side,
    frames: u64,
    taken_over: u64,
}

#[derive(Debug, Default)]
struct Side {
    /// `None` where there is nothing to hold on to, as on a disk that cannot set room aside.
    file: Option<File>,
    /// Blocks are there up to this byte.
    until: u64,
}

impl Cushion {
    /// For the database at `path`, which is there. Nothing is set aside yet.
    pub(super) fn new(path: &Path) -> Self {
        let bytes = rustix::fs::statvfs(path).map_or(BYTES_MAX, |disk| {
            (disk.f_blocks.saturating_mul(disk.f_frsize) / 32).clamp(BYTES_MIN, BYTES_MAX)
        });
        Self { bytes, database: Side::of(path), wal: Side::default(), frames: 0, taken_over: 0 }
    }

    /// The store was opened, with a log that may be a new file.
    pub(super) fn renew(&mut self, path: &Path) {
        self.wal = Side::of(&beside(path, "-wal"));
        self.forget();
    }

    /// A file may have become shorter, and its blocks are gone.
    pub(super) fn forget(&mut self) {
        (self.database.until, self.wal.until) = (0, 0);
    }

    /// Sets aside what is not yet, for a database of so many pages, with so many frames of its log in use and so many
    /// taken over. An error, which is `Full`: it cannot be had.
    pub(super) fn keep(&mut self, pages: u64, frames: u64, taken_over: u64) -> Result<(), StoreError> {
        if taken_over != self.taken_over {
            // A checkpoint ends with a cut to what the database needs: what was set aside beyond is gone.
            self.database.until = 0;
        }
        self.taken_over = taken_over;
        if frames < self.frames {
            // The log began anew, and may have been cut.
            self.wal.until = 0;
        }
        self.frames = frames;
        self.database.reach(pages * PAGE + self.bytes, self.bytes)?;
        self.wal.reach(WAL_HEADER + frames * FRAME + self.bytes, self.bytes)
    }
}

impl Side {
    fn of(path: &Path) -> Self {
        Self { file: OpenOptions::new().read(true).write(true).open(path).ok(), until: 0 }
    }

    /// Has blocks up to `end`, or a little beyond, so that it is not asked for with every page.
    fn reach(&mut self, end: u64, beyond: u64) -> Result<(), StoreError> {
        within_the_limit(end)?;
        if end <= self.until {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let from = self.until.max(length);
        self.until = from;
        for end in [end + beyond, end] {
            if end <= self.until {
                return Ok(());
            }
            match set_aside(file, from, end - from) {
                Ok(()) => self.until = end,
                Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG) => {}
                Err(errno) => {
                    tracing::debug!(%errno, "store_room_cannot_be_set_aside");
                    self.file = None;
                    return Ok(());
                }
            }
        }
        Err(full("the disk is full, but for what is set aside for events that were accepted before"))
    }
}

#[cfg(target_os = "linux")]
fn set_aside(file: &File, from: u64, length: u64) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, from, length)
    })
}

#[cfg(not(target_os = "linux"))]
fn set_aside(_file: &File, _from: u64, _length: u64) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOTSUP)
}

/// A limit on the size of files is met by writing, not by setting aside: and then it looks like a broken disk.
fn within_the_limit(end: u64) -> Result<(), StoreError> {
    match rustix::process::getrlimit(rustix::process::Resource::Fsize).current {
        Some(limit) if end > limit => Err(full("the limit on the size of files (RLIMIT_FSIZE) is reached")),
        _ => Ok(()),
    }
}

pub(super) fn full(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Full, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn sets_blocks_aside_without_making_the_files_longer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        let wal = beside(&path, "-wal");
        std::fs::write(&path, [1; 8192]).expect("writes");
        std::fs::write(&wal, [1; 4152]).expect("writes");
        let mut cushion = Cushion::new(&path);
        cushion.renew(&path);
        cushion.keep(2, 1, 0).expect("there is room");
        for (file, length) in [(&path, 8192), (&wal, 4152)] {
            let metadata = std::fs::metadata(file).expect("is there");
            assert_eq!(metadata.len(), length);
            assert!(metadata.blocks() * 512 >= length + cushion.bytes, "{metadata:?}");
        }
        let until = cushion.database.until;
        cushion.keep(3, 2, 0).expect("there is room");
        assert_eq!(cushion.database.until, until, "a page more does not ask again");
        // As SQLite does it at the end of a checkpoint: what lies beyond the end is cut off, too.
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        file.set_len(8192).expect("cuts");
        cushion.keep(3, 2, 2).expect("there is room");
        let blocks = std::fs::metadata(&path).expect("is there").blocks();
        assert!(blocks * 512 >= 8192 + cushion.bytes, "{blocks}");
    }
}
