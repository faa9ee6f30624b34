//! The config: raw (as written) → checked (every problem found, each with its line) → built (parts ready to run).
//! Knows the shapes of sources, destinations, stores and policies; knows nothing of HTTP or of the pipeline.

mod build;
mod check;
mod destination;
mod endpoints;
mod exec;
mod file;
mod gateway;
pub mod init;
pub mod learnt;
mod mask;
mod overrides;
mod problem;
pub mod reference;
mod reload;
mod respond;
mod routes;
mod schema;
mod secrets;
mod section;
mod settings;
mod source;
mod url;
mod values;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use self::endpoints::{Endpoints, endpoints};
use self::problem::Findings;
pub use self::problem::{ConfigError, Problem};
use self::secrets::Resolver;
use crate::destination::Destination;
use crate::dispatcher::LanePolicy;
use crate::model::{DestinationName, Timestamp};
use crate::source::Source;
use crate::store::Retention;

/// A config, checked and built: what `server::run` starts and what a reload replaces, as one generation.
#[derive(Clone)]
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
    /// Where the keys of `[server]` and `[store]` are written, for problems of a reload.
    lines: BTreeMap<String, usize>,
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
    /// Stands in for the hosts that providers' keys are fetched from. For tests.
    pub key_server: Option<String>,
    /// How long a stop waits for requests and attempts in flight.
    pub grace: Duration,
    /// Worker threads; 0: one for each core.
    pub workers: u32,
    /// Log format and filter.
    pub log: LogSettings,
}

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM chain.
    pub certificate_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
}

/// How logs look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object a line instead of text for people.
    pub json: bool,
    /// A filter such as `info` or `tenterhook=debug`.
    pub filter: String,
}

/// Where the config is looked for, unless a command is told otherwise.
pub const DEFAULT_PATH: &str = "tenterhook.toml";

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

/// Reads, checks and builds the config at `path`. `environment` is what `TENTERHOOK__…` overrides and `env:` references
/// are taken from; `now` judges dates. Blocks: it reads files and runs `exec:` references, each for 10 s at most.
pub fn load(
    path: &Path,
    environment: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Config, ConfigError> {
    let refused = |problems| ConfigError { path: path.to_owned(), problems };
    let text = read(path).map_err(|problem| refused(vec![problem]))?;
    let mut root = file::parse(&text).map_err(refused)?;
    let mut findings = Findings::default();
    overrides::apply(&mut root, environment, &mut findings);
    check::check(&root, &mut findings);
    let mut resolver = Resolver::new(&root, directory_of(path), environment, now);
    let parts = build::build(&root, &mut resolver, &mut findings);
    let Findings { mut problems, mut warnings } = findings;
    // Those of the environment come last: they have no line.
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    warnings.sort_by_key(|warning| warning.line.unwrap_or(usize::MAX));
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    Ok(Config {
        path: path.to_owned(),
        server: parts.server,
        store: parts.store,
        sources: parts.sources,
        destinations: parts.destinations,
        admin: parts.admin,
        warnings,
        masked: mask::masked(&root),
        lines: root.lines_of(&["server", "store"]),
    })
}

/// Where relative paths of a config start.
fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn read(path: &Path) -> Result<String, Problem> {
    let problem = |line, message: String, hint: &str| Problem {
        line,
        key: String::new(),
        message,
        hint: hint.to_owned(),
    };
    let cannot = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "`tenterhook init` writes one; `--config PATH` names another",
            _ => "",
        };
        problem(None, format!("cannot read the config: {}", error.kind()), hint)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(file::FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > file::FILE_BYTES_MAX {
        return Err(problem(None, "the config is longer than 4 MiB".to_owned(), ""));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        problem(Some(line), "not UTF-8 text".to_owned(), "save the file as UTF-8")
    })
}
