//! `tenterhook serve`: runs the gateway until it is told to stop. SIGHUP reloads; SIGTERM and SIGINT stop gracefully, a
//! second one at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Global;
use super::check;
use super::failure::{Exit, Failure};
use crate::config::Config;
use crate::model::{Clock, SystemClock};
use crate::server::{Server, StartError};
use crate::store::StoreErrorKind;
use crate::telemetry::log;

/// Runs the gateway
#[derive(Args, Debug)]
pub struct ServeArgs {}

/// Runs the command.
pub fn run(global: &Global, _args: &ServeArgs) -> Result<(), Failure> {
    let environment: BTreeMap<String, String> = super::environment();
    let config = check::load(global, &environment)?;
    log::init(config.server.log.json, &config.server.log.filter)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers(&config)).enable_all().build()?;
    runtime.block_on(serve(config, environment))
}

/// As many threads as configured; by default one for each core. The store's writer has one of its own, and waits for the
/// disk half of its time: on two cores a second worker was measured to accept a fifth more.
fn workers(config: &Config) -> usize {
    match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        some => some as usize,
    }
}

struct Signals {
    hangup: Signal,
    stop: Stop,
    /// Caught so that a file size limit is an error of the write, not the end of the process.
    _file_size: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        /// SIGXFSZ on every Linux architecture but the ones that number signals their own way.
        const SIGXFSZ: i32 = 25;
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            stop: Stop {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }
}

/// SIGTERM or SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(config: Config, environment: BTreeMap<String, String>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    for warning in &config.warnings {
        tracing::warn!(key = %warning.key, message = %warning.message, hint = %warning.hint, "config_warning");
    }
    let server = Server::start_with(config, environment, clock).await.map_err(|error| refusal(&error))?;
    let (ingress, admin) = (server.ingress(), server.admin());
    tracing::info!(%ingress, %admin, pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "gateway_ready");
    notify(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            () = signals.stop.asked() => break,
            _ = signals.hangup.recv() => reload(&server).await,
            why = server.gateway().fatal() => {
                return Err(Failure::new(Exit::Internal, format!("the store cannot go on: {why}"))
                    .hint("check the disk; what was acknowledged is on it, and is delivered after a restart, unless the next start says that the file itself is damaged"));
            }
        }
    }
    tracing::info!("gateway_stopping");
    notify(&[NotifyState::Stopping]);
    tokio::select! {
        stopped = server.stop() => stopped.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?,
        () = signals.stop.asked() => tracing::warn!("gateway_stopped_at_once"),
    }
    Ok(())
}

async fn reload(server: &Server) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    if let Err(error) = server.gateway().reload_as("SIGHUP").await {
        tracing::error!(error = %error, "config_reload_refused");
    }
    notify(&[NotifyState::Ready]);
}

/// Tells systemd, where it started us. Nobody minds where it did not.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "sd_notify_failed");
    }
}

fn refusal(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Store(error)
            if !matches!(error.kind, StoreErrorKind::Locked | StoreErrorKind::Incompatible) =>
        {
            Exit::Internal
        }
        _ => Exit::Usage,
    };
    let hint = match error {
        StartError::Store(error) => advice(error.kind),
        _ => "",
    };
    Failure::new(exit, error.to_string()).hint(hint)
}

/// What a person does about a store that does not open.
fn advice(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Corrupt => {
            "the store is damaged: keep a copy of its files, check the disk, then restore a backup, or save what can be \
             read with `sqlite3 FILE .recover`; providers can send again what is lost"
        }
        StoreErrorKind::Incompatible => {
            "name another file in `store.url`, or bring back the one that belongs there"
        }
        StoreErrorKind::Full => "make room on the disk",
        StoreErrorKind::Locked => "only one gateway at a time can have a store",
        StoreErrorKind::Unavailable | StoreErrorKind::Invalid => "check the disk, and who may write there",
    }
}
