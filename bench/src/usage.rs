//! What a process has used, as Linux tells it. Knows nothing of what the process is.

use std::fs;

use anyhow::{Context, anyhow};

/// Counters of a process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time, in microseconds.
    pub(crate) cpu_us: f64,
    /// Resident memory, in MiB.
    pub(crate) rss_mib: f64,
    /// The most resident memory ever, in MiB.
    pub(crate) peak_mib: f64,
    /// Bytes that it caused to be written to the disk.
    pub(crate) written: f64,
}

impl Usage {
    /// Of a process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| path)
        };
        let (stat, status, io) = (read("stat")?, read("status")?, read("io")?);
        // The name in parentheses may hold anything; behind it are numbers. Linux counts a hundred ticks a second
        // here on every architecture.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |index: usize| -> anyhow::Result<f64> { Ok(fields.get(index).context("stat")?.parse::<f64>()?) };
        Ok(Self {
            cpu_us: (ticks(11)? + ticks(12)?) * 10_000.0,
            rss_mib: figure(&status, "VmRSS:")? / 1024.0,
            peak_mib: figure(&status, "VmHWM:")? / 1024.0,
            written: figure(&io, "write_bytes:")?,
        })
    }
}

fn figure(text: &str, name: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next()).and_then(|figure| figure.parse().ok());
    figure.ok_or_else(|| anyhow!("no `{name}` in /proc"))
}
