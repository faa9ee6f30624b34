//! The gateway's wall clock: libfaketime reads it from a file at every call, so that it can be stepped while the gateway
//! runs. The monotonic clock stays the machine's.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A place of the wall clock, always relative to the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Right.
    Truth,
    /// Two hours behind.
    Behind,
    /// A day ahead.
    Day,
    /// Ten years ahead.
    Years,
    /// A tenth too fast; right when its process starts.
    Drift,
}

impl Step {
    const ALL: [Self; 5] = [Self::Truth, Self::Behind, Self::Day, Self::Years, Self::Drift];

    /// Another place than `now`.
    pub(super) fn random(random: &mut fastrand::Rng, now: Self) -> Self {
        let others: Vec<Self> = Self::ALL.into_iter().filter(|it| *it != now).collect();
        others[random.usize(..others.len())]
    }

    /// What it is counted as.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Truth => "steps back to the truth",
            Self::Behind => "steps to -2 h",
            Self::Day => "steps to +1 day",
            Self::Years => "steps to +10 years",
            Self::Drift => "drift of 10 %",
        }
    }

    /// How far it is from the truth, in seconds. A drift is not far within a round.
    pub(super) fn ahead_s(self) -> i64 {
        match self {
            Self::Truth | Self::Drift => 0,
            Self::Behind => -2 * 3600,
            Self::Day => 24 * 3600,
            Self::Years => 3652 * 24 * 3600,
        }
    }

    /// As libfaketime reads it.
    fn text(self) -> String {
        match self {
            Self::Drift => "+0 x1.10\n".to_owned(),
            _ => format!("{:+}\n", self.ahead_s()),
        }
    }
}

/// The clock.
pub(super) struct Wall {
    directory: tempfile::TempDir,
    now: Step,
    /// Processes that lived by it.
    processes: Vec<u32>,
}

impl Drop for Wall {
    /// libfaketime leaves shared memory of every process that is killed.
    fn drop(&mut self) {
        for pid in &self.processes {
            for name in ["faketime_shm", "sem.faketime_sem"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{name}_{pid}"));
            }
        }
    }
}

impl Wall {
    /// Right, at first.
    pub(super) fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tenterhook-clock-").tempdir()?;
        let mut wall = Self { directory, now: Step::Truth, processes: Vec::new() };
        wall.set(Step::Truth)?;
        Ok(wall)
    }

    /// A process lives by it.
    pub(super) fn lived_by(&mut self, pid: u32) {
        self.processes.push(pid);
    }

    /// Where it is.
    pub(super) fn now(&self) -> Step {
        self.now
    }

    /// Steps it. Whole or not at all: the gateway may read at any moment.
    pub(super) fn set(&mut self, to: Step) -> anyhow::Result<()> {
        let (fresh, file) = (self.directory.path().join("fresh"), self.file());
        std::fs::write(&fresh, to.text())?;
        std::fs::rename(fresh, file)?;
        self.now = to;
        Ok(())
    }

    /// The time on it, roughly.
    pub(super) fn time(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.now.ahead_s());
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now - by } else { now + by }
    }

    /// What makes a process live by it.
    pub(super) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", library().unwrap_or_default().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }
}

/// Where distributions put the library.
fn library() -> Option<PathBuf> {
    let name = "faketime/libfaketimeMT.so.1";
    let inner = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut places = inner.chain(["/usr/lib".into(), "/usr/lib64".into(), "/usr/local/lib".into()]);
    places.find_map(|place| Some(place.join(name)).filter(|path| path.exists()))
}

/// Without the library the clock cannot be stepped for one process alone.
pub(super) fn missing() -> Option<String> {
    let why = "libfaketime is not installed (`apt-get install faketime`)";
    library().is_none().then(|| why.to_owned())
}
