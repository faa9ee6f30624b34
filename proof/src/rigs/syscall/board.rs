//! The shim that makes calls fail, and the board that it shares with the rig: counters from there, an end of the trouble
//! from here. The layout of the board is the one of `shim/fault.c`.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

const SOURCE: &str = include_str!("../../../shim/fault.c");

const WORDS: usize = 512;
const CALLS: [&str; 10] =
    ["fsync", "fdatasync", "write", "ftruncate", "open", "rename", "unlink", "mmap", "read", "lock"];

/// Why the shim cannot be built here.
pub(super) fn missing() -> Option<String> {
    let found = Command::new("cc").arg("--version").output().is_ok_and(|it| it.status.success());
    (!found).then(|| "it needs a C compiler, `cc`".to_owned())
}

/// Builds the shim.
pub(super) async fn build(directory: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (directory.join("fault.c"), directory.join("fault.so"));
    std::fs::write(&source, SOURCE)?;
    let mut cc = tokio::process::Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    let built = cc.arg("-ldl").output().await.context("cc")?;
    anyhow::ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
    Ok(library)
}

/// The file that is shared with the shim.
pub(super) struct Board {
    file: std::fs::File,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// What the shim has written so far. Times are of the monotonic clock, in ns; 0 is never.
pub(super) struct Seen {
    /// Calls that failed, were late or lied.
    pub(super) fired: u64,
    /// When an fsync failed last.
    pub(super) sync_failed_at: u64,
    /// When the database was opened for the first time after that.
    pub(super) reopened_at: u64,
    /// When the database was fsynced for the first time after that.
    pub(super) resynced_at: u64,
    /// Calls made, by name.
    pub(super) calls: BTreeMap<&'static str, u64>,
}

impl Board {
    /// A new one: nothing was counted, and calls fail as ordered.
    pub(super) fn new(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::write(&path, [0; WORDS * 8])?;
        let file = std::fs::File::options().read(true).write(true).open(&path)?;
        Ok(Self { file, path })
    }

    /// From now on nothing fails.
    pub(super) fn heal(&self) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&1u64.to_ne_bytes(), 0)?)
    }

    /// What it says now.
    pub(super) fn read(&self) -> anyhow::Result<Seen> {
        let mut bytes = [0; WORDS * 8];
        self.file.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
            u64::from_ne_bytes(word)
        };
        let calls = CALLS.iter().enumerate().map(|(index, &name)| (name, word(8 + index))).collect();
        Ok(Seen {
            fired: word(1),
            sync_failed_at: word(2),
            reopened_at: word(3),
            resynced_at: word(4),
            calls,
        })
    }
}
