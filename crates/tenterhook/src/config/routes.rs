//! Builds `[[routes]]`: which source's events go to which destination. Warns about what can never happen.

use std::collections::BTreeSet;

use super::file::Node;
use super::problem::{Findings, Place, shown, suggestion};
use super::schema::ROUTE;
use super::section::Section;
use super::source::locators;
use crate::model::{DestinationName, OnDead, Priority, SourceName};
use crate::policy::route::{Glob, Route};

/// The names that a route may use.
pub(super) struct Names<'f> {
    /// Every source of the file, also one that is wrong in itself.
    pub(super) sources: Vec<&'f str>,
    /// Every destination of the file, likewise.
    pub(super) destinations: Vec<&'f str>,
}

/// One route of one source, with the place of its entry.
pub(super) struct PlacedRoute {
    pub(super) source: SourceName,
    pub(super) route: Route,
    place: Place,
}

/// Builds the routes in file order, one per source that an entry names.
pub(super) fn build(entries: &[Node], names: &Names<'_>, findings: &mut Findings) -> Vec<PlacedRoute> {
    let mut routes: Vec<PlacedRoute> = Vec::new();
    for (index, node) in entries.iter().enumerate() {
        let path = format!("routes[{index}]");
        let section = Section::new(&path, ROUTE, Some(node));
        let destination = destination(section, names, findings);
        for (place, item) in section.items("source") {
            let source = source(&place, item, names, findings);
            if let (Some(source), Some(destination)) = (source, destination.clone()) {
                let route = route(section, destination);
                warn_if_shadowed(&routes, &source, &route, &section.place(), findings);
                if route.on_dead == OnDead::Hold && route.ordering_key.is_none() {
                    let message = "has no effect: without an `ordering_key` nothing waits behind anything";
                    findings.warning(&section.at("on_dead"), message, "add one, or remove this");
                }
                routes.push(PlacedRoute { source, route, place: section.place() });
            }
        }
        if section.has("source") && section.items("source").is_empty() {
            findings.problem(&section.at("source"), "the list is empty", "name a source");
        }
    }
    routes
}

fn destination(section: Section<'_>, names: &Names<'_>, findings: &mut Findings) -> Option<DestinationName> {
    let written = section.text("destination")?;
    if !names.destinations.contains(&written.as_str()) {
        let message = format!("unknown destination `{}`", shown(&written));
        let hint = match names.destinations.is_empty() {
            true => format!("add a section `[destinations.{}]`", shown(&written)),
            false => suggestion(&written, &names.destinations),
        };
        findings.problem(&section.at("destination"), message, hint);
        return None;
    }
    written.parse().ok()
}

fn source(place: &Place, item: &Node, names: &Names<'_>, findings: &mut Findings) -> Option<SourceName> {
    let written = item.text()?;
    if !names.sources.contains(&written) {
        let message = format!("unknown source `{}`", shown(written));
        let hint = match names.sources.is_empty() {
            true => format!("add a section `[sources.{}]`", shown(written)),
            false => suggestion(written, &names.sources),
        };
        findings.problem(place, message, hint);
        return None;
    }
    written.parse().ok()
}

fn route(section: Section<'_>, destination: DestinationName) -> Route {
    Route {
        events: section.texts("events").into_iter().map(Glob::new).collect(),
        destination,
        priority: match section.text("priority").as_deref() {
            Some("high") => Priority::High,
            Some("low") => Priority::Low,
            _ => Priority::Normal,
        },
        ordering_key: section.node("ordering_key").and_then(locators),
        on_dead: match section.text("on_dead").as_deref() {
            Some("hold") => OnDead::Hold,
            _ => OnDead::Continue,
        },
    }
}

/// The first matching route decides priority and ordering, so a later one that matches nothing new never acts.
fn warn_if_shadowed(
    earlier: &[PlacedRoute],
    source: &SourceName,
    route: &Route,
    place: &Place,
    findings: &mut Findings,
) {
    let to_the_same =
        earlier.iter().filter(|one| one.source == *source && one.route.destination == route.destination);
    for one in to_the_same {
        let takes_all = one.route.events.is_empty();
        let takes_each = !route.events.is_empty()
            && route
                .events
                .iter()
                .all(|glob| one.route.events.iter().any(|wider| wider.matches(glob.as_str())));
        if takes_all || takes_each {
            let message = format!(
                "never acts: `{}` already sends these events of `{source}` to `{}`",
                one.place.key, route.destination
            );
            findings.warning(place, message, "put it before that one, or remove it");
            return;
        }
    }
}

/// Warns about sources that go nowhere and destinations that nobody uses.
pub(super) fn warn_about_loose_ends(
    routes: &[PlacedRoute],
    sources: &[(Section<'_>, &str)],
    destinations: &[(Section<'_>, &str)],
    findings: &mut Findings,
) {
    let routed: BTreeSet<&str> = routes.iter().map(|route| route.source.as_str()).collect();
    let mut used: BTreeSet<String> =
        routes.iter().map(|route| route.route.destination.as_str().to_owned()).collect();
    for (section, name) in sources {
        let unmatched = section.text("unmatched").unwrap_or_default();
        match unmatched.strip_prefix("deliver:") {
            Some(destination) => {
                used.insert(destination.to_owned());
            }
            None if !routed.contains(name) => findings.warning(
                &section.place(),
                "no route takes its events: they are recorded as ignored",
                "add `[[routes]]` with `source` and `destination`",
            ),
            None => {}
        }
    }
    for (section, name) in destinations.iter().filter(|(_, name)| !used.contains(*name)) {
        let hint = format!("add `[[routes]]` with `destination = \"{name}\"`");
        findings.warning(&section.place(), "no route leads here", hint);
    }
}
