//! Delivers to a command: the body on stdin, metadata in `TENTERHOOK_*`. Knows processes; knows nothing of retries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything a command destination needs, checked.
#[derive(Clone, Debug)]
pub struct CommandSettings {
    /// Program and arguments; never through a shell.
    pub command: Vec<String>,
    /// The whole attempt; then the process group is killed.
    pub timeout: Duration,
    /// Working directory.
    pub directory: Option<PathBuf>,
    /// Environment besides `PATH` and `TENTERHOOK_*`. Values may be secrets.
    pub environment: BTreeMap<String, String>,
    /// Exit codes that ask for a retry, besides 75. Every other one but 0 retries too unless it is in `dead_codes`.
    pub retry_codes: Vec<i32>,
    /// Exit codes that refuse for good.
    pub dead_codes: Vec<i32>,
}
