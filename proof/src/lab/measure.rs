//! Figures over many samples: quantiles, medians, resident memory, open files. It does not know what is measured.

use std::path::Path;
use std::time::Duration;

use super::flood::Answer;

/// The value below which `share` (0 to 1) of the samples are; 0 where there are none.
#[must_use]
pub fn quantile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = (share * samples.len() as f64).ceil() as usize;
    samples.get(at.saturating_sub(1).min(samples.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// The middle one.
#[must_use]
pub fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}

/// Milliseconds.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// How long the receipts took, ms.
#[must_use]
pub fn acks_ms(answers: &[Answer]) -> Vec<f64> {
    answers.iter().filter(|it| it.acked()).map(|it| ms(it.took)).collect()
}

/// Bytes of a database with its log.
#[must_use]
pub fn store_bytes(database: &Path) -> u64 {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |it| it.len());
    length(database) + length(&wal(database))
}

/// The log beside a database.
#[must_use]
pub fn wal(database: &Path) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Open files of a process.
pub fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The monotonic clock, as programs in C read it, in ns.
#[must_use]
pub fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| quantile(samples.clone(), share)),
            [1.0, 50.0, 99.0, 100.0]
        );
        assert_eq!(quantile(Vec::new(), 0.99), 0.0);
    }
}
