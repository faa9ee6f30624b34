//! A control group with a memory limit, v1 or v2: whoever needs more is killed by the kernel. It does not know who is in
//! it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::rig::CannotRun;

/// The group. Dropped: removed, which takes an empty one.
pub(super) struct Cage {
    path: PathBuf,
    events: &'static str,
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

impl Cage {
    /// A group of its own with that limit, in bytes; `CannotRun` where the machine has none to give.
    pub(super) fn new(name: &str, limit: u64) -> anyhow::Result<Self> {
        let cannot = |why: String| anyhow::Error::new(CannotRun(why));
        let (root, version) = memory_controller()?
            .ok_or_else(|| cannot("no cgroup file system with the memory controller is mounted".into()))?;
        let path = root.join(name);
        fs::create_dir(&path).map_err(|error| {
            cannot(format!("no control group can be made in {} ({error}); run as root", root.display()))
        })?;
        let (limit_file, events) = match version {
            1 => ("memory.limit_in_bytes", "memory.oom_control"),
            _ => ("memory.max", "memory.events"),
        };
        let cage = Self { path, events };
        let set = |file: &str, value: String| {
            fs::write(cage.path.join(file), value).map_err(|error| {
                cannot(format!("{} cannot be set ({error})", cage.path.join(file).display()))
            })
        };
        set(limit_file, limit.to_string())?;
        // Swap would only put it off; not every kernel counts it.
        let _ = match version {
            1 => set("memory.memsw.limit_in_bytes", limit.to_string()),
            _ => set("memory.swap.max", "0".to_owned()),
        };
        Ok(cage)
    }

    /// The file that takes process ids.
    pub(super) fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// How many the kernel has killed for want of memory.
    pub(super) fn kills(&self) -> anyhow::Result<u64> {
        let path = self.path.join(self.events);
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(line.with_context(|| format!("{} has no `oom_kill`", path.display()))?.trim().parse()?)
    }
}

/// Where the memory controller is mounted, and whether it is version 1 or 2.
fn memory_controller() -> anyhow::Result<Option<(PathBuf, u8)>> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mut unified = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(path), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if kind == "cgroup" && options.split(',').any(|option| option == "memory") {
            return Ok(Some((PathBuf::from(path), 1)));
        }
        if kind == "cgroup2" && has_memory(Path::new(path)) {
            unified = Some((PathBuf::from(path), 2));
        }
    }
    Ok(unified)
}

/// Whether children of this group can have the controller.
fn has_memory(group: &Path) -> bool {
    let granted = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    granted.split_whitespace().any(|controller| controller == "memory")
}
