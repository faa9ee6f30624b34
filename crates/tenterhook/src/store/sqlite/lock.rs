//! One store, one process: an OS lock on `<db>.lock`. Knows nothing of SQLite.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::store::{StoreError, StoreErrorKind};

/// The lock, held until it is dropped; the kernel lets go of it when the process dies. The file stays: removing it
/// would let two processes lock two files of the same name.
#[derive(Debug)]
pub(super) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the lock and writes our pid into its file; [`StoreErrorKind::Locked`] names the pid of the holder.
    pub(super) fn take(db: &Path) -> Result<Self, StoreError> {
        let path = lock_path(db);
        let failed = |error: &dyn std::fmt::Display| {
            StoreError::new(
                StoreErrorKind::Unavailable,
                format!("cannot lock `{}`: {error}; is its directory there and writable?", path.display()),
            )
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(&mut file, db)),
            Err(errno) => return Err(failed(&errno)),
        }
        // The pid is for people; the lock itself is the kernel's. A full disk must not keep the store from opening,
        // for opening is how it heals.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = write!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

fn held(file: &mut File, db: &Path) -> StoreError {
    let mut pid = String::new();
    let _ = file.take(20).read_to_string(&mut pid);
    let holder = match pid.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".to_owned(),
    };
    StoreError::new(StoreErrorKind::Locked, format!("`{}` is held by {holder}; stop it first", db.display()))
}

/// `<db>.lock`.
pub(super) fn lock_path(db: &Path) -> PathBuf {
    let mut path = db.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}
