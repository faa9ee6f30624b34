//! Where a gateway is: as much of a config as a command needs that talks to one. No secret is looked up, and what is
//! wrong elsewhere in the file is of no account.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::file::{self, Table};
use super::problem::Findings;
use super::secrets::Resolver;
use super::{ConfigError, check, directory_of, gateway, overrides, read};
use crate::model::Timestamp;

/// Where a gateway is, running or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `sqlite:PATH` (absolute) or `memory:`.
    pub store_url: String,
    /// The admin API.
    pub admin_listen: SocketAddr,
}

/// Reads `[server]` and `[store]` of the config at `path`, with the overrides of `environment`.
pub fn endpoints(path: &Path, environment: &BTreeMap<String, String>) -> Result<Endpoints, ConfigError> {
    let refused = |problems| ConfigError { path: path.to_owned(), problems };
    let text = read(path).map_err(|problem| refused(vec![problem]))?;
    let mut root = file::parse(&text).map_err(refused)?;
    overrides::apply(&mut root, environment, &mut Findings::default());
    let Table(sections) = root;
    let root = Table(sections.into_iter().filter(|(name, _)| name == "server" || name == "store").collect());
    let mut findings = Findings::default();
    check::check(&root, &mut findings);
    let directory = directory_of(path);
    let resolver = Resolver::new(&root, directory, environment, Timestamp::default());
    let admin_listen = gateway::socket(&root, "admin_listen");
    let store = gateway::store(&root, &resolver, &mut findings);
    if findings.problems.is_empty() {
        Ok(Endpoints { store_url: store.url, admin_listen })
    } else {
        Err(refused(findings.problems))
    }
}
