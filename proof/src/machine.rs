//! Where and of what a run was: date, commit, machine.

use std::process::Command;

/// The date and time, RFC 3339, in seconds.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The commit of the checkout; with `+` where it was changed.
#[must_use]
pub fn commit() -> String {
    output("git", &["describe", "--always", "--dirty=+", "--exclude=*"])
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Cores, processor, memory and kernel, in one line.
#[must_use]
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        Some(line.split(':').nth(1)?.trim().to_owned())
    };
    let processor = field(&file("/proc/cpuinfo"), "model name").unwrap_or_default();
    let kib: u64 = field(&file("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    let kernel = output("uname", &["-r"]).unwrap_or_default();
    format!("{cores} cores {processor}, {} GiB, Linux {kernel}", kib >> 20)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
