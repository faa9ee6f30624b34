//! What is said of each request, in logs, metrics and the list of rejections: a line for each event, and for refusals
//! a bounded number of lines a second, whatever is thrown at us.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::header::{CONNECTION, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use tokio::time::Instant;

use crate::model::{Accepted, Admitted, Clock, Known, SourceName, Timestamp};
use crate::net::listener::Peer;
use crate::source::Inbound;
use crate::telemetry::metrics::{AnswerKind, DuplicateKind, Metrics};
use crate::telemetry::rejections::{RejectedRequest, Rejections};

use super::door::Door;
use super::reply::Rejection;

/// The header that names the correlation id.
pub(super) const CORRELATION_ID: HeaderName = HeaderName::from_static("tenterhook-correlation-id");
/// Lines a second about refused requests, per source; the rest is only counted.
const REFUSAL_LINES_PER_SECOND: u32 = 5;
/// The most of a provider's text that a log line repeats, in characters.
const LOGGED_CHARS_MAX: usize = 128;

/// One request, from its head to its answer.
pub(super) struct Visit {
    /// Minted here, returned, and in every line.
    pub(super) correlation_id: String,
    /// When the head had arrived.
    pub(super) received_at: Timestamp,
    /// The same moment by the wall clock: the time by which it is judged.
    pub(super) judged_at: Timestamp,
    /// The sender's address: the socket's, until what proxies say of it is known.
    pub(super) source_ip: IpAddr,
    /// Nothing of the body is left on the connection.
    pub(super) body_is_read: bool,
    started: Instant,
    version: Version,
    door: Option<Arc<Door>>,
}

/// What lines and receipts say of an event.
pub(super) struct EventFacts {
    pub(super) provider_event_id: Option<String>,
    event_type: String,
    source: SourceName,
}

impl Visit {
    pub(super) fn begin<B: Body>(request: &Request<B>, peer: Peer, clock: &dyn Clock) -> Self {
        Self {
            correlation_id: mint_correlation_id(),
            received_at: clock.now(),
            judged_at: clock.wall_now(),
            source_ip: peer.address.ip().to_canonical(),
            body_is_read: request.body().is_end_stream(),
            started: Instant::now(),
            version: request.version(),
            door: None,
        }
    }

    /// When a provider that waits for `timeout` has to be answered: it began to wait with its request.
    pub(super) fn answer_by(&self, timeout: Duration) -> Instant {
        self.started + timeout
    }

    pub(super) fn enter(&mut self, door: Arc<Door>) -> Arc<Door> {
        self.door = Some(Arc::clone(&door));
        door
    }

    pub(super) fn inbound(&self, head: Parts, body: Bytes, registration_pending: bool) -> Inbound {
        let original_url = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Inbound {
            method: head.method,
            original_url,
            headers: head.headers,
            body,
            correlation_id: self.correlation_id.clone(),
            source_ip: Some(self.source_ip),
            received_at: self.received_at,
            judged_at: self.judged_at,
            registration_pending,
        }
    }

    pub(super) fn event(&self, admitted: &Admitted) -> EventFacts {
        EventFacts {
            provider_event_id: admitted.provider_event_id.clone(),
            event_type: admitted.event_type.clone(),
            source: admitted.source.clone(),
        }
    }

    /// Adds what every answer has. An HTTP/1 connection with an unread body on it cannot be used again.
    pub(super) fn finish(self, mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        let headers = answer.headers_mut();
        if let Ok(correlation_id) = HeaderValue::from_str(&self.correlation_id) {
            headers.insert(CORRELATION_ID, correlation_id);
        }
        if !self.body_is_read && self.version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// To the microsecond.
    fn processing_time_ms(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
    }
}

/// 16 random bytes in hex. Never the sender's: a chosen one could pose as somebody else's request in our logs. From the
/// system's generator: the one of the crypto library takes 60 ms to begin, for which the first request would wait.
fn mint_correlation_id() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // The system's generator has failed: an id that only has to be unlikely can come from elsewhere.
        bytes = fastrand::u128(..).to_be_bytes();
    }
    HEXLOWER.encode(&bytes)
}

/// Says what happened.
pub(super) struct Journal {
    metrics: Arc<Metrics>,
    rejections: Arc<Rejections>,
    /// For requests to no source at all.
    elsewhere: Throttle,
}

impl Journal {
    pub(super) fn new(metrics: Arc<Metrics>, rejections: Arc<Rejections>) -> Self {
        Self { metrics, rejections, elsewhere: Throttle::default() }
    }

    /// One line and the counters for an event that is durable. `answered`: what a provider that waits for its handler got.
    pub(super) fn accepted(
        &self,
        visit: &Visit,
        event: &EventFacts,
        accepted: &Accepted,
        status: StatusCode,
        answered: Option<AnswerKind>,
    ) {
        if let Some(kind) = answered {
            self.metrics.answered(&event.source, kind);
        }
        let answered = answered.map(AnswerKind::code);
        self.metrics.accept_took(&event.source, visit.started.elapsed());
        match accepted {
            Accepted::New { id, replay_suspect } => {
                if *replay_suspect {
                    self.metrics.duplicate(&event.source, DuplicateKind::Repeat);
                }
                tracing::info!(
                    id = %id,
                    event_id = shown(event.provider_event_id.as_deref()),
                    event_type = shown(Some(&event.event_type)),
                    source = event.source.as_str(),
                    correlation_id = visit.correlation_id.as_str(),
                    source_ip = %visit.source_ip,
                    processing_time_ms = visit.processing_time_ms(),
                    status = status.as_u16(),
                    replay_suspect = replay_suspect,
                    answered,
                    "webhook_received"
                );
            }
            Accepted::Duplicate(known) => {
                self.known(visit, event, known, DuplicateKind::Duplicate, status, answered);
            }
            Accepted::Conflict(known) => {
                self.known(visit, event, known, DuplicateKind::Conflict, status, answered);
            }
        }
    }

    fn known(
        &self,
        visit: &Visit,
        event: &EventFacts,
        known: &Known,
        kind: DuplicateKind,
        status: StatusCode,
        answered: Option<&'static str>,
    ) {
        self.metrics.duplicate(&event.source, kind);
        tracing::info!(
            id = %known.id,
            event_id = shown(event.provider_event_id.as_deref()),
            event_type = shown(Some(&event.event_type)),
            source = event.source.as_str(),
            correlation_id = visit.correlation_id.as_str(),
            source_ip = %visit.source_ip,
            processing_time_ms = visit.processing_time_ms(),
            status = status.as_u16(),
            conflict = kind == DuplicateKind::Conflict,
            state = known.state.as_str(),
            redriven = known.redriven,
            answered,
            "webhook_duplicate_event"
        );
    }

    /// A line for a handshake: it stores nothing, so this is all that is left of it.
    pub(super) fn handshake(&self, visit: &Visit, status: StatusCode) {
        tracing::info!(
            source = visit.door.as_ref().map(|door| door.source.name.as_str()),
            correlation_id = visit.correlation_id.as_str(),
            source_ip = %visit.source_ip,
            status = status.as_u16(),
            "webhook_handshake_answered"
        );
    }

    /// A line for a key that was learnt, of which nothing is said but that it is there.
    pub(super) fn key_learnt(&self, visit: &Visit) {
        tracing::warn!(
            source = visit.door.as_ref().map(|door| door.source.name.as_str()),
            correlation_id = visit.correlation_id.as_str(),
            source_ip = %visit.source_ip,
            "webhook_key_learnt"
        );
    }

    /// Counts a refusal, keeps it for the list, and says so unless too many were said of late.
    pub(super) fn refused(&self, visit: &Visit, rejection: &Rejection, now: Timestamp) {
        let source = visit.door.as_ref().map(|door| &door.source.name);
        match (source, rejection.unverified) {
            (Some(source), Some(reason)) => self.metrics.signature_failure(source, reason),
            (Some(source), None) => self.metrics.refused(source, rejection.status.as_u16()),
            (None, _) => {}
        }
        self.rejections.push(RejectedRequest {
            at: now,
            source: source.cloned(),
            status: rejection.status.as_u16(),
            reason: rejection.reason,
            detail: rejection.detail.clone(),
            address: Some(visit.source_ip),
            correlation_id: visit.correlation_id.clone(),
        });
        let throttle = visit.door.as_ref().map_or(&self.elsewhere, |door| &door.throttle);
        if let Some(suppressed) = throttle.permit(visit.started) {
            say(visit, rejection, source, suppressed);
        }
    }
}

fn say(visit: &Visit, rejection: &Rejection, source: Option<&SourceName>, suppressed: u64) {
    macro_rules! line {
        ($level:ident, $name:literal) => {
            tracing::$level!(
                source = source.map(SourceName::as_str),
                correlation_id = visit.correlation_id.as_str(),
                source_ip = %visit.source_ip,
                processing_time_ms = visit.processing_time_ms(),
                status = rejection.status.as_u16(),
                reason = rejection.reason,
                detail = shown(Some(&rejection.detail)),
                suppressed = suppressed,
                $name
            )
        };
    }
    match (rejection.unverified, rejection.status) {
        (Some(reason), _) if reason.is_about_time() => line!(warn, "webhook_timestamp_expired"),
        (Some(_), _) => line!(warn, "webhook_signature_mismatch"),
        (None, StatusCode::SERVICE_UNAVAILABLE) => line!(error, "webhook_not_stored"),
        // Senders of bodies that are too large often never try again: somebody has to know.
        (None, StatusCode::PAYLOAD_TOO_LARGE) => line!(error, "webhook_too_large"),
        (None, _) => line!(warn, "webhook_refused"),
    }
}

/// A provider's text, bounded. The log's format escapes it.
fn shown(text: Option<&str>) -> Option<&str> {
    text.map(|text| match text.char_indices().nth(LOGGED_CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    })
}

/// At most [`REFUSAL_LINES_PER_SECOND`], and a count of what was not said.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    said: u32,
    suppressed: u64,
}

impl Throttle {
    /// `Some` when a line may be written now: how many were suppressed since the last one.
    fn permit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = window.began.is_none_or(|began| now.saturating_duration_since(began).as_secs() >= 1);
        if is_over {
            window.began = Some(now);
            window.said = 0;
        }
        if window.said == REFUSAL_LINES_PER_SECOND {
            window.suppressed += 1;
            return None;
        }
        window.said += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_said_a_few_times_a_second_and_the_rest_is_counted() {
        let throttle = Throttle::default();
        let said = (0..1000).filter(|_| throttle.permit(Instant::now()).is_some()).count();
        assert_eq!(said, 5);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(throttle.permit(Instant::now()), Some(995));
        assert_eq!(throttle.permit(Instant::now()), Some(0));
    }

    #[test]
    fn correlation_ids_are_32_hex_digits_and_differ() {
        let (one, two) = (mint_correlation_id(), mint_correlation_id());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
