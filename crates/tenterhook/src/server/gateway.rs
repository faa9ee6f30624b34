//! What is running: the config's present generation and the parts that live through reloads. The admin API sees it as
//! [`Live`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answers::Listener;
use super::confirm::Confirmer;
use super::keys::KeyFetcher;
use super::registration::Keeper;
use crate::admin::auth::{Auth, Token};
use crate::admin::{self, AdminState};
use crate::config::{self, AdminSettings, Config, ConfigError, ConfiguredDestination, Problem};
use crate::destination::Destination;
use crate::dispatcher::{Dispatcher, LanePolicy};
use crate::ingress::{Generation, Ingress, IngressSettings, KeepKey};
use crate::model::{Clock, DestinationName, LaneView, Registration, Reply, SourceName, Timestamp};
use crate::net::listener::{self, ListenerSettings};
use crate::net::tls::server_config;
use crate::ops::Ops;
use crate::ops::live::{DestinationView, Live, RegistrationError, SourceView};
use crate::store::memory::MemoryStore;
use crate::store::sqlite::{SqliteSettings, SqliteStore};
use crate::store::{AuditEntry, Store, StoreError, StoreErrorKind};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::rejections::Rejections;

/// How long the admin listener waits for answers under way when it stops.
const ADMIN_GRACE: Duration = Duration::from_secs(2);

/// The longest that an answer of the admin API may take: bulk changes work in slices.
const ADMIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A certificate that can be swapped while connections run.
pub(super) type TlsSlot = Arc<ArcSwap<rustls::ServerConfig>>;

/// The running gateway.
pub struct Gateway {
    config: ArcSwap<Config>,
    environment: BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    fatal: Option<watch::Receiver<Option<String>>>,
    rejections: Arc<Rejections>,
    dispatcher: Arc<Dispatcher>,
    ingress: Arc<Ingress>,
    tls: Option<TlsSlot>,
    keeper: Arc<dyn KeepKey>,
    /// One reload, or one key that is learnt, at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    pub(super) fn new(
        config: Config,
        environment: BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        opened: Opened,
        tls: Option<TlsSlot>,
    ) -> Arc<Self> {
        let Opened { store, fatal } = opened;
        let rejections = Arc::new(Rejections::default());
        let dispatcher =
            Dispatcher::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&metrics), fastrand::u64(..));
        name_metrics(&metrics, &config);
        dispatcher.set_destinations(destinations(&config));
        Arc::new_cyclic(|this| {
            let keeper: Arc<dyn KeepKey> = Arc::new(Keeper(Weak::clone(this)));
            let ingress = Ingress::new(
                Arc::clone(&store),
                Arc::clone(&clock),
                Arc::clone(&metrics),
                Arc::clone(&rejections),
                generation(&config, &keeper, &dispatcher),
            );
            Self {
                config: ArcSwap::from_pointee(config),
                environment,
                clock,
                metrics,
                store,
                fatal,
                rejections,
                dispatcher,
                ingress,
                tls,
                keeper,
                reloading: tokio::sync::Mutex::default(),
            }
        })
    }

    /// The way in.
    pub(super) fn ingress(&self) -> &Ingress {
        &self.ingress
    }

    /// Held by whoever changes the config that runs.
    pub(super) async fn one_at_a_time(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reloading.lock().await
    }

    /// Puts a config into place whose sources alone are new. To be called by whoever holds [`Self::one_at_a_time`].
    pub(super) fn replace(&self, next: Config) {
        self.ingress.set_generation(generation(&next, &self.keeper, &self.dispatcher));
        self.config.store(Arc::new(next));
    }

    /// A line in the audit trail for what the gateway did, if the store takes it in time.
    pub(super) async fn record(&self, actor: &str, action: &str, subject: String) {
        let (actor, action) = (actor.to_owned(), action.to_owned());
        let entry = AuditEntry { id: 0, at: self.clock.now(), actor, action, subject, count: 0 };
        let patience = self.config().server.commit_timeout;
        match tokio::time::timeout(patience, self.store.audit(entry)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "audit_failed"),
            Err(_) => tracing::warn!(error = "the store did not answer in time", "audit_failed"),
        }
    }

    /// The present generation of the config.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The refused requests of late.
    #[must_use]
    pub fn rejections(&self) -> &Rejections {
        &self.rejections
    }

    /// Waits until the store says that its disk cannot be believed any more, and says why. Never ends otherwise.
    pub async fn fatal(&self) -> String {
        let Some(mut fatal) = self.fatal.clone() else { return std::future::pending().await };
        match fatal.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// The dispatcher.
    #[must_use]
    pub fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// Reads the config again and puts it into place as one generation, or changes nothing and says why.
    pub async fn reload_as(&self, actor: &str) -> Result<(), ReloadError> {
        let _one_at_a_time = self.one_at_a_time().await;
        let now = self.config();
        let next = load(&now.path, &self.environment, &self.clock).await.map_err(ReloadError::Config)?;
        let fixed = now.unreloadable(&next);
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        check_destinations(&next).await.map_err(ReloadError::Destinations)?;
        if let (Some(slot), Some(renewed)) = (&self.tls, tls(&next).map_err(ReloadError::Certificate)?) {
            slot.store(renewed.load_full());
        }
        for warning in &next.warnings {
            tracing::warn!(key = %warning.key, message = %warning.message, "config_warning");
        }
        name_metrics(&self.metrics, &next);
        self.dispatcher.set_destinations(destinations(&next));
        self.ingress.set_generation(generation(&next, &self.keeper, &self.dispatcher));
        let subject = next.path.display().to_string();
        self.config.store(Arc::new(next));
        tracing::info!(config = %subject, "config_reloaded");
        self.record(actor, "reload", subject).await;
        Ok(())
    }
}

/// Why a reload changed nothing.
#[derive(Debug)]
pub enum ReloadError {
    /// The new config is wrong.
    Config(ConfigError),
    /// These keys changed, and count only at a start.
    NeedsRestart(Vec<Problem>),
    /// A destination must not be started with: each a line and a hint.
    Destinations(Vec<(String, String)>),
    /// A certificate cannot be used.
    Certificate(String),
}

impl std::fmt::Display for ReloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{}", error.render()),
            Self::NeedsRestart(problems) => {
                let lines =
                    problems.iter().map(|it| (format!("{}: {}", it.key, it.message), it.hint.clone()));
                write!(f, "{}", lines_with_hints(&lines.collect::<Vec<_>>()))
            }
            Self::Destinations(lines) => write!(f, "{}", lines_with_hints(lines)),
            Self::Certificate(message) => f.write_str(message),
        }
    }
}

#[async_trait]
impl Live for Gateway {
    fn lanes(&self) -> Vec<LaneView> {
        self.dispatcher.lanes()
    }

    fn sources(&self) -> Vec<SourceView> {
        let (config, now) = (self.config(), self.clock.now());
        let view = |source: &Arc<crate::source::Source>| SourceView {
            registration_until: self.ingress.registrations().pending_until(&source.name, now),
            ..super::view::source(source, &config.warnings, now)
        };
        config.sources.iter().map(view).collect()
    }

    fn destinations(&self) -> Vec<DestinationView> {
        let config = self.config();
        let view = |(name, configured): (&DestinationName, &ConfiguredDestination)| DestinationView {
            name: name.clone(),
            kind: configured.destination.kind().to_owned(),
            target: configured.target.clone(),
        };
        config.destinations.iter().map(view).collect()
    }

    fn config(&self) -> Value {
        self.config.load().masked.clone()
    }

    async fn test(&self, destination: &DestinationName) -> Option<Reply> {
        let configured = self.config().destinations.get(destination)?.clone();
        let message = super::view::test_message(self.clock.now())?;
        configured.destination.deliver(&[message]).await.pop()
    }

    fn register(
        &self,
        source: &SourceName,
        order: Registration,
    ) -> Result<Option<Timestamp>, RegistrationError> {
        Gateway::register(self, source, order)
    }

    async fn reload(&self) -> Result<(), String> {
        self.reload_as("admin").await.map_err(|error| error.to_string())
    }
}

/// Reads the config on a thread of its own: `exec:` references may take their time.
pub(super) async fn load(
    path: &Path,
    environment: &BTreeMap<String, String>,
    clock: &Arc<dyn Clock>,
) -> Result<Config, ConfigError> {
    let (path, environment, clock) = (path.to_owned(), environment.clone(), Arc::clone(clock));
    let read = tokio::task::spawn_blocking(move || config::load(&path, &environment, clock.now()));
    match read.await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The certificate of the ingress listener, read from its files.
pub(super) fn tls(config: &Config) -> Result<Option<TlsSlot>, String> {
    let Some(files) = &config.server.tls else { return Ok(None) };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
    };
    let (chain, key) = (read(&files.certificate_file)?, read(&files.key_file)?);
    let built = server_config(&chain, &key)
        .map_err(|error| format!("`{}`: {error}", files.certificate_file.display()))?;
    Ok(Some(Arc::new(ArcSwap::from_pointee(built))))
}

/// Refuses destinations that must not be started with, all of them at once; one that is only down is a warning.
pub(super) async fn check_destinations(config: &Config) -> Result<(), Vec<(String, String)>> {
    let mut refused = Vec::new();
    for (name, configured) in &config.destinations {
        match configured.destination.check().await {
            Ok(()) => {}
            Err(error) if error.refuses_start => {
                refused.push((format!("destinations.{name}: {}", error.message), error.hint));
            }
            Err(error) => {
                tracing::warn!(destination = %name, message = %error.message, "destination_not_ready");
            }
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// Lines with their hints, for people.
pub(super) fn lines_with_hints(lines: &[(String, String)]) -> String {
    let lines: Vec<_> = lines.iter().map(|(line, hint)| format!("{line}\nhint: {hint}")).collect();
    lines.join("\n\n")
}

/// A store, and how it says that its disk cannot be believed any more.
pub(super) struct Opened {
    store: Arc<dyn Store>,
    fatal: Option<watch::Receiver<Option<String>>>,
}

impl Opened {
    pub(super) fn around(self, around: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        Self { store: around(self.store), ..self }
    }
}

/// Opens the store that the config names, on a thread of its own: a large one takes a moment.
pub(super) async fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Opened, StoreError> {
    let Some(path) = config.store.url.strip_prefix("sqlite:") else {
        return Ok(Opened { store: Arc::new(MemoryStore::new(Arc::clone(clock))), fatal: None });
    };
    let backoff_max = config.destinations.values().map(|it| it.lane.retry.cap).max().unwrap_or_default();
    let defaults = SqliteSettings::new(path);
    let backoff_max = backoff_max.max(defaults.backoff_max);
    let begun_max =
        config.destinations.iter().map(|(name, it)| (name.clone(), it.lane.begun_max())).collect();
    let settings = SqliteSettings { bytes_max: config.store.bytes_max, backoff_max, begun_max, ..defaults };
    let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(settings, clock, metrics)).await;
    match opened {
        Ok(Ok(store)) => {
            let fatal = store.fatal();
            Ok(Opened { store: Arc::new(store), fatal: Some(fatal) })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "opening the store failed unexpectedly")),
    }
}

/// The part of a config that ingress works by.
fn generation(config: &Config, keeper: &Arc<dyn KeepKey>, dispatcher: &Arc<Dispatcher>) -> Generation {
    let server = &config.server;
    Generation {
        sources: config.sources.clone(),
        settings: IngressSettings {
            trusted_proxies: server.trusted_proxies.clone(),
            unverified_bytes_max: server.unverified_bytes_max,
            commit_timeout: server.commit_timeout,
            rate_per_address: server.rate_per_address,
            confirm: Some(Confirmer::new()),
            keys: Some(KeyFetcher::new(server.key_server.as_deref())),
            keeper: Some(Arc::clone(keeper)),
            listener: Some(Listener::new(dispatcher)),
        },
    }
}

/// The part of a config that the dispatcher works by.
fn destinations(config: &Config) -> BTreeMap<DestinationName, (Arc<dyn Destination>, LanePolicy)> {
    let part = |(name, configured): (&DestinationName, &ConfiguredDestination)| {
        (name.clone(), (Arc::clone(&configured.destination), configured.lane.clone()))
    };
    config.destinations.iter().map(part).collect()
}

fn name_metrics(metrics: &Metrics, config: &Config) {
    metrics.set_names(config.sources.iter().map(|source| &source.name), config.destinations.keys());
    let responding = config.sources.iter().filter(|source| source.respond.is_some());
    metrics.set_responding(responding.map(|source| &source.name));
}

/// Serves the ingress listener until `stop`.
pub(super) async fn serve_ingress(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    stop: CancellationToken,
    grace: Duration,
) {
    let config = gateway.config();
    let settings = ListenerSettings {
        tls: gateway.tls.clone(),
        connections_max: config.server.connections_max,
        header_timeout: config.server.header_timeout,
        idle_timeout: config.server.idle_timeout,
        ..ListenerSettings::default()
    };
    drop(config);
    let ingress = Arc::clone(&gateway.ingress);
    let service = move |request, peer| {
        let ingress = Arc::clone(&ingress);
        async move { ingress.receive(request, peer).await }
    };
    listener::serve(listener, settings, service, stop, grace).await;
}

/// Serves the admin listener until `stop`.
pub(super) async fn serve_admin(gateway: Arc<Gateway>, listener: TcpListener, stop: CancellationToken) {
    let state = AdminState {
        ops: Arc::new(Ops::new(Arc::clone(&gateway.store), Arc::clone(&gateway.clock))),
        live: Some(Arc::clone(&gateway) as Arc<dyn Live>),
        metrics: Arc::clone(&gateway.metrics),
        rejections: Arc::clone(&gateway.rejections),
        auth: Arc::new(auth(&gateway.config().admin)),
        clock: Arc::clone(&gateway.clock),
    };
    let settings =
        ListenerSettings { request_timeout: Some(ADMIN_REQUEST_TIMEOUT), ..ListenerSettings::default() };
    let router = admin::router(state);
    let service = move |request, peer| admin::serve_request(router.clone(), request, peer);
    listener::serve(listener, settings, service, stop, ADMIN_GRACE).await;
}

/// Who may use the admin listener. Read at start: a change of the tokens needs a restart.
fn auth(settings: &AdminSettings) -> Auth {
    if settings.open {
        return Auth::open();
    }
    let token = |token: &config::AdminToken| Token {
        name: token.name.clone(),
        operator: token.operator,
        sha256: token.sha256,
    };
    Auth::tokens(settings.tokens.iter().map(token).collect())
}
