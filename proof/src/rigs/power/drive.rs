//! Plugs a [`Disk`] into the machine: a file system with one file, over which a loop device can be laid. The kernel turns
//! every flush of the block device into an fsync of that file. It does not know what is kept on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

use super::disk::Disk;
use super::mount::{detach, unmount};

/// The name of the one file.
const FILE: &str = "disk";
const FILE_NODE: INodeNo = INodeNo(2);
/// How long the kernel may believe an answer about the file: nothing about it ever changes.
const BELIEVED: Duration = Duration::from_secs(3600);

/// A disk that is plugged in; unplugged when it is dropped.
pub(super) struct Drive {
    /// The disk.
    pub(super) disk: Arc<Disk>,
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Drive {
    /// Plugs it in at the directory `at`.
    pub(super) fn plug(disk: Disk, at: &Path) -> anyhow::Result<Self> {
        let disk = Arc::new(disk);
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("tenterhook-proof".to_owned())];
        let session = fuser::spawn_mount(OneFile(Arc::clone(&disk)), at, &config)
            .with_context(|| format!("FUSE at {}", at.display()))?;
        Ok(Self { disk, at: at.to_owned(), session: Some(session) })
    }

    /// The file that is the disk.
    pub(super) fn file(&self) -> PathBuf {
        self.at.join(FILE)
    }

    /// Unplugs it once nothing uses it any more.
    pub(super) fn unplug(mut self) -> anyhow::Result<()> {
        unmount(&self.at)?;
        match self.session.take() {
            Some(session) => Ok(session.join()?),
            None => Ok(()),
        }
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        if self.session.is_some() {
            // Its thread serves what still uses the disk and ends after that.
            detach(&self.at);
        }
    }
}

struct OneFile(Arc<Disk>);

impl OneFile {
    fn attributes(&self, node: INodeNo) -> FileAttr {
        let root = node == INodeNo::ROOT;
        let size = if root { 0 } else { self.0.size() };
        FileAttr {
            ino: node,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == FILE {
            reply.entry(&BELIEVED, &self.attributes(FILE_NODE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&BELIEVED, &self.attributes(node));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        // A disk has the size that it has.
        match size {
            Some(size) if size != self.0.size() => reply.error(Errno::EPERM),
            _ => reply.attr(&BELIEVED, &self.attributes(node)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&self.0.read(offset, size as usize));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if offset + data.len() as u64 > self.0.size() {
            reply.error(Errno::ENOSPC);
            return;
        }
        self.0.write(offset, data);
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // FUSE's name for close(2), which makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.0.flush();
        reply.ok();
    }
}
