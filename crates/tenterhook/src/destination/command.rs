//! Delivers to a command: the body on stdin, metadata in `TENTERHOOK_*`. Knows processes; knows nothing of retries.

mod environment;
mod process;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::process::Command;
use tokio::time::Instant;

use self::process::{End, Run, Running};
use super::answer::{self, Masks};
use super::{CheckError, Destination};
use crate::model::{FailureKind, Message, Outcome, Reply};

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

/// A command destination, checked.
///
/// - the body goes to stdin exactly as it was signed; a command that does not read it is fine
/// - the environment holds `PATH`, what is configured, and `TENTERHOOK_EVENT_ID` and the other facts, with
///   `TENTERHOOK_TRACEPARENT` and `TENTERHOOK_HEADERS` (the provider's own headers as a JSON object); values lose their
///   NUL bytes and end after 64 KiB, and headers beyond that are left out; nothing of the gateway's own environment
/// - exit 0 delivers; `dead_codes` refuse for good; 75, `retry_codes` and every other code fail, and so does a signal
/// - the command runs in a process group of its own. After the timeout the group gets SIGTERM, and SIGKILL a second
///   later; what is left of the group when the command itself has ended is killed too: a process that shall outlive
///   its attempt leaves the group (`setsid`)
/// - the first 64 KiB of stdout and of stderr are looked at; more is thrown away without blocking the command
/// - a program that is missing or not executable is not an attempt
pub struct CommandDestination {
    settings: CommandSettings,
    program: PathBuf,
    path: OsString,
    masks: Masks,
}

impl fmt::Debug for CommandDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandDestination").field("program", &self.program).finish_non_exhaustive()
    }
}

/// `PATH` where the gateway itself has none.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `EX_TEMPFAIL` of sysexits.
const RETRY_LATER: i32 = 75;

impl CommandDestination {
    /// Checks the settings. A program with a `/` in it is relative to `directory`, every other one is found in `PATH`:
    /// the configured one, or the gateway's own.
    pub fn new(settings: CommandSettings) -> Result<Self, CheckError> {
        let Some(program) = settings.command.first().filter(|program| !program.is_empty()) else {
            return Err(CheckError::wrong("`command` is empty", "such as `command = [\"./deploy.sh\"]`"));
        };
        if settings.command.iter().any(|argument| argument.contains('\0')) {
            return Err(CheckError::wrong("`command` holds a NUL byte", "remove it"));
        }
        if let Some(name) = settings.environment.iter().find_map(|(name, value)| refused(name, value)) {
            return Err(CheckError::wrong(
                format!("`environment` cannot set `{name}`"),
                "names are not empty, hold no `=` and do not start with `TENTERHOOK_`; values hold no NUL",
            ));
        }
        let configured = settings.environment.get("PATH").map(OsString::from);
        let path = configured.or_else(|| env::var_os("PATH")).unwrap_or_else(|| PATH_DEFAULT.into());
        let program = match &settings.directory {
            Some(directory) if program.contains('/') => directory.join(program),
            _ => PathBuf::from(program),
        };
        let masks = Masks::new(settings.environment.values().map(String::as_bytes));
        Ok(Self { settings, program, path, masks })
    }

    async fn deliver_one(&self, message: &Message) -> Reply {
        let started = Instant::now();
        let run = match self.spawn(message) {
            Ok(running) => running.finish(message.body.clone(), self.settings.timeout).await,
            Err(error) => return self.not_started(&error, started),
        };
        match run.end {
            End::Exited(code) => self.exited(code, &run, started),
            End::Signalled(signal) => {
                let text = format!("ended by signal {signal}; {}", self.output(&run, true));
                reply(failed(FailureKind::Server), Some(128 + signal), &text, started)
            }
            End::TimedOut => {
                let text = format!("killed after {:?}; {}", self.settings.timeout, self.output(&run, true));
                reply(failed(FailureKind::Timeout), None, &text, started)
            }
            End::Lost(error) => {
                reply(failed(FailureKind::Internal), None, &format!("lost the command: {error}"), started)
            }
        }
    }

    fn spawn(&self, message: &Message) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.settings.command[1..]).env_clear().env("PATH", &self.path);
        command.envs(&self.settings.environment).envs(environment::variables(message));
        if let Some(directory) = &self.settings.directory {
            command.current_dir(directory);
        }
        Running::spawn(command)
    }

    fn exited(&self, code: i32, run: &Run, started: Instant) -> Reply {
        let retry = code == RETRY_LATER || self.settings.retry_codes.contains(&code);
        let outcome = match code {
            0 => Outcome::Delivered,
            _ if !retry && self.settings.dead_codes.contains(&code) => Outcome::Rejected,
            _ => failed(FailureKind::Server),
        };
        let whole = code == 0 && !run.stdout.truncated;
        let result = whole.then(|| answer::result(&run.stdout.bytes, &self.masks)).flatten();
        let text = self.output(run, outcome != Outcome::Delivered);
        Reply { result, ..reply(outcome, Some(code), &text, started) }
    }

    /// The output that says most: of a failure what went to stderr, otherwise what went to stdout.
    fn output(&self, run: &Run, failed: bool) -> String {
        let (first, second) = if failed { (&run.stderr, &run.stdout) } else { (&run.stdout, &run.stderr) };
        let output = if first.bytes.is_empty() { second } else { first };
        answer::excerpt(&output.bytes, output.truncated, &self.masks)
    }

    fn not_started(&self, error: &io::Error, started: Instant) -> Reply {
        let text = format!("cannot start `{}`: {error}", self.program.display());
        let outcome = match error.kind() {
            // This event cannot be handed over, now or ever; another one can.
            io::ErrorKind::ArgumentListTooLong => Outcome::Rejected,
            _ => Outcome::NotTried,
        };
        reply(outcome, None, &text, started)
    }
}

#[async_trait]
impl Destination for CommandDestination {
    fn kind(&self) -> &'static str {
        "command"
    }

    async fn deliver(&self, batch: &[Message]) -> Vec<Reply> {
        join_all(batch.iter().map(|message| self.deliver_one(message))).await
    }

    /// Whether the program exists and may be executed, and the directory exists.
    async fn check(&self) -> Result<(), CheckError> {
        if let Some(directory) = self.settings.directory.as_ref().filter(|directory| !directory.is_dir()) {
            let message = format!("the directory `{}` does not exist", directory.display());
            return Err(CheckError::down(message, "create it, or correct `directory`"));
        }
        let found = if self.program.components().count() > 1 {
            is_executable(&self.program)
        } else {
            env::split_paths(&self.path).any(|directory| is_executable(&directory.join(&self.program)))
        };
        if found {
            return Ok(());
        }
        let message = format!("`{}` is not an executable file", self.program.display());
        Err(CheckError::down(message, "is the path right, and the file `chmod +x`?"))
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn refused<'e>(name: &'e str, value: &str) -> Option<&'e str> {
    let bad = name.is_empty()
        || name.contains(['=', '\0'])
        || name.to_ascii_uppercase().starts_with("TENTERHOOK_")
        || value.contains('\0');
    bad.then_some(name)
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed { kind, after: None }
}

fn reply(outcome: Outcome, status: Option<i32>, text: &str, started: Instant) -> Reply {
    let excerpt = answer::printable(text.trim_end_matches("; "), false);
    Reply { outcome, status, excerpt, result: None, took: started.elapsed() }
}
