//! URLs of a config: literal, or behind a reference. Credentials are never literal.

use super::file::Node;
use super::problem::{Findings, Place};
use super::secrets::{Resolved, Resolver};
use super::values;

/// Looks a URL up and checks it.
pub(super) fn resolved(
    place: &Place,
    node: &Node,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Resolved> {
    let url = resolver.text(place, node, findings)?;
    match values::url(&url.text) {
        Err(message) => findings.problem(place, message, ""),
        Ok(parts) if parts.credentials.is_some() && url.reference.is_none() => findings.problem(
            place,
            "credentials stand in the URL literally",
            "put the whole URL into the environment and write `env:NAME`, or use `headers`",
        ),
        Ok(_) => return Some(url),
    }
    None
}

/// A URL for lists: without credentials, query and fragment; the reference, where it came from one.
pub(super) fn target(url: &Resolved) -> String {
    match &url.reference {
        Some(reference) => reference.clone(),
        None => url.text.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}
