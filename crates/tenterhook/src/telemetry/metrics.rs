//! Every metric, in one table. Label values come from the config only, never from a request.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `webhook_received_total` | counter | source |
//! | `webhook_processed_total` | counter | source, destination |
//! | `webhook_duplicate_total` | counter | source, kind |
//! | `webhook_failed_total` | counter | destination, kind |
//! | `webhook_signature_failures_total` | counter | source, reason |
//! | `webhook_processing_duration_seconds` | histogram | destination |
//! | `webhook_retry_queue_size`, `webhook_dlq_size` | gauge, from the store | destination |
//! | `tenterhook_requests_refused_total` | counter | source, status |
//! | `tenterhook_handler_answers_total` | counter, of sources with `respond = "handler"` | source, kind |
//! | `tenterhook_accept_duration_seconds` | histogram | source |
//! | `tenterhook_commit_duration_seconds`, `tenterhook_fsync_duration_seconds` | histogram | – |
//! | `tenterhook_committed_submissions_total` | counter | – |
//! | `tenterhook_breaker_state`, `tenterhook_lane_in_flight` | gauge, from the lanes | destination |
//! | `tenterhook_lane_pending`, `tenterhook_lane_held`, `tenterhook_lane_paused` | gauge, from the store | destination |
//! | `tenterhook_oldest_pending_age_seconds` | gauge, from the store | destination |
//! | `tenterhook_store_up`, `tenterhook_store_bytes`, `tenterhook_dedupe_keys` | gauge, from the store | – |
//! | `tenterhook_build_info` | gauge, always 1 | version |
//!
//! Counters count since start, and survive a reload, also those of a name that the new config no longer has.

mod gauges;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::prometheus_text;
use tenterhook_verify::Reason;

use crate::model::{BreakerState, DestinationName, FailureKind, LaneView, SourceName, Stats};
use series::{DestinationSeries, Families, SourceSeries};

/// The content type of [`Metrics::render`]: the Prometheus text format.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The gateway's metrics. Cheap to share; every method is safe to call from anywhere and allocates nothing.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    /// The series of every configured name, resolved once. Replaced as a whole by a reload.
    names: ArcSwap<Names>,
    /// Held while names are replaced, so that two reloads at once lose none.
    naming: Mutex<()>,
}

/// The configured names, each with its series.
#[derive(Debug, Default)]
struct Names {
    sources: HashMap<SourceName, Arc<SourceSeries>>,
    destinations: HashMap<DestinationName, Arc<DestinationSeries>>,
}

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

impl DuplicateKind {
    /// Every kind, for tables.
    pub const ALL: [Self; 3] = [Self::Duplicate, Self::Conflict, Self::Repeat];

    /// The stable code: the metric label.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Repeat => "repeat",
        }
    }
}

/// The kind label of `tenterhook_handler_answers_total`: what a provider that waits for its handler was answered. All but the
/// first two are the fallback of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// The handler's own answer.
    Handler,
    /// A duplicate: what the handler had answered to the first.
    Result,
    /// A duplicate or a conflict of an event without such a result.
    Known,
    /// The deadline passed; the delivery goes on.
    Late,
    /// The handler failed; the delivery goes on.
    Failed,
    /// The handler confirmed the event, but its answer cannot be passed on.
    Unfit,
    /// The destination is not tried now: paused, its breaker open, or gone.
    Closed,
    /// As many requests of the source as may wait did.
    Full,
    /// Nothing is owed for the event.
    Ignored,
}

impl AnswerKind {
    /// Every kind, for tables.
    pub const ALL: [Self; 9] = [
        Self::Handler,
        Self::Result,
        Self::Known,
        Self::Late,
        Self::Failed,
        Self::Unfit,
        Self::Closed,
        Self::Full,
        Self::Ignored,
    ];

    /// The stable code: the metric label, and `answered` in the log.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Result => "result",
            Self::Known => "known",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Unfit => "unfit",
            Self::Closed => "closed",
            Self::Full => "full",
            Self::Ignored => "ignored",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero, and no names yet.
    #[must_use]
    pub fn new() -> Self {
        Self { families: Families::new(), names: ArcSwap::default(), naming: Mutex::new(()) }
    }

    /// Sets the names that count, at start and at each reload: every series of theirs is shown, at 0 at first. What is
    /// said about any other name is not counted.
    pub fn set_names<'a>(
        &self,
        sources: impl IntoIterator<Item = &'a SourceName>,
        destinations: impl IntoIterator<Item = &'a DestinationName>,
    ) {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let (sources, destinations): (Vec<_>, Vec<_>) =
            (sources.into_iter().collect(), destinations.into_iter().collect());
        let few = sources.len().saturating_mul(destinations.len()) <= series::PAIRS_SHOWN_MAX;
        let shown = if few { &destinations[..] } else { &[] };
        let sources = sources
            .into_iter()
            .map(|name| (name.clone(), Arc::new(self.families.source(name, shown))))
            .collect();
        let destinations = destinations
            .into_iter()
            .map(|name| (name.clone(), Arc::new(self.families.destination(name))))
            .collect();
        self.names.store(Arc::new(Names { sources, destinations }));
    }

    /// `webhook_received_total{source}`: every POST to a known source.
    pub fn received(&self, source: &SourceName) {
        self.of_source(source, |series| {
            series.received.inc();
        });
    }

    /// `webhook_duplicate_total{source,kind}`.
    pub fn duplicate(&self, source: &SourceName, kind: DuplicateKind) {
        self.of_source(source, |series| {
            series.duplicate[kind as usize].inc();
        });
    }

    /// `webhook_signature_failures_total{source,reason}`.
    pub fn signature_failure(&self, source: &SourceName, reason: Reason) {
        self.of_source(source, |series| {
            if let Some(at) = Reason::ALL.iter().position(|known| *known == reason) {
                series.signature_failure[at].inc();
            }
        });
    }

    /// `tenterhook_requests_refused_total{source,status}`: other refusals of a known source (403, 408, 413, 429, 503;
    /// any other status counts as `other`).
    pub fn refused(&self, source: &SourceName, status: u16) {
        self.of_source(source, |series| {
            series.refused[series::refusal_index(status)].inc();
        });
    }

    /// Shows `tenterhook_handler_answers_total` of these sources, at 0 at first: those that answer as their handler does.
    pub fn set_responding<'a>(&self, sources: impl IntoIterator<Item = &'a SourceName>) {
        sources.into_iter().for_each(|source| self.families.show_answers(source));
    }

    /// `tenterhook_handler_answers_total{source,kind}`.
    pub fn answered(&self, source: &SourceName, kind: AnswerKind) {
        self.families.answered(source, kind);
    }

    /// `tenterhook_accept_duration_seconds{source}`: from the request's headers to the answer.
    pub fn accept_took(&self, source: &SourceName, took: Duration) {
        self.of_source(source, |series| series.accept.observe(took.as_secs_f64()));
    }

    /// `webhook_processed_total{source,destination}` and `webhook_processing_duration_seconds{destination}`.
    pub fn delivered(&self, source: &SourceName, destination: &DestinationName, since_received: Duration) {
        let names = self.names.load();
        let Some(series) = names.destinations.get(destination) else { return };
        series.processing.observe(since_received.as_secs_f64());
        match names.sources.get(source).and_then(|source| source.processed.get(destination)) {
            Some(processed) => {
                processed.inc();
            }
            // A source that the config no longer has, or a pair that is not shown before it is used.
            None => self.families.processed_late(source, destination),
        }
    }

    /// `webhook_failed_total{destination,kind}`.
    pub fn attempt_failed(&self, destination: &DestinationName, kind: FailureKind) {
        if let Some(series) = self.names.load().destinations.get(destination)
            && let Some(at) = FailureKind::ALL.iter().position(|known| *known == kind)
        {
            series.failed[at].inc();
        }
    }

    /// `webhook_failed_total{destination,kind="rejected"}`: an attempt that the receiver refused for good.
    pub fn attempt_rejected(&self, destination: &DestinationName) {
        if let Some(series) = self.names.load().destinations.get(destination) {
            series.rejected.inc();
        }
    }

    /// `tenterhook_commit_duration_seconds` and `tenterhook_committed_submissions_total`: one store transaction, from
    /// its first statement to durable, and how many submissions it answered (duplicates included). The ratio of the
    /// two tells how well commits are grouped.
    pub fn commit_took(&self, took: Duration, submissions: usize) {
        self.families.commit.observe(took.as_secs_f64());
        self.families.committed.inc_by(submissions as u64);
    }

    /// `tenterhook_fsync_duration_seconds`: the COMMIT alone.
    pub fn fsync_took(&self, took: Duration) {
        self.families.fsync.observe(took.as_secs_f64());
    }

    /// `tenterhook_breaker_state{destination}`: 0 closed, 1 half-open, 2 open.
    pub fn breaker_state(&self, destination: &DestinationName, state: u8) {
        if let Some(series) = self.names.load().destinations.get(destination) {
            series.breaker.set(i64::from(state));
        }
    }

    /// The page that Prometheus reads. Gauges that the store knows come from `stats`; without it (the store cannot be
    /// read) they are left out, and `tenterhook_store_up` is 0.
    #[must_use]
    pub fn render(&self, stats: Option<&Stats>, lanes: &[LaneView]) -> String {
        for lane in lanes {
            self.breaker_state(&lane.destination, breaker_value(lane.breaker));
        }
        let names = self.names.load();
        let mut page = String::with_capacity(32 * 1024);
        // Writing to a `String` does not fail; if it ever did, half a page is better than none.
        let _ = prometheus_text::encode(&mut page, &self.families.registry);
        let _ =
            prometheus_text::encode(&mut page, &gauges::registry(names.destinations.keys(), stats, lanes));
        page
    }

    fn of_source(&self, source: &SourceName, count: impl FnOnce(&SourceSeries)) {
        if let Some(series) = self.names.load().sources.get(source) {
            count(series);
        }
    }
}

fn breaker_value(state: BreakerState) -> u8 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}
