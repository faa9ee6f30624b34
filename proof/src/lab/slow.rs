//! A slow disk under a gateway, by a preloaded library that `cc` builds into the site's directory. It does not know
//! what is measured on it.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::Site;

const SOURCE: &str = include_str!("../../shim/slow.c");

/// How slow.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// What each fsync takes longer.
    pub sync: Duration,
    /// What the disk writes, in bytes per microsecond (that is, MB/s); 0: as much as it can.
    pub mb_per_s: u32,
}

/// Why there can be no slow disk here.
#[must_use]
pub fn missing() -> Option<String> {
    let found = Command::new("cc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => None,
        _ => Some("it needs a C compiler (`cc`) for the slow disk".to_owned()),
    }
}

/// The same site with a slow disk.
pub fn disk(site: Site, slow: Slow) -> anyhow::Result<Site> {
    let (source, library) = (site.path().join("slow.c"), site.path().join("slow.so"));
    std::fs::write(&source, SOURCE)?;
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .context("cc")?;
    anyhow::ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
    Ok(site
        .env("LD_PRELOAD", library)
        .env("SLOW_SYNC_US", slow.sync.as_micros().to_string())
        .env("SLOW_BYTES_PER_US", slow.mb_per_s.to_string()))
}
