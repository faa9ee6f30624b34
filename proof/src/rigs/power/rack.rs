//! Where a round takes place: a directory of its own with memory in it, a disk, and a file system on that disk for the
//! gateway's database. All of it is undone when it is dropped. It does not know the gateway.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::{Disk, Image};
use super::drive::Drive;
use super::mount::{self, Mounted};

/// Size of a disk, bytes: more than any round fills.
const DISK: u64 = 192 << 20;

/// Size of the memory for images and helpers, MiB.
const MEMORY_MIB: u32 = 512;

/// The database, on whichever file system.
const DATABASE: &str = "tenterhook.db";

/// Runs what blocks beside the runtime.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// A directory of its own, with memory in it. The fields go in this order.
pub(super) struct Room {
    memory: Mounted,
    _directory: tempfile::TempDir,
}

impl Room {
    /// A new one.
    pub(super) fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tenterhook-power-").tempdir()?;
        let memory = Mounted::memory(directory.path(), MEMORY_MIB)?;
        for name in ["drive", "store", "cut"] {
            std::fs::create_dir(directory.path().join(name))?;
        }
        Ok(Self { memory, _directory: directory })
    }

    /// A place in its memory.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// A new file with an empty ext4, not mounted.
    pub(super) fn ext4(&self) -> anyhow::Result<PathBuf> {
        let file = self.at("disk");
        mount::make_file(&file, DISK)?;
        mount::make_ext4(&file)?;
        Ok(file)
    }

    /// Leaves nothing behind.
    pub(super) fn leave(self) -> anyhow::Result<()> {
        self.memory.undo()
    }
}

/// A file system on a [`Disk`] whose power can be cut. The fields go in this order.
pub(super) struct Rack {
    store: Mounted,
    drive: Drive,
    room: Room,
}

impl Rack {
    /// A new disk whose flushes take `latency`, with an empty ext4.
    pub(super) fn new(latency: Duration) -> anyhow::Result<Self> {
        let room = Room::new()?;
        let drive = Drive::plug(Disk::new(DISK, latency), &room.at("drive"))?;
        mount::make_ext4(&drive.file())?;
        let store = Mounted::ext4(&drive.file(), &room.at("store"))?;
        Ok(Self { store, drive, room })
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        database_on(&self.store)
    }

    /// The disk.
    pub(super) fn disk(&self) -> &Disk {
        &self.drive.disk
    }

    /// The room.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Takes all of it apart; nothing may use it any more.
    pub(super) fn dismantle(self) -> anyhow::Result<()> {
        self.store.undo()?;
        self.drive.unplug()?;
        self.room.leave()
    }
}

/// What is found after a cut: the image, mounted.
pub(super) struct Wreck {
    mounted: Mounted,
    file: PathBuf,
}

impl Wreck {
    /// Mounts the image, which replays the journal of its file system, as after a power cut.
    pub(super) fn open(image: &Image, file: PathBuf, at: &Path) -> anyhow::Result<Self> {
        image.save(&file)?;
        Ok(Self { mounted: Mounted::ext4(&file, at)?, file })
    }

    /// Where the database should be.
    pub(super) fn database(&self) -> PathBuf {
        database_on(&self.mounted)
    }

    /// Puts it away.
    pub(super) fn clear(self) -> anyhow::Result<()> {
        self.mounted.undo()?;
        Ok(std::fs::remove_file(&self.file)?)
    }
}

/// Where the database is on a file system.
pub(super) fn database_on(mounted: &Mounted) -> PathBuf {
    mounted.path().join(DATABASE)
}
