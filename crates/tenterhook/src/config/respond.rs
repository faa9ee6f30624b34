//! Builds `respond = "handler"` of a source: by when the handler has to have answered, and what is said otherwise. Whose
//! answer it is, the routes say; there has to be exactly one.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tenterhook_verify::{Provider, ReadAnswer};

use super::file::Node;
use super::problem::{Findings, quoted};
use super::section::Section;
use super::values;
use crate::source::{Fallback, Respond, ResponsePolicy, Source, Unmatched};

/// How long a handler has where the provider does not say how long it waits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// So much earlier than the provider gives up it is answered: the way to it and back takes time, too.
const MARGIN: Duration = Duration::from_millis(500);

/// What the source answers, where that is the handler's to say.
pub(super) fn respond(
    provider: Option<&'static Provider>,
    section: Section<'_>,
    response: &ResponsePolicy,
    findings: &mut Findings,
) -> Option<Respond> {
    let answer = provider.and_then(|entry| entry.answer.as_ref());
    if section.text("respond").as_deref() != Some("handler") {
        warn_about_receipts(provider, answer, section, findings);
        return None;
    }
    let within = answer.and_then(|answer| answer.within);
    let timeout = section.duration("respond_timeout");
    if let (Some(timeout), Some(within)) = (timeout, within)
        && timeout >= within
    {
        let waits = values::duration_text(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        findings.warning(
            &section.at("respond_timeout"),
            format!("the provider has given up by then: it waits for {waits}"),
            "remove it, or make it shorter than that",
        );
    }
    if section.flag("duplicate_result") {
        findings.warning(
            &section.at("duplicate_result"),
            "has no effect: with `respond = \"handler\"` a duplicate is answered what the handler had answered",
            "remove it",
        );
    }
    Some(Respond {
        timeout: timeout.or(within.map(|within| within - MARGIN.min(within / 2))).unwrap_or(TIMEOUT),
        waiting_max: section.integer("respond_waiting_max").unwrap_or(1),
        fallback: fallback(provider, answer, response),
    })
}

fn warn_about_receipts(
    provider: Option<&'static Provider>,
    answer: Option<&ReadAnswer>,
    section: Section<'_>,
    findings: &mut Findings,
) {
    if section.has("respond_timeout") {
        let message = "has no effect: this source answers with a receipt";
        let hint = "add `respond = \"handler\"`, or remove this";
        findings.warning(&section.at("respond_timeout"), message, hint);
    }
    if let (Some(provider), true) = (provider, answer.is_some_and(|answer| answer.always)) {
        let message =
            format!("{} acts on what its answer says, and a receipt says nothing", provider.display);
        findings.warning(&section.at("provider"), message, "add `respond = \"handler\"`");
    }
}

/// In this order: what the config says of `response`, what is safe to say to a provider that acts on it, what the provider
/// wants of every answer, an empty 200.
fn fallback(
    provider: Option<&'static Provider>,
    answer: Option<&ReadAnswer>,
    response: &ResponsePolicy,
) -> Fallback {
    let (status, content_type, body) = match (answer.filter(|answer| answer.reads.is_some()), provider) {
        (Some(safe), _) => (Some(safe.status), safe.content_type.as_deref(), safe.body.as_str()),
        (None, Some(provider)) => {
            let body = provider.success.body.as_deref().unwrap_or_default();
            (provider.success.status, Some("text/plain"), body)
        }
        (None, None) => (None, None, ""),
    };
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let (body, content_type) = match &response.body {
        Some((body, content_type)) => (body.as_str(), Some(content_type.as_str())),
        None => (body, content_type),
    };
    Fallback {
        status: response.status.or(status).unwrap_or(StatusCode::OK),
        content_type: content_type
            .filter(|_| !body.is_empty())
            .and_then(|content_type| HeaderValue::from_str(content_type).ok()),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// Exactly one destination answers for a source, over HTTP and one event at a time.
pub(super) fn check_destination(
    source: &Source,
    section: Section<'_>,
    destinations: &[(Section<'_>, &str)],
    findings: &mut Findings,
) {
    if source.respond.is_none() {
        return;
    }
    let mut names: BTreeSet<&str> = source.routes.iter().map(|route| route.destination.as_str()).collect();
    if let Unmatched::Deliver(destination) = &source.unmatched {
        names.insert(destination.as_str());
    }
    let (place, names) = (section.at("respond"), Vec::from_iter(names));
    let [name] = names[..] else {
        let (message, hint) = if names.is_empty() {
            let hint = format!(
                "add `[[routes]]` with `source = \"{}\"` and the `destination` that answers",
                source.name
            );
            ("no route says whose answer it is".to_owned(), hint)
        } else {
            let message = format!(
                "the events of this source go to {}, and only one of them can answer",
                quoted(&names)
            );
            (message, "leave it the routes to the one that answers".to_owned())
        };
        return findings.problem(&place, message, hint);
    };
    let Some((destination, _)) = destinations.iter().find(|(_, known)| *known == name) else { return };
    if destination.node("type").and_then(Node::text) != Some("http") {
        let hint = "route this source to a destination with `type = \"http\"`";
        findings.problem(
            &place,
            format!("`{name}` is no HTTP destination: it has no answer to pass on"),
            hint,
        );
    } else if destination.has("batch") {
        let hint = format!("remove `batch` from `destinations.{name}`, or route this source to another one");
        findings.problem(&place, format!("`{name}` takes batches, and answers them as a whole"), hint);
    }
}
