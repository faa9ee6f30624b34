//! Mounts that undo themselves, and the tools of the system that make them. Loop devices are made by mount(8) and free
//! themselves with the mount. It does not know what the file systems are for.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// How long something may go on using a mount that nothing should use any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mount; dropped, it is taken out of the tree at once, and undone when nothing uses it any more.
pub(super) struct Mounted {
    at: PathBuf,
    done: bool,
}

impl Mounted {
    /// Memory of at most `mib` MiB at the directory `at`.
    pub(super) fn memory(at: &Path, mib: u32) -> anyhow::Result<Self> {
        run("mount", ["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "tenterhook-proof"], &[at])?;
        Ok(Self { at: at.to_owned(), done: false })
    }

    /// The ext4 in `file`, through a loop device, at the directory `at`. The file system replays its journal.
    pub(super) fn ext4(file: &Path, at: &Path) -> anyhow::Result<Self> {
        run("mount", ["-t", "ext4", "-o", "loop"], &[file, at])?;
        Ok(Self { at: at.to_owned(), done: false })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.at
    }

    /// Undoes it once nothing uses it any more.
    pub(super) fn undo(mut self) -> anyhow::Result<()> {
        unmount(&self.at)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.done {
            detach(&self.at);
        }
    }
}

/// Unmounts `at` once nothing uses it any more, which a process that was just killed does for a moment.
pub(super) fn unmount(at: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::mount::unmount(at, UnmountFlags::empty()) {
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            outcome => return outcome.with_context(|| format!("umount {}", at.display())),
        }
    }
}

/// Takes a mount out of the tree, whatever uses it.
pub(super) fn detach(at: &Path) {
    let _ = rustix::mount::unmount(at, UnmountFlags::DETACH);
}

/// Makes an ext4 in `file`, complete at once: nothing is left for the kernel to do later.
pub(super) fn make_ext4(file: &Path) -> anyhow::Result<()> {
    let extras = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    run("mkfs.ext4", ["-q", "-F", "-b", "4096", "-N", "512", "-J", "size=4", "-E", extras], &[file]).map(drop)
}

/// A file of `size` bytes, all of it a hole.
pub(super) fn make_file(path: &Path, size: u64) -> anyhow::Result<()> {
    Ok(File::create(path)?.set_len(size)?)
}

/// Compiles C into `to`.
pub(super) fn compile(source: &str, flags: &[&str], to: &Path) -> anyhow::Result<()> {
    let file = to.with_extension("c");
    std::fs::write(&file, source)?;
    run("cc", ["-O1", "-Wall", "-Werror"].iter().chain(flags).chain(&["-o"]), &[to, &file]).map(drop)
}

/// Runs a program of the system, and returns what it printed; what it says on standard error is the error.
pub(super) fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    paths: &[&Path],
) -> anyhow::Result<String> {
    let found = tool(program).with_context(|| format!("there is no program `{program}`"))?;
    let output = Command::new(found).args(arguments).args(paths).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {paths:?}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Where a program is; those for root are often not in anybody's PATH.
fn tool(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|at| at.join(program)).find(|it| it.is_file())
}

/// What this machine lacks for the rig: tried, not guessed.
pub(super) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root, for mounts and loop devices".to_owned());
    }
    for (program, package) in [("mkfs.ext4", "e2fsprogs"), ("mount", "mount"), ("cc", "build-essential")] {
        if tool(program).is_none() {
            return Some(format!("needs `{program}` (Debian package {package})"));
        }
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
            return Some(format!("needs {device}: {error}"));
        }
    }
    try_mounts().err().map(|error| format!("needs mounts: {error:#}"))
}

/// Mounts memory and, in it, an ext4 over a loop device.
fn try_mounts() -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("tenterhook-power-").tempdir()?;
    let memory = Mounted::memory(directory.path(), 64)?;
    let (file, at) = (directory.path().join("disk"), directory.path().join("at"));
    make_file(&file, 16 << 20)?;
    std::fs::create_dir(&at)?;
    make_ext4(&file)?;
    Mounted::ext4(&file, &at)?.undo()?;
    memory.undo()
}
