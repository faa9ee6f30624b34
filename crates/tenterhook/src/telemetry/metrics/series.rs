//! The counters and histograms: families with their labels, and the handles of one name, resolved once so that the hot
//! path looks nothing up by label.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tenterhook_verify::Reason;

use super::{AnswerKind, DuplicateKind};
use crate::model::{DestinationName, FailureKind, SourceName};

/// Statuses of refusals that have a series of their own; the last one stands for all others.
const REFUSALS: [&str; 6] = ["403", "408", "413", "429", "503", "other"];

/// Pairs of source and destination that are shown at 0 from the start. With more than that, a pair is shown once it is
/// used.
pub(super) const PAIRS_SHOWN_MAX: usize = 4096;

/// From 100 µs, where a local disk commits, to 10 s, where the commit deadline has long struck.
const STORE_SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From 5 ms to a day; the edge at 5 s is the promise that people alert on.
const PROCESSING_SECONDS: [f64; 15] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 21600.0, 86400.0];

/// Where a refusal's status is counted.
pub(super) fn refusal_index(status: u16) -> usize {
    match status {
        403 => 0,
        408 => 1,
        413 => 2,
        429 => 3,
        503 => 4,
        _ => 5,
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every family, registered.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    received: Family<OfSource, Counter>,
    processed: Family<OfPair, Counter>,
    duplicate: Family<SourceKind, Counter>,
    failed: Family<DestinationKind, Counter>,
    signature_failure: Family<SourceReason, Counter>,
    refused: Family<SourceStatus, Counter>,
    answers: Family<SourceKind, Counter>,
    processing: Histograms<OfDestination>,
    accept: Histograms<OfSource>,
    breaker: Family<OfDestination, Gauge>,
    pub(super) commit: Histogram,
    pub(super) fsync: Histogram,
    pub(super) committed: Counter,
}

/// One source's series.
#[derive(Debug)]
pub(super) struct SourceSeries {
    pub(super) received: Counter,
    /// By `DuplicateKind as usize`.
    pub(super) duplicate: [Counter; DuplicateKind::ALL.len()],
    /// By place in `Reason::ALL`.
    pub(super) signature_failure: [Counter; Reason::ALL.len()],
    /// By [`refusal_index`].
    pub(super) refused: [Counter; REFUSALS.len()],
    pub(super) accept: Histogram,
    pub(super) processed: HashMap<DestinationName, Counter>,
}

/// One destination's series.
#[derive(Debug)]
pub(super) struct DestinationSeries {
    /// By place in `FailureKind::ALL`.
    pub(super) failed: [Counter; FailureKind::ALL.len()],
    /// The kind `rejected`: refused for good by the receiver.
    pub(super) rejected: Counter,
    pub(super) processing: Histogram,
    pub(super) breaker: Gauge,
}

impl Families {
    pub(super) fn new() -> Self {
        let mut families = Self {
            registry: Registry::default(),
            received: Family::default(),
            processed: Family::default(),
            duplicate: Family::default(),
            failed: Family::default(),
            signature_failure: Family::default(),
            refused: Family::default(),
            answers: Family::default(),
            processing: Family::new_with_constructor(|| Histogram::new(PROCESSING_SECONDS)),
            accept: Family::new_with_constructor(store_histogram),
            breaker: Family::default(),
            commit: store_histogram(),
            fsync: store_histogram(),
            committed: Counter::default(),
        };
        families.register();
        families
    }

    /// Names here lack `_total` and `_info`, and texts their full stop: the text format adds them.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("webhook_received", "POST requests to a known source", self.received.clone());
        registry.register("webhook_processed", "Deliveries delivered", self.processed.clone());
        registry.register(
            "webhook_duplicate",
            "Requests answered as a duplicate or conflict, and repeats flagged",
            self.duplicate.clone(),
        );
        registry.register("webhook_failed", "Failed attempts", self.failed.clone());
        registry.register(
            "webhook_signature_failures",
            "Requests refused by verification",
            self.signature_failure.clone(),
        );
        registry.register(
            "webhook_processing_duration_seconds",
            "From receipt to confirmed delivery",
            self.processing.clone(),
        );
        registry.register(
            "tenterhook_requests_refused",
            "Requests to a known source refused for another reason than verification",
            self.refused.clone(),
        );
        registry.register(
            "tenterhook_handler_answers",
            "What providers that wait for their handler were answered",
            self.answers.clone(),
        );
        registry.register(
            "tenterhook_accept_duration_seconds",
            "From a request's headers to its answer",
            self.accept.clone(),
        );
        registry.register(
            "tenterhook_commit_duration_seconds",
            "One store transaction, until it is durable",
            self.commit.clone(),
        );
        registry.register(
            "tenterhook_fsync_duration_seconds",
            "The commit of a store transaction alone",
            self.fsync.clone(),
        );
        registry.register(
            "tenterhook_committed_submissions",
            "Submissions in durable store transactions, duplicates included",
            self.committed.clone(),
        );
        registry.register(
            "tenterhook_breaker_state",
            "Circuit breaker: 0 closed, 1 half-open, 2 open",
            self.breaker.clone(),
        );
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("tenterhook_build", "The version that runs", version);
    }

    /// Shows a source's series, at what they were, and its pairs with these destinations.
    pub(super) fn source(&self, name: &SourceName, destinations: &[&DestinationName]) -> SourceSeries {
        let source = Name(name.clone());
        let processed = destinations
            .iter()
            .map(|destination| {
                let pair = OfPair { source: source.clone(), destination: Name((*destination).clone()) };
                ((*destination).clone(), self.processed.get_or_create_owned(&pair))
            })
            .collect();
        SourceSeries {
            received: self.received.get_or_create_owned(&OfSource { source: source.clone() }),
            duplicate: DuplicateKind::ALL.map(|kind| {
                self.duplicate.get_or_create_owned(&SourceKind { source: source.clone(), kind: kind.code() })
            }),
            signature_failure: Reason::ALL.map(|reason| {
                self.signature_failure
                    .get_or_create_owned(&SourceReason { source: source.clone(), reason: reason.code() })
            }),
            refused: REFUSALS.map(|status| {
                self.refused.get_or_create_owned(&SourceStatus { source: source.clone(), status })
            }),
            accept: self.accept.get_or_create_owned(&OfSource { source }),
            processed,
        }
    }

    /// Shows a destination's series, at what they were.
    pub(super) fn destination(&self, name: &DestinationName) -> DestinationSeries {
        let destination = Name(name.clone());
        let of_destination = OfDestination { destination: destination.clone() };
        DestinationSeries {
            failed: FailureKind::ALL.map(|kind| {
                self.failed.get_or_create_owned(&DestinationKind {
                    destination: destination.clone(),
                    kind: kind.code(),
                })
            }),
            rejected: self
                .failed
                .get_or_create_owned(&DestinationKind { destination: destination.clone(), kind: "rejected" }),
            processing: self.processing.get_or_create_owned(&of_destination),
            breaker: self.breaker.get_or_create_owned(&of_destination),
        }
    }

    /// Shows the answers of a source, at what they were.
    pub(super) fn show_answers(&self, source: &SourceName) {
        for kind in AnswerKind::ALL {
            self.answers.get_or_create_owned(&SourceKind { source: Name(source.clone()), kind: kind.code() });
        }
    }

    /// Counts one answer. It has waited for a handler: looking its series up is no part of what took long.
    pub(super) fn answered(&self, source: &SourceName, kind: AnswerKind) {
        let labels = SourceKind { source: Name(source.clone()), kind: kind.code() };
        self.answers.get_or_create_owned(&labels).inc();
    }

    /// Counts a pair that has no handle. The names are configured, or were when the event was stored.
    pub(super) fn processed_late(&self, source: &SourceName, destination: &DestinationName) {
        let pair = OfPair { source: Name(source.clone()), destination: Name(destination.clone()) };
        self.processed.get_or_create_owned(&pair).inc();
    }
}

fn store_histogram() -> Histogram {
    Histogram::new(STORE_SECONDS)
}

/// A configured name as a label value. Cloning it shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name<N>(pub(super) N);

impl<N: fmt::Display> EncodeLabelValue for Name<N> {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        fmt::Write::write_fmt(encoder, format_args!("{}", self.0))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: Name<SourceName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfDestination {
    pub(super) destination: Name<DestinationName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPair {
    source: Name<SourceName>,
    destination: Name<DestinationName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceKind {
    source: Name<SourceName>,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceReason {
    source: Name<SourceName>,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceStatus {
    source: Name<SourceName>,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationKind {
    destination: Name<DestinationName>,
    kind: &'static str,
}
