//! What people are shown of sources, and the message that tests a destination.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::config::Problem;
use crate::model::{EventId, Message, Priority, Timestamp};
use crate::ops::live::SourceView;
use crate::policy::route::{Glob, Route};
use crate::source::Source;

/// A source, for lists.
pub(super) fn source(source: &Source, warnings: &[Problem], now: Timestamp) -> SourceView {
    let prefix = format!("sources.{}", source.name);
    let concerns = |problem: &&Problem| {
        problem.key == prefix || problem.key.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('.'))
    };
    SourceView {
        name: source.name.clone(),
        provider: source.provider.map_or_else(|| "custom".to_owned(), |provider| provider.name.clone()),
        path: source.path.clone(),
        registration_until: None,
        secrets_learnt: source.verifier.secrets().len().saturating_sub(source.secrets_configured),
        secrets_live: source.verifier.secrets().iter().filter(|it| it.is_live(now.to_system())).count(),
        routes: source.routes.iter().map(route).collect(),
        warnings: warnings.iter().filter(concerns).map(|problem| problem.message.clone()).collect(),
    }
}

/// A route on one line: `payment_intent.*, invoice.paid -> app (high)`.
fn route(route: &Route) -> String {
    let events: Vec<_> = route.events.iter().map(Glob::as_str).collect();
    let events = if events.is_empty() { "*".to_owned() } else { events.join(", ") };
    let priority = match route.priority {
        Priority::High => " (high)",
        Priority::Normal => "",
        Priority::Low => " (low)",
    };
    format!("{events} -> {}{priority}", route.destination)
}

/// An event that no provider sent: its type says so.
pub(super) fn test_message(now: Timestamp) -> Option<Message> {
    let body = format!("{{\"type\":\"tenterhook.test\",\"sent_at\":\"{}\"}}", now.rfc3339());
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(Message {
        id: EventId::floor_of(now),
        provider_event_id: None,
        source: "tenterhook".parse().ok()?,
        provider: "tenterhook".to_owned(),
        event_type: "tenterhook.test".to_owned(),
        attempt: 1,
        first_received: now,
        correlation_id: "test".to_owned(),
        original_url: "/".to_owned(),
        replay_suspect: false,
        headers,
        body: Bytes::from(body),
    })
}
