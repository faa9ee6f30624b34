//! Builds the parts from a config, starts them, reloads them and stops them in order.
//!
//! Start: config → listeners bound → store open → destinations checked → dispatcher, ingress, admin. Stop is the way
//! back: ingress drains first, so that nothing new is owed; then the dispatcher; then admin; the store is closed last.

mod answers;
mod confirm;
mod gateway;
mod keys;
mod registration;
mod upkeep;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::model::{Clock, SystemClock};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;

pub use gateway::Gateway;

/// A running gateway.
pub struct Server {
    gateway: Arc<Gateway>,
    ingress: SocketAddr,
    admin: SocketAddr,
    stop_ingress: CancellationToken,
    stop_dispatcher: CancellationToken,
    stop_admin: CancellationToken,
    tasks: Tasks,
}

struct Tasks {
    ingress: JoinHandle<()>,
    dispatcher: JoinHandle<()>,
    admin: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

/// Why a gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// The config is wrong.
    Config(ConfigError),
    /// A destination must not be started with: each a line and a hint.
    Destinations(Vec<(String, String)>),
    /// An address cannot be listened on.
    Listen {
        /// The config's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// A certificate cannot be used.
    Certificate(String),
    /// The store does not open.
    Store(StoreError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Destinations(lines) => {
                let lines: Vec<_> =
                    lines.iter().map(|(line, hint)| format!("{line}\nhint: {hint}")).collect();
                write!(f, "{}", lines.join("\n\n"))
            }
            Self::Listen { key, address, error } => write!(
                f,
                "cannot listen on {address}: {error}\nhint: another process may hold the port; change `{key}` in the config"
            ),
            Self::Certificate(message) => write!(f, "{message}"),
            Self::Store(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Reads the config at `path` and starts everything that it says. `environment` is what overrides and `env:`
    /// references are taken from, now and at each reload.
    pub async fn start(path: &Path, environment: BTreeMap<String, String>) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let config = gateway::load(path, &environment, &clock).await.map_err(StartError::Config)?;
        Self::start_with(config, environment, clock).await
    }

    /// Starts what `config` says.
    pub async fn start_with(
        config: Config,
        environment: BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        Self::start_around(config, environment, clock, |store| store).await
    }

    /// Starts what `config` says, with something around its store: a proof has to see that a store which breaks its
    /// promises is noticed.
    pub async fn start_around(
        config: Config,
        environment: BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
        around: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Result<Self, StartError> {
        let ingress = bind("server.listen", config.server.listen).await?;
        let admin = bind("server.admin_listen", config.server.admin_listen).await?;
        let tls = gateway::tls(&config).map_err(StartError::Certificate)?;
        gateway::check_destinations(&config).await.map_err(StartError::Destinations)?;
        let metrics = Arc::new(Metrics::new());
        let store = gateway::open_store(&config, &clock, &metrics).await.map_err(StartError::Store)?;
        let store = store.around(around);
        let gateway = Gateway::new(config, environment, clock, metrics, store, tls);
        Ok(Self::run(gateway, ingress, admin))
    }

    fn run(gateway: Arc<Gateway>, ingress: TcpListener, admin: TcpListener) -> Self {
        let config = gateway.config();
        let grace = config.server.grace;
        let [stop_ingress, stop_dispatcher, stop_admin] = [(); 3].map(|()| CancellationToken::new());
        let addresses = [&ingress, &admin].map(|listener| listener.local_addr().ok());
        let dispatcher = Arc::clone(gateway.dispatcher());
        let tasks = Tasks {
            ingress: tokio::spawn(gateway::serve_ingress(
                Arc::clone(&gateway),
                ingress,
                stop_ingress.clone(),
                grace,
            )),
            dispatcher: tokio::spawn(dispatcher.run(stop_dispatcher.clone(), grace)),
            admin: tokio::spawn(gateway::serve_admin(Arc::clone(&gateway), admin, stop_admin.clone())),
            upkeep: tokio::spawn(upkeep::run(Arc::clone(&gateway), stop_dispatcher.clone())),
        };
        Self {
            ingress: addresses[0].unwrap_or(config.server.listen),
            admin: addresses[1].unwrap_or(config.server.admin_listen),
            gateway,
            stop_ingress,
            stop_dispatcher,
            stop_admin,
            tasks,
        }
    }

    /// Where ingress listens.
    #[must_use]
    pub fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The running parts: config, store, reload.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Stops in order, giving requests and attempts under way the grace of the config. Drop the future to stop at once:
    /// what was acknowledged is in the store either way.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.stop_ingress.cancel();
        let _ = self.tasks.ingress.await;
        self.stop_dispatcher.cancel();
        let _ = self.tasks.dispatcher.await;
        let _ = self.tasks.upkeep.await;
        self.stop_admin.cancel();
        let _ = self.tasks.admin.await;
        self.gateway.store().close().await
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { key, address, error })
}
