//! Destinations against real peers on loopback: what a handler sees, how its answers are read, what a command may do.

mod answers;
mod batch;
pub(crate) mod chaos;
mod command;
mod delivery;
mod guard;
mod headers;
mod malformed;
pub(crate) mod peer;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tenterhook::destination::Destination;
use tenterhook::destination::http::{HttpDestination, HttpSettings};
use tenterhook::model::{EventId, FailureKind, ManualClock, Message, Outcome, Reply, Timestamp};

/// 2026-01-01T00:00:00Z, when every test here happens.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Longer than anything here takes, shorter than a patience.
const PATIENCE: Duration = Duration::from_secs(20);

fn message(body: &'static [u8]) -> Message {
    Message {
        id: EventId::floor_of(NOW),
        provider_event_id: Some("pe_1".to_owned()),
        source: "shop".parse().unwrap(),
        provider: "custom".to_owned(),
        event_type: "order.paid".to_owned(),
        attempt: 1,
        first_received: NOW,
        correlation_id: "c-1".to_owned(),
        original_url: "/webhooks/shop?a=%20b".to_owned(),
        replay_suspect: false,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body),
    }
}

/// The same event as one of several.
fn numbered(number: i64) -> Message {
    Message { id: EventId::from_raw(EventId::floor_of(NOW).raw() + number), ..message(b"{}") }
}

fn settings(url: impl Into<String>) -> HttpSettings {
    HttpSettings {
        url: url.into(),
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        signing_secret: None,
        headers: HeaderMap::new(),
        ca_file: None,
        client_certificate_file: None,
        proxy: None,
        allow_private: false,
        resign: BTreeMap::new(),
        dead_statuses: Vec::new(),
        batch: false,
    }
}

fn connect(settings: HttpSettings) -> HttpDestination {
    HttpDestination::new(settings, Arc::new(ManualClock::at(NOW))).unwrap()
}

async fn deliver(destination: &impl Destination, message: Message) -> Reply {
    let mut replies = destination.deliver(&[message]).await;
    assert_eq!(replies.len(), 1, "one reply per message");
    replies.remove(0)
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed { kind, after: None }
}
