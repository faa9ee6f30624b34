//! Small disks, and how they are filled and freed. Mounts and loop devices are undone when a disk is dropped.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// What fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// A file on a loop device with ext4.
    Ext4,
    /// A file system in memory.
    Tmpfs,
    /// No disk: the process may not write files beyond a size.
    FileSizeLimit,
}

/// A disk of this size, MiB: some more than the store's log ever takes.
const MIB: u64 = 32;

/// What the gateway sets aside in each file on a large disk, bytes: a limit on their size is met that much before it. The
/// database is longer than its pages by twice as much.
const SET_ASIDE: u64 = 4 << 20;

/// A small disk with an empty directory.
pub(super) struct Disk {
    medium: Medium,
    /// Holds the image, and the directory that is mounted upon.
    directory: tempfile::TempDir,
    is_mounted: bool,
}

/// Why there cannot be such a disk here.
pub(super) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it mounts file systems, which takes root".to_owned());
    }
    let tried = [Medium::Ext4, Medium::Tmpfs].map(|medium| Disk::new(medium).err());
    tried.into_iter().flatten().next().map(|error| format!("no small disk can be mounted: {error:#}"))
}

impl Disk {
    /// Makes and mounts one.
    pub(super) fn new(medium: Medium) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tenterhook-proof-disk-").tempdir()?;
        let mut disk = Self { medium, directory, is_mounted: false };
        let (image, root) = (disk.directory.path().join("image"), disk.root());
        std::fs::create_dir(&root)?;
        match medium {
            Medium::Ext4 => {
                std::fs::File::create(&image)?.set_len(MIB << 20)?;
                run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&image))?;
                // The loop device lets go of itself with the mount.
                run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root))?;
            }
            Medium::Tmpfs => {
                let size = format!("size={MIB}m");
                run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&root))?;
            }
            Medium::FileSizeLimit => return Ok(disk),
        }
        disk.is_mounted = true;
        Ok(disk)
    }

    /// Its root.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Begins to fill it, or to limit the process.
    pub(super) fn fill(&self, database: &Path, process: u32) -> anyhow::Result<Filler> {
        if self.medium != Medium::FileSizeLimit {
            let path = self.root().join("filler");
            let file = std::fs::File::options().create(true).append(true).mode(0o600).open(&path)?;
            return Ok(Filler::File(path, file));
        }
        let length = std::fs::metadata(database)?.len();
        limit(process, Some(length - SET_ASIDE + 512 * 1024))?;
        Ok(Filler::Limit(process))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.is_mounted {
            return;
        }
        // A process that was killed just now may still have a file open.
        for _ in 0..100 {
            if run(Command::new("umount").arg(self.root())).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = run(Command::new("umount").arg("-l").arg(self.root()));
    }
}

/// What takes the room.
pub(super) enum Filler {
    /// A file that grows.
    File(PathBuf, std::fs::File),
    /// The limit of a process.
    Limit(u32),
}

impl Filler {
    /// Takes what there is: in large pieces, then smaller ones, then byte by byte.
    pub(super) fn press(&mut self) -> anyhow::Result<()> {
        let Self::File(_, file) = self else { return Ok(()) };
        for size in [64 * 1024, 4096, 256, 1] {
            let piece = vec![0xA5; size];
            loop {
                match file.write(&piece) {
                    Ok(written) if written == size => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("the filler"),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) fn free(self) -> anyhow::Result<()> {
        match self {
            Self::File(path, file) => {
                drop(file);
                Ok(std::fs::remove_file(path)?)
            }
            Self::Limit(process) => limit(process, None),
        }
    }
}

fn limit(process: u32, bytes: Option<u64>) -> anyhow::Result<()> {
    let process = Pid::from_raw(i32::try_from(process)?).context("a process id")?;
    let before = rustix::process::getrlimit(Resource::Fsize);
    prlimit(Some(process), Resource::Fsize, Rlimit { current: bytes, maximum: before.maximum })?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}
