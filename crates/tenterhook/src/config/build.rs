//! Builds the parts of a checked file, in the order in which they need one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::destination::{KindSettings, Senders};
use super::file::{Node, Table};
use super::problem::{Findings, suggestion};
use super::routes::{Names, PlacedRoute};
use super::schema::{self, SOURCE};
use super::secrets::Resolver;
use super::section::Section;
use super::{
    AdminSettings, ConfiguredDestination, ServerSettings, StoreSettings, destination, gateway, learnt,
    respond, routes, source,
};
use crate::destination::command::CommandDestination;
use crate::destination::http::HttpDestination;
use crate::destination::{CheckError, Destination};
use crate::model::{DestinationName, SourceName, SystemClock};
use crate::source::Source;

/// Everything that a config is made of.
pub(super) struct Parts {
    pub(super) server: ServerSettings,
    pub(super) store: StoreSettings,
    pub(super) admin: AdminSettings,
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) destinations: BTreeMap<DestinationName, ConfiguredDestination>,
}

/// Builds all parts. Where `findings` has a problem afterwards, they are not to be used.
pub(super) fn build(root: &Table, resolver: &mut Resolver<'_>, findings: &mut Findings) -> Parts {
    let server = gateway::server(root, resolver, findings);
    let store = gateway::store(root, resolver, findings);
    resolver.learnt = learnt::directory(&store.url);
    let admin = gateway::admin(root, &server, resolver, findings);
    let source_paths = paths(root, "sources");
    let destination_paths = paths(root, "destinations");
    let source_sections: Vec<_> = source_paths
        .iter()
        .map(|entry| (Section::new(&entry.path, SOURCE, Some(entry.node)), entry.name))
        .collect();
    let destination_sections: Vec<_> = destination_paths
        .iter()
        .map(|entry| {
            let kind = entry.node.table().and_then(|table| table.node("type")).and_then(Node::text);
            (Section::new(&entry.path, schema::keys("destinations", kind), Some(entry.node)), entry.name)
        })
        .collect();

    let mut built = Vec::new();
    for (section, name) in &source_sections {
        let Ok(name) = name.parse::<SourceName>() else { continue };
        built.extend(source::build(&name, *section, server.rate_per_address, resolver, findings));
    }
    check_paths(&source_sections, findings);
    check_body_limits(&built, &source_sections, server.unverified_bytes_max, findings);
    let names = Names {
        sources: source_paths.iter().map(|entry| entry.name).collect(),
        destinations: destination_paths.iter().map(|entry| entry.name).collect(),
    };
    check_unmatched(&source_sections, &names, findings);
    let entries = root.entries("routes");
    let routes = routes::build(entries, &names, findings);
    routes::warn_about_loose_ends(&routes, &source_sections, &destination_sections, findings);
    let sources = with_routes(built, routes);
    for source in &sources {
        if let Some((section, _)) = source_sections.iter().find(|(_, name)| *name == source.name.as_str()) {
            respond::check_destination(source, *section, &destination_sections, findings);
        }
    }
    let destinations = destinations(&destination_sections, &sources, resolver, findings);
    Parts { server, store, admin, sources, destinations }
}

/// An entry `[section.name]`.
struct Entry<'f> {
    path: String,
    name: &'f str,
    node: &'f Node,
}

fn paths<'f>(root: &'f Table, section: &str) -> Vec<Entry<'f>> {
    let entries =
        root.node(section).and_then(Node::table).map(|table| table.0.as_slice()).unwrap_or_default();
    entries
        .iter()
        .filter(|(_, node)| node.table().is_some())
        .map(|(name, node)| Entry { path: format!("{section}.{name}"), name, node })
        .collect()
}

/// Two sources cannot be at the same path.
fn check_paths(sources: &[(Section<'_>, &str)], findings: &mut Findings) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for (section, name) in sources {
        let path = section.text("path").unwrap_or_else(|| format!("/webhooks/{name}"));
        match taken.get(&path) {
            Some(other) => findings.problem(
                &section.at("path"),
                format!("source `{other}` is already at `{path}`"),
                "give one of them a `path` of its own",
            ),
            None => {
                taken.insert(path, name);
            }
        }
    }
}

/// A body that is larger than the budget for all bodies could never be taken.
fn check_body_limits(
    built: &[Source],
    sections: &[(Section<'_>, &str)],
    unverified_bytes_max: u64,
    findings: &mut Findings,
) {
    for source in built.iter().filter(|source| source.limits.body_bytes_max > unverified_bytes_max) {
        let Some((section, _)) = sections.iter().find(|(_, name)| *name == source.name.as_str()) else {
            continue;
        };
        findings.problem(
            &section.at("body_bytes_max"),
            format!(
                "{} for one body is more than `server.unverified_bytes_max` allows for all together",
                super::values::size_text(source.limits.body_bytes_max)
            ),
            "raise that one, or lower this",
        );
    }
}

fn check_unmatched(sources: &[(Section<'_>, &str)], names: &Names<'_>, findings: &mut Findings) {
    for (section, _) in sources {
        let text = section.text("unmatched").unwrap_or_default();
        if let Some(destination) = text.strip_prefix("deliver:")
            && !names.destinations.contains(&destination)
        {
            let message = format!("unknown destination `{}`", super::problem::shown(destination));
            findings.problem(&section.at("unmatched"), message, suggestion(destination, &names.destinations));
        }
    }
}

fn with_routes(sources: Vec<Source>, routes: Vec<PlacedRoute>) -> Vec<Arc<Source>> {
    let mut by_source: BTreeMap<SourceName, Vec<_>> = BTreeMap::new();
    for placed in routes {
        by_source.entry(placed.source).or_default().push(placed.route);
    }
    sources
        .into_iter()
        .map(|mut source| {
            source.routes = by_source.remove(&source.name).unwrap_or_default();
            Arc::new(source)
        })
        .collect()
}

fn destinations(
    sections: &[(Section<'_>, &str)],
    sources: &[Arc<Source>],
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> BTreeMap<DestinationName, ConfiguredDestination> {
    let mut destinations = BTreeMap::new();
    for (section, name) in sections {
        let Ok(name) = name.parse::<DestinationName>() else { continue };
        let known = findings.problems.len();
        let Some(settings) = destination::settings(*section, &senders(sources, &name), resolver, findings)
        else {
            continue;
        };
        if findings.problems.len() > known {
            // What it would be built from is wrong: building it would say the same again, in other words.
            continue;
        }
        match connect(settings.kind) {
            Ok(destination) => {
                let configured =
                    ConfiguredDestination { destination, lane: settings.lane, target: settings.target };
                destinations.insert(name, configured);
            }
            Err(error) => findings.problem(&section.place(), error.message, error.hint),
        }
    }
    destinations
}

/// Makes a destination of its kind. The clock dates signatures.
fn connect(settings: KindSettings) -> Result<Arc<dyn Destination>, CheckError> {
    Ok(match settings {
        KindSettings::Http(settings) => {
            Arc::new(HttpDestination::new(*settings, Arc::new(SystemClock::start()))?)
        }
        KindSettings::Command(settings) => Arc::new(CommandDestination::new(settings)?),
    })
}

/// The sources whose events may come to a destination.
fn senders(sources: &[Arc<Source>], destination: &DestinationName) -> Senders {
    let sends = |source: &&Arc<Source>| {
        source.routes.iter().any(|route| route.destination == *destination)
            || source.unmatched == crate::source::Unmatched::Deliver(destination.clone())
    };
    // A key that a provider brought is nobody's but the provider's: no handler can verify with it.
    let sender = |source: &Arc<Source>| {
        let secrets = source.verifier.secrets().iter().take(source.secrets_configured).cloned().collect();
        Some((source.name.clone(), Arc::new(source.verifier.with_secrets(secrets).ok()?)))
    };
    sources.iter().filter(sends).filter_map(sender).collect()
}
