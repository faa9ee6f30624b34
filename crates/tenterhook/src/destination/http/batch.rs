//! Several events in one request, and the answer that names each of them. Knows the two JSON forms; knows nothing of
//! HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::headers;
use crate::model::Message;

/// Bodies of one request together, in bytes, where more than one event is in it: what a handler can be expected to
/// read at once.
const BODIES_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Serialize)]
struct Events<'m> {
    events: Vec<Event<'m>>,
}

#[derive(Serialize)]
struct Event<'m> {
    id: String,
    event_id: Option<&'m str>,
    source: &'m str,
    #[serde(rename = "type")]
    event_type: &'m str,
    attempt: u32,
    headers: BTreeMap<String, String>,
    body_b64: String,
}

/// One item of the answer.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    id: String,
    status: Status,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Results {
    results: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Reject,
    Retry,
    /// Anything else is not a confirmation.
    #[serde(other)]
    Unknown,
}

/// What the answer says about one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ok,
    Retry(String),
    Reject(String),
    Nothing,
}

/// Splits a batch so that the bodies of one request stay within their bound; an event larger than it goes alone.
pub(super) fn requests(mut batch: &[Message]) -> Vec<&[Message]> {
    let mut requests = Vec::new();
    while !batch.is_empty() {
        let mut bytes = 0;
        let fits = batch.iter().take_while(|message| {
            bytes += message.body.len();
            bytes <= BODIES_BYTES_MAX
        });
        let (request, rest) = batch.split_at(fits.count().max(1));
        requests.push(request);
        batch = rest;
    }
    requests
}

/// The body of a request. Each event has the headers that it would have had alone, but for the signature, which covers
/// the whole request; values of one name are joined with `, `.
pub(super) fn body(batch: &[Message]) -> Result<Bytes, serde_json::Error> {
    let events = batch.iter().map(|message| {
        let mut headers = headers::forwarded(message);
        headers::add_facts(&mut headers, message);
        Event {
            id: message.id.to_string(),
            event_id: message.provider_event_id.as_deref(),
            source: message.source.as_str(),
            event_type: &message.event_type,
            attempt: message.attempt,
            headers: joined(&headers),
            body_b64: BASE64.encode(&message.body),
        }
    });
    serde_json::to_vec(&Events { events: events.collect() }).map(Bytes::from)
}

/// The `webhook-id` of a batch: the same events at the same attempts have the same one.
pub(super) fn id(batch: &[Message]) -> String {
    let mut members = Vec::with_capacity(batch.len() * 12);
    for message in batch {
        members.extend_from_slice(&message.id.raw().to_be_bytes());
        members.extend_from_slice(&message.attempt.to_be_bytes());
    }
    format!("batch_{:032x}", xxh3_128(&members))
}

fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        let all = joined.entry(name.to_string()).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&text);
    }
    joined
}

/// Reads an answer; `None` for one without a `results` list, which confirms nothing.
pub(super) fn results(answer: &[u8]) -> Option<Vec<Item>> {
    serde_json::from_slice::<Results>(answer).ok().map(|answer| answer.results)
}

/// What the items say about one event. Where they contradict each other, the one that is not `ok` counts.
pub(super) fn said(items: &[Item], message: &Message) -> Said {
    let id = message.id.to_string();
    let mut said = Said::Nothing;
    for item in items.iter().filter(|item| item.id == id) {
        let reason = || item.reason.clone().unwrap_or_default();
        match item.status {
            Status::Ok if said == Said::Nothing => said = Said::Ok,
            Status::Ok => {}
            Status::Reject if said == Said::Nothing => said = Said::Reject(reason()),
            Status::Reject | Status::Retry | Status::Unknown => return Said::Retry(reason()),
        }
    }
    said
}
