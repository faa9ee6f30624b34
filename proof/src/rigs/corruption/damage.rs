//! Damages a store: one bit, one page or the end of one file. Knows files, not what is in them.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A page of the database, in bytes.
const PAGE: u64 = 4096;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One bit changes.
    Bit,
    /// 4 KiB, aligned, become zeros.
    Page,
    /// The file ends earlier.
    Truncation,
}

/// What was done.
#[derive(Clone, Debug)]
pub(super) struct Harm {
    what: String,
    /// The WAL was damaged, not the database.
    pub(super) in_wal: bool,
}

impl Harm {
    /// Nothing was done.
    pub(super) fn none() -> Self {
        Self { what: "nothing damaged".to_owned(), in_wal: false }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The WAL of a database.
pub(super) fn wal_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Damages the database (two times of three) or its WAL at a random place.
pub(super) fn inflict(kind: Kind, database: &Path, random: &mut fastrand::Rng) -> anyhow::Result<Harm> {
    let in_wal = random.u8(..3) == 0;
    let path = if in_wal { wal_of(database) } else { database.to_owned() };
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let length = file.metadata()?.len();
    anyhow::ensure!(length > PAGE, "`{}` has only {length} bytes", path.display());
    let name = if in_wal { "WAL" } else { "database" };
    let what = match kind {
        Kind::Bit => {
            let (at, bit) = (random.u64(..length), random.u8(..8));
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            file.write_all_at(&[byte[0] ^ (1 << bit)], at)?;
            format!("bit {bit} of byte {at} of the {name}")
        }
        Kind::Page => {
            let at = random.u64(..length.div_ceil(PAGE)) * PAGE;
            file.write_all_at(&vec![0; usize::try_from(PAGE.min(length - at))?], at)?;
            format!("zeros from byte {at} of the {name}")
        }
        Kind::Truncation => {
            // Now and then down to nothing: an empty file is what looks most like a new one.
            let at = if random.u8(..20) == 0 { 0 } else { random.u64(..length) };
            file.set_len(at)?;
            format!("the {name} cut from {length} to {at} bytes")
        }
    };
    Ok(Harm { what, in_wal })
}
