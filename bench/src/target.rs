//! What is measured, each as a process of its own in a directory of its own: started, waited for, killed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::Instant;

use crate::http::ask;
use crate::usage::Usage;

/// The secret of every target.
pub(crate) const SECRET: &str = "bench-secret-of-no-value-0123456789";
const SECRET_ENV: &str = "TENTERHOOK_BENCH_SECRET";
/// How long a target may take to be ready: a store of millions has to be read.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Reads the body and answers 202.
    Bare,
    /// The same, with a signature check and an append to one file under group fdatasync.
    Bound,
    /// The gateway, one delivery owed for each event, to a destination that is paused: all that accepting costs.
    Accept,
    /// The gateway, delivering each event to a handler over HTTP.
    Deliver,
}

impl Kind {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Bound => "bound",
            Self::Accept => "accept",
            Self::Deliver => "deliver",
        }
    }

    /// Whether it is the gateway.
    pub(crate) fn is_gateway(self) -> bool {
        matches!(self, Self::Accept | Self::Deliver)
    }
}

/// Where the programs are, and where targets may write.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// `tenterhook`.
    pub gateway: PathBuf,
    /// The two references.
    pub reference: PathBuf,
    /// Makes every fsync of a process slower.
    pub slow_sync: Option<PathBuf>,
}

/// How a target is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'s> {
    /// What.
    pub kind: Kind,
    /// Where its file or database is.
    pub directory: &'s Path,
    /// Where the gateway delivers to.
    pub handler: SocketAddr,
    /// Every fsync takes this much longer.
    pub sync_delay: Duration,
}

/// A target that runs. Dropped, it is asked to end, and killed if it does not.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    /// Where requests go.
    pub address: SocketAddr,
    /// Path of the requests.
    pub path: &'static str,
    /// The gateway's admin API.
    pub admin: SocketAddr,
    /// From the start of the process until it said that it is ready.
    pub took: Duration,
}

impl Target {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(programs: &Programs, setting: Setting<'_>) -> anyhow::Result<Self> {
        let [address, admin] = free_addresses()?;
        let mut command = match setting.kind {
            Kind::Bare | Kind::Bound => reference(programs, setting, address),
            Kind::Accept | Kind::Deliver => gateway(programs, setting, address, admin)?,
        };
        command.env(SECRET_ENV, SECRET).stdin(Stdio::null()).stdout(Stdio::null());
        if !setting.sync_delay.is_zero() {
            let shim = programs.slow_sync.as_ref().context("slow fsyncs need `--slow-sync FILE`")?;
            command.env("LD_PRELOAD", shim).env("SLOW_SYNC_US", setting.sync_delay.as_micros().to_string());
        }
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let path = if setting.kind.is_gateway() { "/webhooks/github" } else { "/" };
        let mut target = Self { child, address, path, admin, took: Duration::ZERO };
        target.ready(setting.kind, start).await?;
        target.took = start.elapsed();
        Ok(target)
    }

    async fn ready(&mut self, kind: Kind, start: Instant) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        loop {
            tick.tick().await;
            match ask(self.address, "GET", "/readyz", "").await {
                Ok((200, _)) => return Ok(()),
                // The references know no health checks: that they answer is enough.
                Ok(_) if !kind.is_gateway() => return Ok(()),
                _ => {}
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start: {status}", kind.name());
            }
            ensure!(start.elapsed() < PATIENCE, "{} did not get ready", kind.name());
        }
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Pauses the gateway's destination, or lets it go on.
    pub(crate) async fn pause(&self, is_paused: bool) -> anyhow::Result<()> {
        let verb = if is_paused { "pause" } else { "resume" };
        let (status, body) =
            ask(self.admin, "POST", &format!("/api/v1/destinations/app/{verb}"), "{}").await?;
        ensure!(status == 200, "{verb} was answered {status}: {body}");
        Ok(())
    }

    /// A count of the gateway's ledger, by its JSON pointer.
    pub(crate) async fn ledger(&self, place: &str) -> anyhow::Result<u64> {
        let (status, body) = ask(self.admin, "GET", "/api/v1/ledger", "").await?;
        ensure!(status == 200, "the ledger was answered {status}: {body}");
        let ledger: serde_json::Value = serde_json::from_str(&body)?;
        ledger
            .pointer(place)
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("no {place}: {body}"))
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Target {
    /// Asked to end first: a build that counts what it does writes that down at its end.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Addresses that were free a moment ago.
fn free_addresses() -> anyhow::Result<[SocketAddr; 2]> {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let [first, second] = listeners;
    Ok([first?.local_addr()?, second?.local_addr()?])
}

fn reference(programs: &Programs, setting: Setting<'_>, address: SocketAddr) -> Command {
    let mut command = Command::new(&programs.reference);
    command.args(["--listen", &address.to_string()]).stderr(Stdio::inherit());
    match setting.kind {
        Kind::Bound => {
            let file = setting.directory.join("bound.log");
            command.args(["bound", "--secret-env", SECRET_ENV, "--file"]).arg(file);
        }
        _ => {
            command.arg("bare");
        }
    }
    command
}

fn gateway(
    programs: &Programs,
    setting: Setting<'_>,
    address: SocketAddr,
    admin: SocketAddr,
) -> anyhow::Result<Command> {
    // Everything that is not an address is as shipped.
    let config = format!(
        "[server]\nlisten = \"{address}\"\nadmin_listen = \"{admin}\"\nadmin_auth = \"none\"\n\
         log = {{ filter = \"error\" }}\n\
         [store]\nurl = \"sqlite:tenterhook.db\"\n\
         [sources.github]\nprovider = \"github\"\nsecrets = [\"env:{SECRET_ENV}\"]\n\
         [destinations.app]\ntype = \"http\"\nurl = \"http://{}/\"\n\
         [[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
        setting.handler
    );
    let file = setting.directory.join("tenterhook.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(&programs.gateway);
    command.arg("--config").arg(file).arg("serve").stderr(Stdio::inherit());
    Ok(command)
}
