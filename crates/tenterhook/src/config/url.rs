//! URLs of a config: literal, or behind a reference. Credentials are never literal, and a destination has none in its
//! URL at all.

use super::file::Node;
use super::problem::{Findings, Place};
use super::secrets::{Resolved, Resolver};
use super::values;

/// Looks a URL up and checks it. Credentials may stand in it where it comes from a reference.
pub(super) fn resolved(
    place: &Place,
    node: &Node,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Resolved> {
    let (url, has_credentials) = checked(place, node, resolver, findings)?;
    if has_credentials && url.reference.is_none() {
        let hint = "put the whole URL into the environment and write `env:NAME`";
        findings.problem(place, "credentials stand in the URL literally", hint);
        return None;
    }
    Some(url)
}

/// The same for a destination: its credentials are a header, which is masked in what the destination answers.
pub(super) fn without_credentials(
    place: &Place,
    node: &Node,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<Resolved> {
    let (url, has_credentials) = checked(place, node, resolver, findings)?;
    if has_credentials {
        let hint = "take them out and write `headers = { authorization = \"env:NAME\" }`";
        findings.problem(place, "a user name or password stands in the URL", hint);
        return None;
    }
    Some(url)
}

/// A URL, and whether it has credentials in it.
fn checked(
    place: &Place,
    node: &Node,
    resolver: &mut Resolver<'_>,
    findings: &mut Findings,
) -> Option<(Resolved, bool)> {
    let url = resolver.text(place, node, findings)?;
    match values::url(&url.text) {
        Err(message) => {
            findings.problem(place, message, "");
            None
        }
        Ok(parts) => {
            let has_credentials = parts.credentials.is_some();
            Some((url, has_credentials))
        }
    }
}

/// A URL for lists: without credentials, query and fragment; the reference, where it came from one.
pub(super) fn target(url: &Resolved) -> String {
    match &url.reference {
        Some(reference) => reference.clone(),
        None => url.text.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}
