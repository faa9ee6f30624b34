//! Every metric, in one table. Label values come from the config only, never from a request.

use std::time::Duration;

use tenterhook_verify::Reason;

use crate::model::{DestinationName, FailureKind, SourceName};

/// The gateway's metrics. Cheap to share; every method is safe to call from anywhere.
#[derive(Debug, Default)]
pub struct Metrics {}

/// The kind label of `webhook_duplicate_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DuplicateKind {
    /// The same key and body.
    Duplicate,
    /// The same key, another body.
    Conflict,
    /// The same signed content under another id.
    Repeat,
}

#[expect(unused_variables, reason = "filled in by the owner of this room")]
impl Metrics {
    /// `webhook_received_total{source}`: every POST to a known source.
    pub fn received(&self, source: &SourceName) {}

    /// `webhook_duplicate_total{source,kind}`.
    pub fn duplicate(&self, source: &SourceName, kind: DuplicateKind) {}

    /// `webhook_signature_failures_total{source,reason}`.
    pub fn signature_failure(&self, source: &SourceName, reason: Reason) {}

    /// `tenterhook_requests_refused_total{source,status}`: other refusals of a known source (403, 408, 413, 429, 503).
    pub fn refused(&self, source: &SourceName, status: u16) {}

    /// `tenterhook_accept_duration_seconds{source}`: from the request's headers to the answer.
    pub fn accept_took(&self, source: &SourceName, took: Duration) {}

    /// `webhook_processed_total{source,destination}` and `webhook_processing_duration_seconds{destination}`.
    pub fn delivered(&self, source: &SourceName, destination: &DestinationName, since_received: Duration) {}

    /// `webhook_failed_total{destination,kind}`.
    pub fn attempt_failed(&self, destination: &DestinationName, kind: FailureKind) {}

    /// `tenterhook_commit_duration_seconds`: one store transaction, from its first statement to durable.
    pub fn commit_took(&self, took: Duration, events: usize) {}

    /// `tenterhook_fsync_duration_seconds`: the COMMIT alone.
    pub fn fsync_took(&self, took: Duration) {}

    /// `tenterhook_breaker_state{destination}`: 0 closed, 1 half-open, 2 open.
    pub fn breaker_state(&self, destination: &DestinationName, state: u8) {}
}
