//! The real binary as a child process: started on free ports, killed or stopped by process id, asked over its own
//! API. And what stands around it: a handler that keeps a journal, and a sender that signs.

pub(crate) mod handler;
pub(crate) mod sender;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How long anything may take on a busy machine before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Where a gateway listens.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// `http://127.0.0.1:PORT` of the ingress listener.
    pub(crate) ingress: String,
    /// `http://127.0.0.1:PORT` of the admin listener.
    pub(crate) admin: String,
}

/// A running gateway. Dropped: killed.
pub(crate) struct Gateway {
    child: Child,
    /// Where it listens.
    pub(crate) at: Addresses,
    log: Arc<Mutex<Vec<String>>>,
}

/// A directory with a config, and how to start a gateway there.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Site {
    /// Writes `config` into a directory of its own. `[server]` and `[store]` are added: free ports, a database here.
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let head = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nadmin_auth = \"none\"\n\
                    log = { format = \"json\" }\n[store]\nurl = \"sqlite:tenterhook.db\"\n";
        std::fs::write(directory.path().join("tenterhook.toml"), format!("{head}{config}")).unwrap();
        Self { directory, environment: Vec::new() }
    }

    /// Sets an environment variable of the gateway.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The config file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("tenterhook.toml")
    }

    /// A command of the binary, with this site's config and environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenterhook"));
        command.args(arguments).arg("--config").arg(self.config()).current_dir(self.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Starts the gateway and waits until it says that it is ready.
    pub(crate) async fn start(&self) -> Gateway {
        let mut child =
            self.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, mut addresses) = watch::channel(None);
        let stderr = child.stderr.take().unwrap();
        tokio::spawn(follow(stderr, Arc::clone(&log), found));
        let waited = tokio::time::timeout(PATIENCE, addresses.wait_for(Option::is_some)).await;
        let at = match waited {
            Ok(Ok(found)) => found.clone().unwrap(),
            _ => panic!("the gateway did not get ready:\n{}", log.lock().unwrap().join("\n")),
        };
        Gateway { child, at, log }
    }
}

/// Keeps the log, and finds the line in which the gateway says where it listens.
async fn follow(
    stderr: tokio::process::ChildStderr,
    log: Arc<Mutex<Vec<String>>>,
    found: watch::Sender<Option<Addresses>>,
) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("gateway_ready") {
            let entry: Value = serde_json::from_str(&line).unwrap();
            let address = |name: &str| format!("http://{}", entry[name].as_str().unwrap());
            let _ = found.send(Some(Addresses { ingress: address("ingress"), admin: address("admin") }));
        }
        log.lock().unwrap().push(line);
    }
}

impl Gateway {
    /// A signal by number.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }

    /// How it ends.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops").unwrap()
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// An answer of the admin API.
    pub(crate) async fn admin(&self, path: &str) -> Value {
        let text = reqwest::get(format!("{}{path}", self.at.admin)).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// The text of a page of the admin listener.
    pub(crate) async fn admin_text(&self, path: &str) -> String {
        reqwest::get(format!("{}{path}", self.at.admin)).await.unwrap().text().await.unwrap()
    }

    /// The ledger, once `wanted` says that it is as it should be.
    pub(crate) async fn ledger_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            let ledger = self.admin("/api/v1/ledger").await;
            assert_eq!(ledger["balanced"], true, "{ledger}");
            if wanted(&ledger) {
                return ledger;
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "the ledger never became as wanted: {ledger}\n{}", self.log());
        }
    }
}
