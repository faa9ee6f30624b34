//! Sources, destinations, health, refusals and the audit trail, as they travel.

use serde::{Deserialize, Serialize};

use crate::model::{DestinationName, DestinationStats, LaneView, Outcome, Reply, Timestamp};
use crate::ops::live::{DestinationView, SourceView};
use crate::store::AuditEntry;
use crate::telemetry::rejections::RejectedRequest;

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceWire {
    /// Its name.
    pub name: String,
    /// The provider's catalog name, or `custom`.
    pub provider: String,
    /// Its path on the ingress listener.
    pub path: String,
    /// How many secrets count now.
    pub secrets_live: usize,
    /// How many of all its secrets the provider brought.
    pub secrets_learnt: usize,
    /// Until when its provider may bring a key; `null` while no registration is pending.
    pub registration_until: Option<String>,
    /// Its routes, one line each.
    pub routes: Vec<String>,
    /// What should be known about it.
    pub warnings: Vec<String>,
}

impl SourceWire {
    /// As it travels.
    #[must_use]
    pub fn of(source: SourceView) -> Self {
        Self {
            name: source.name.to_string(),
            provider: source.provider,
            path: source.path,
            secrets_live: source.secrets_live,
            secrets_learnt: source.secrets_learnt,
            registration_until: source.registration_until.map(Timestamp::rfc3339),
            routes: source.routes,
            warnings: source.warnings,
        }
    }
}

/// What is ordered of a registration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrationOrderWire {
    /// How long the provider may take, in milliseconds; 0 closes a window. Unset: ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for_ms: Option<u64>,
    /// How long keys that were learnt before count on once a new one came, in milliseconds. Unset: a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_for_ms: Option<u64>,
    /// They count for good.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_former: bool,
}

/// The answer to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationWire {
    /// The source.
    pub source: String,
    /// Until when the provider may bring its key; `null`: not any more.
    pub registration_until: Option<String>,
}

/// A destination with its lane and what it is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationWire {
    /// Its name.
    pub name: String,
    /// Its kind; `null` when it is not configured here.
    pub kind: Option<String>,
    /// Where to, without credentials.
    pub target: Option<String>,
    /// Whether it is configured: one that is not holds orphaned deliveries. `null` when no gateway runs to tell.
    pub configured: Option<bool>,
    /// Paused by a person.
    pub paused: bool,
    /// Its lane in the running gateway.
    pub lane: Option<LaneWire>,
    /// Confirmed.
    pub delivered: u64,
    /// Due now or later.
    pub pending: u64,
    /// Pending with at least one attempt behind them.
    pub retrying: u64,
    /// Being attempted.
    pub leased: u64,
    /// Given up.
    pub dead: u64,
    /// Pending behind another of the same ordering key.
    pub held: u64,
    /// How long ago the event of the oldest pending delivery was received, in milliseconds.
    pub oldest_pending_ms: Option<u64>,
}

impl DestinationWire {
    /// As it travels.
    #[must_use]
    pub fn of(
        name: &DestinationName,
        configured: Option<bool>,
        view: Option<&DestinationView>,
        lane: Option<&LaneView>,
        figures: &DestinationStats,
    ) -> Self {
        Self {
            name: name.to_string(),
            kind: view.map(|view| view.kind.clone()),
            target: view.map(|view| view.target.clone()),
            configured,
            paused: figures.paused,
            lane: lane.map(LaneWire::of),
            delivered: figures.delivered,
            pending: figures.pending,
            retrying: figures.retrying,
            leased: figures.leased,
            dead: figures.dead,
            held: figures.held,
            oldest_pending_ms: figures
                .oldest_pending
                .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneWire {
    /// `closed`, `half_open` or `open`.
    pub breaker: String,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts at the same time, at most.
    pub concurrency: u32,
    /// Nothing is leased before this time.
    pub paused_until: Option<String>,
    /// Why nothing is leased.
    pub alarm: Option<String>,
}

impl LaneWire {
    /// As it travels.
    #[must_use]
    pub fn of(lane: &LaneView) -> Self {
        Self {
            breaker: lane.breaker.as_str().to_owned(),
            in_flight: lane.in_flight,
            concurrency: lane.concurrency,
            paused_until: lane.paused_until.map(Timestamp::rfc3339),
            alarm: lane.alarm.clone(),
        }
    }
}

/// The answer to pause and resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedWire {
    /// The destination.
    pub destination: String,
    /// How it stands now.
    pub paused: bool,
}

/// What came of a test delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestWire {
    /// `delivered`, `failed`, `rejected` or `not_tried`.
    pub outcome: String,
    /// What kind of failure.
    pub failure: Option<String>,
    /// HTTP status or exit code.
    pub status: Option<i32>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The beginning of the response or output, or what went wrong.
    pub excerpt: String,
}

impl TestWire {
    /// As it travels.
    #[must_use]
    pub fn of(reply: Reply) -> Self {
        let (outcome, failure) = match reply.outcome {
            Outcome::Delivered => ("delivered", None),
            Outcome::Failed { kind, .. } => ("failed", Some(kind.code().to_owned())),
            Outcome::Rejected => ("rejected", None),
            Outcome::NotTried => ("not_tried", None),
        };
        Self {
            outcome: outcome.to_owned(),
            failure,
            status: reply.status,
            took_ms: u64::try_from(reply.took.as_millis()).unwrap_or(u64::MAX),
            excerpt: reply.excerpt,
        }
    }
}

/// The answer to a reload that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadWire {
    /// Always true: a refused one is a problem.
    pub reloaded: bool,
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectionWire {
    /// When.
    pub at: String,
    /// The source, where the path was one's.
    pub source: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// The stable reason.
    pub reason: String,
    /// One sentence.
    pub detail: String,
    /// The client's address.
    pub address: Option<String>,
    /// The correlation id of the answer.
    pub correlation_id: String,
}

impl RejectionWire {
    /// As it travels.
    #[must_use]
    pub fn of(rejected: RejectedRequest) -> Self {
        Self {
            at: rejected.at.rfc3339(),
            source: rejected.source.map(|source| source.to_string()),
            status: rejected.status,
            reason: rejected.reason.to_owned(),
            detail: rejected.detail,
            address: rejected.address.map(|address| address.to_string()),
            correlation_id: rejected.correlation_id,
        }
    }
}

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditWire {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: String,
    /// Who: the token's name, `cli`, `anonymous` or `gateway`.
    pub actor: String,
    /// What: `redrive`, `replay`, `purge`, `cancel`, `pause`, `resume`, `reload`, `test`, `register`, `learn`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How many deliveries it touched.
    pub count: u64,
}

impl AuditWire {
    /// As it travels.
    #[must_use]
    pub fn of(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at.rfc3339(),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            count: entry.count,
        }
    }
}

/// `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthWire {
    /// Always `healthy`: a process that is not does not answer.
    pub status: String,
    /// The time.
    pub timestamp: String,
}

/// `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyWire {
    /// `ready`, or `unavailable` with status 503.
    pub status: String,
    /// The time.
    pub timestamp: String,
    /// Only for callers who may read: the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreHealthWire>,
    /// Only for callers who may read: destinations that need a look, each with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes: Option<Vec<(String, LaneWire)>>,
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreHealthWire {
    /// Whether the next event would be taken.
    pub ready: bool,
    /// The stable code of the trouble.
    pub code: Option<String>,
    /// What is wrong.
    pub detail: Option<String>,
}
