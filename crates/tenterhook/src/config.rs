//! The config: raw (as written) → checked (every problem found, each with its line) → built (parts ready to run).
//! Knows the shapes of sources, destinations, stores and policies; knows nothing of HTTP or of the pipeline.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::destination::Destination;
use crate::dispatcher::LanePolicy;
use crate::model::{DestinationName, Timestamp};
use crate::source::Source;
use crate::store::Retention;

/// A config, checked and built: what `server::run` starts and what a reload replaces, as one generation.
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// `[server]`.
    pub server: ServerSettings,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[sources.*]`, with their routes, by name.
    pub sources: Vec<Arc<Source>>,
    /// `[destinations.*]`, by name.
    pub destinations: BTreeMap<DestinationName, ConfiguredDestination>,
    /// `[[admin_tokens]]`.
    pub admin: AdminSettings,
    /// What is allowed but should be known (an old secret, a plain public listener): printed at start and by `check`.
    pub warnings: Vec<Problem>,
    /// The config as JSON with every secret masked, for `GET /api/v1/config`.
    pub masked: serde_json::Value,
}

/// One destination with its lane.
#[derive(Clone)]
pub struct ConfiguredDestination {
    /// Ready to deliver.
    pub destination: Arc<dyn Destination>,
    /// How it is delivered to.
    pub lane: LanePolicy,
    /// One line for lists: kind and target, without credentials.
    pub target: String,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Ingress.
    pub listen: SocketAddr,
    /// Admin API, metrics, console.
    pub admin_listen: SocketAddr,
    /// Certificate chain and key of the ingress listener, PEM; reloaded on SIGHUP.
    pub tls: Option<TlsSettings>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at the same time.
    pub connections_max: u32,
    /// Memory for bodies that are not verified yet, over all connections, in bytes.
    pub unverified_bytes_max: u64,
    /// The headers of a request have to arrive within this time.
    pub header_timeout: Duration,
    /// An idle connection is closed after this time.
    pub idle_timeout: Duration,
    /// How long the store may take to make an event durable before the answer is 503.
    pub commit_timeout: Duration,
    /// Requests per second from one address before verification, where the source says nothing.
    pub rate_per_address: Option<crate::policy::limit::RatePolicy>,
    /// How long a stop waits for requests and attempts in flight.
    pub grace: Duration,
    /// Worker threads; 0: one less than there are cores, at least one.
    pub workers: u32,
    /// Log format and filter.
    pub log: LogSettings,
}

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// PEM chain.
    pub certificate_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
}

/// How logs look.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// One JSON object a line instead of text for people.
    pub json: bool,
    /// A filter such as `info` or `tenterhook=debug`.
    pub filter: String,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `sqlite:PATH` (absolute by now) or `memory:`.
    pub url: String,
    /// What may be removed, and when.
    pub retention: Retention,
    /// The store refuses events beyond this many bytes on disk.
    pub bytes_max: Option<u64>,
}

/// Who may use the admin API.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// `admin_auth = "none"`: anybody on the loopback listener.
    pub open: bool,
    /// `[[admin_tokens]]`; only hashes are kept.
    pub tokens: Vec<AdminToken>,
}

/// One token's hash and role.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// The name, for the audit trail.
    pub name: String,
    /// May it change things.
    pub operator: bool,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
}

/// One thing that is wrong (or worth knowing) in a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, counted from 1; `None` for a problem of the environment.
    pub line: Option<usize>,
    /// The TOML path, such as `sources.stripe.secrets[0]`.
    pub key: String,
    /// What is wrong, one line, no secret.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Every problem of a config at once.
#[derive(Debug, thiserror::Error)]
#[error("{} problem(s) in {}", .problems.len(), .path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// All of them, in file order.
    pub problems: Vec<Problem>,
}

/// Reads, checks and builds the config at `path`. `environment` is what `TENTERHOOK__…` overrides and `env:` references
/// are taken from.
pub fn load(
    path: &Path,
    environment: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Config, ConfigError> {
    let _ = (path, environment, now);
    todo!()
}
