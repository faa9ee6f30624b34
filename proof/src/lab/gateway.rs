//! The real binary as a child process: started on free ports, killed, paused or stopped by process id, asked over its
//! own admin API.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Lab, PATIENCE, SECRET};
use crate::broken::Bug;

/// Runs a program as a member of the control group whose `cgroup.procs` is its first argument.
const JOIN_GROUP: &str = "echo $$ > \"$0\" && exec \"$@\"";

/// Log lines kept; the first ones tell how it started, the last ones how it ended.
const LINES_KEPT: usize = 2000;

/// Where a gateway listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// `http://127.0.0.1:PORT` of the ingress listener.
    pub ingress: String,
    /// `http://127.0.0.1:PORT` of the admin listener.
    pub admin: String,
}

/// A directory with a config, and how to start a gateway there.
pub struct Site {
    directory: tempfile::TempDir,
    database: PathBuf,
    environment: Vec<(OsString, OsString)>,
    program: PathBuf,
    arguments: Vec<OsString>,
    group: Option<PathBuf>,
    witness: Witness,
}

impl Site {
    /// Writes `config` into a directory of its own. `[server]` (with `server` in it) and `[store]` are added: free
    /// ports, the database at `database`, or in the directory where that is `None`.
    pub fn new(lab: &Lab, database: Option<&Path>, server: &str, config: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tenterhook-proof-").tempdir()?;
        let database = database.map_or_else(|| directory.path().join("tenterhook.db"), Path::to_owned);
        let head = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nadmin_auth = \"none\"\n\
             log = {{ format = \"json\" }}\n{server}\n[store]\nurl = \"sqlite:{}\"\n",
            database.display()
        );
        std::fs::write(directory.path().join("tenterhook.toml"), format!("{head}{config}"))?;
        let (program, arguments) = (lab.binary().to_owned(), vec!["serve".into()]);
        let site = Self {
            directory,
            database,
            environment: Vec::new(),
            program,
            arguments,
            group: None,
            witness: Witness::default(),
        };
        Ok(site.env("RIG_SECRET", SECRET))
    }

    /// One GitHub source whose events all go to one destination at `url`; `destination` is added to its table.
    pub fn simple(lab: &Lab, database: Option<&Path>, url: &str, destination: &str) -> anyhow::Result<Self> {
        let config = format!(
            "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
             [destinations.app]\ntype = \"http\"\nurl = \"{url}\"\n{destination}\n\
             [[routes]]\nsource = \"github\"\ndestination = \"app\"\n"
        );
        Self::new(lab, database, "", &config)
    }

    /// Sets an environment variable of the gateway.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs a gateway with that bug instead of the real one.
    #[must_use]
    pub fn broken(mut self, lab: &Lab, bug: Bug) -> Self {
        lab.prove().clone_into(&mut self.program);
        self.arguments = vec!["gateway".into(), "--bug".into(), bug.name().into()];
        self
    }

    /// Runs every gateway of the site in the control group that has this `cgroup.procs`.
    #[must_use]
    pub fn in_group(mut self, procs: &Path) -> Self {
        self.group = Some(procs.to_owned());
        self
    }

    /// Keeps every log line of this event, too, over all gateways of the site.
    #[must_use]
    pub fn keeping(mut self, event: &str) -> Self {
        self.witness.events.push(format!("\"message\":\"{event}\""));
        self
    }

    /// The lines kept so far; complete for gateways that were waited for.
    pub fn kept(&self) -> anyhow::Result<Vec<Value>> {
        let lines = self.witness.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // A kill may cut the last line short.
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Changes its config; what runs already has to be told to reload.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) -> anyhow::Result<()> {
        let path = self.path().join("tenterhook.toml");
        Ok(std::fs::write(&path, change(std::fs::read_to_string(&path)?))?)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its database file.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Starts the gateway and waits until it is ready; an error where it ends before.
    pub async fn start(&self) -> anyhow::Result<Gateway> {
        match self.launch(PATIENCE).await? {
            Launch::Ready(gateway) => Ok(*gateway),
            Launch::Ended { said, .. } => anyhow::bail!("the gateway ended before it was ready:\n{said}"),
        }
    }

    /// Starts the gateway and waits until it is ready or ends; an error where it does neither within `patience`.
    pub async fn launch(&self, patience: Duration) -> anyhow::Result<Launch> {
        self.spawn()?.settled(patience).await
    }

    /// Starts the gateway and waits for nothing.
    pub fn spawn(&self) -> anyhow::Result<Starting> {
        let mut command = match &self.group {
            None => Command::new(&self.program),
            Some(procs) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(JOIN_GROUP).arg(procs).arg(&self.program);
                shell
            }
        };
        command.args(&self.arguments).arg("--config").arg(self.path().join("tenterhook.toml"));
        command.current_dir(self.path()).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{}", self.program.display()))?;
        let stderr = child.stderr.take().context("its stderr is a pipe")?;
        let log = Log { lines: Arc::default(), witness: self.witness.clone() };
        let (found, addresses) = watch::channel(None);
        let following = tokio::spawn(follow(stderr, log.clone(), found));
        Ok(Starting { child, log, addresses, following })
    }
}

/// A gateway that may not be ready yet. Dropped: killed.
pub struct Starting {
    child: Child,
    log: Log,
    addresses: watch::Receiver<Option<Addresses>>,
    following: JoinHandle<()>,
}

impl Starting {
    /// Waits until it is ready; an error where it ends before.
    pub async fn ready(self) -> anyhow::Result<Gateway> {
        match self.settled(PATIENCE).await? {
            Launch::Ready(gateway) => Ok(*gateway),
            Launch::Ended { said, .. } => anyhow::bail!("the gateway ended before it was ready:\n{said}"),
        }
    }

    /// Waits until it is ready or ends.
    async fn settled(mut self, patience: Duration) -> anyhow::Result<Launch> {
        let waited = tokio::time::timeout(patience, async {
            let at = self.addresses.wait_for(Option::is_some).await.ok().and_then(|at| at.clone());
            // Its stderr is at its end: so is the process, or nearly.
            let status = if at.is_none() { Some(self.child.wait().await?) } else { None };
            anyhow::Ok((at, status))
        });
        let waited = waited.await;
        let Self { child, log, following, .. } = self;
        match waited {
            Ok(Ok((Some(at), _))) => {
                let client = super::client()?;
                Ok(Launch::Ready(Box::new(Gateway { child, at, log, following, client })))
            }
            Ok(Ok((None, status))) => {
                let _ = following.await;
                Ok(Launch::Ended { status: status.context("it ended")?, said: log.tail() })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => anyhow::bail!("the gateway did not get ready:\n{}", log.tail()),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// SIGKILL, wherever it is; whether it had got ready.
    pub async fn kill(mut self) -> anyhow::Result<bool> {
        self.child.kill().await?;
        self.following.await?;
        Ok(self.addresses.borrow().is_some())
    }
}

/// The log lines of some events, which are kept, whatever their number.
#[derive(Clone, Debug, Default)]
struct Witness {
    events: Vec<String>,
    lines: Arc<Mutex<Vec<String>>>,
}

/// What came of starting a gateway.
pub enum Launch {
    /// It runs.
    Ready(Box<Gateway>),
    /// It ended before it was ready.
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines that it wrote.
        said: String,
    },
}

#[derive(Clone, Debug, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    witness: Witness,
}

impl Log {
    fn push(&self, line: String) {
        if self.witness.events.iter().any(|event| line.contains(event)) {
            self.witness.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_KEPT {
            lines.drain(LINES_KEPT / 4..LINES_KEPT / 2);
        }
        lines.push(line);
    }

    fn whole(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The last lines: what a person looks at first.
    fn tail(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

/// Keeps the log, and finds the line in which the gateway says where it listens.
async fn follow(stderr: tokio::process::ChildStderr, log: Log, found: watch::Sender<Option<Addresses>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("gateway_ready")
            && let Ok(entry) = serde_json::from_str::<Value>(&line)
        {
            let address = |name: &str| format!("http://{}", entry[name].as_str().unwrap_or_default());
            let _ = found.send(Some(Addresses { ingress: address("ingress"), admin: address("admin") }));
        }
        log.push(line);
    }
}

/// A running gateway. Dropped: killed.
pub struct Gateway {
    child: Child,
    /// Where it listens.
    pub at: Addresses,
    log: Log,
    following: JoinHandle<()>,
    client: reqwest::Client,
}

impl Gateway {
    /// SIGKILL: no goodbye.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        // What it had logged is in the pipe still.
        Ok(self.following.await?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_raw(i32::try_from(self.pid()?)?).context("a process id")?, signal)?)
    }

    /// Its process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the gateway has ended")
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// How it ends.
    pub async fn ended(mut self) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.context("the gateway does not end")??;
        self.following.await?;
        Ok(status)
    }

    /// How it ended, if it did.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// What it logged: the beginning and the end where it is long.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.whole()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.log.tail()
    }

    /// An answer of the admin API.
    pub async fn admin(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.admin_text(path).await?)?)
    }

    /// The answer to an order of the admin API; an error where it is none, or refused.
    pub async fn order(&self, path: &str, order: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.at.admin)).timeout(Duration::from_secs(60));
        let request = request.header("content-type", "application/json").body(order.to_string());
        let response = request.send().await?;
        let (status, text) = (response.status(), response.text().await?);
        anyhow::ensure!(status.is_success(), "{path} {order}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// The text of a page of the admin listener.
    pub async fn admin_text(&self, path: &str) -> anyhow::Result<String> {
        let request = self.client.get(format!("{}{path}", self.at.admin)).timeout(Duration::from_secs(60));
        Ok(request.send().await?.text().await?)
    }

    /// The status of a page of the admin listener, as `/readyz`.
    pub async fn admin_status(&self, path: &str) -> anyhow::Result<u16> {
        let request = self.client.get(format!("{}{path}", self.at.admin)).timeout(Duration::from_secs(10));
        Ok(request.send().await?.status().as_u16())
    }

    /// The ledger, once `wanted` says that it is as it should be.
    pub async fn ledger_when(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while tokio::time::Instant::now() < deadline {
            look.tick().await;
            last = self.admin("/api/v1/ledger").await?;
            anyhow::ensure!(last["balanced"] == true, "the ledger does not balance: {last}");
            if wanted(&last) {
                return Ok(last);
            }
        }
        anyhow::bail!("{what}: never; the ledger is {last}\n{}", self.log_tail())
    }

    /// Resident memory, MiB.
    pub fn rss_mib(&self) -> anyhow::Result<f64> {
        rss_mib(self.pid()?)
    }

    /// Orders something of the admin API, as `/api/v1/reload`.
    pub async fn tell(&self, path: &str) -> anyhow::Result<()> {
        let request = self.client.post(format!("{}{path}", self.at.admin)).timeout(Duration::from_secs(60));
        let request = request.header("content-type", "application/json");
        let response = request.send().await?;
        let status = response.status();
        anyhow::ensure!(status.is_success(), "{path}: {status}: {}", response.text().await?);
        Ok(())
    }
}

/// Resident memory of a process, MiB.
pub fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
