//! The shapes of the admin API, as they travel. The command line reads the same types, so both ends change together.
//! Times are RFC 3339 in UTC with milliseconds; ids are their public text; states and reasons are their stable text.

mod event;
mod gateway;

use serde::{Deserialize, Serialize};

pub use event::{AttemptWire, ConflictWire, DeliveryDetailWire, DeliveryWire, EventDetailWire, EventWire};
pub use gateway::{
    AuditWire, DestinationWire, HealthWire, LaneWire, PausedWire, ReadyWire, RegistrationOrderWire,
    RegistrationWire, RejectionWire, ReloadWire, SourceWire, StoreHealthWire, TestWire,
};

use crate::model::Ledger;
use crate::ops::order::Report;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageWire<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `after` for the next page; `null` at the end.
    pub next: Option<String>,
}

impl<T> PageWire<T> {
    /// A list that has only this page.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// A refusal: RFC 9457 problem JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemWire {
    /// Always `about:blank`: `code` tells refusals apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What is wrong, one line.
    pub detail: String,
    /// What to do about it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// `GET /api/v1/ledger`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerWire {
    /// Events.
    pub events: EventCountsWire,
    /// Deliveries.
    pub deliveries: DeliveryCountsWire,
    /// Whether `owed = delivered + pending + leased + dead + purged`.
    pub balanced: bool,
    /// With `verify=true`: the recount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedWire>,
}

/// Counts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCountsWire {
    /// Recorded.
    pub accepted: u64,
    /// Recorded, but nothing was owed for them; part of `accepted`.
    pub ignored: u64,
    /// Conflicting bodies kept.
    pub conflicts: u64,
}

/// Counts of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCountsWire {
    /// Ever created.
    pub owed: u64,
    /// Confirmed by their destination.
    pub delivered: u64,
    /// Due now or later.
    pub pending: u64,
    /// Being attempted.
    pub leased: u64,
    /// Given up.
    pub dead: u64,
    /// Removed by an operator.
    pub purged: u64,
}

/// The ledger counted anew from the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedWire {
    /// Whether it says the same as the counters; `null` when they moved each time they were compared.
    pub matches: Option<bool>,
    /// Events as counted.
    pub events: EventCountsWire,
    /// Deliveries as counted.
    pub deliveries: DeliveryCountsWire,
}

impl LedgerWire {
    /// The counters.
    #[must_use]
    pub fn of(ledger: &Ledger) -> Self {
        Self {
            events: events_of(ledger),
            deliveries: deliveries_of(ledger),
            balanced: ledger.is_balanced(),
            verified: None,
        }
    }

    /// With what was counted from the rows.
    #[must_use]
    pub fn with_recount(mut self, recount: &Ledger, matches: Option<bool>) -> Self {
        let (events, deliveries) = (events_of(recount), deliveries_of(recount));
        self.verified = Some(VerifiedWire { matches, events, deliveries });
        self
    }
}

fn events_of(ledger: &Ledger) -> EventCountsWire {
    let events = ledger.events;
    EventCountsWire { accepted: events.accepted, ignored: events.ignored, conflicts: events.conflicts }
}

fn deliveries_of(ledger: &Ledger) -> DeliveryCountsWire {
    let Ledger { owed, delivered, pending, leased, dead, purged, .. } = *ledger;
    DeliveryCountsWire { owed, delivered, pending, leased, dead, purged }
}

/// What a redrive, replay, purge or cancel is about. Every filter narrows it; at least one, or `all`, is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderWire {
    /// Exactly these deliveries (`evt_…/destination`), at most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Of this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// To this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Of a type matching this glob.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Replay only: `delivered` or `dead` ones; both by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Received at or after: RFC 3339, or how long ago (`7d`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Received before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// All of them.
    pub all: bool,
    /// Purge only: deliveries, also pending ones, of destinations that are no longer configured.
    pub orphaned: bool,
    /// Only say how many it would be.
    pub dry_run: bool,
    /// Redrive and replay: also behind newer delivered ones of the same ordering key.
    pub out_of_order: bool,
    /// Change at most so many, and say in `next` where to go on. Without it: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `next` of the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportWire {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Deliveries changed, or that would be.
    pub changed: u64,
    /// Deliveries left alone because newer ones of their ordering key are delivered already.
    pub out_of_order: u64,
    /// Pass it as `after` to go on, when `limit` ended the call early.
    pub next: Option<String>,
}

impl ReportWire {
    /// As it travels.
    #[must_use]
    pub fn of(report: &Report, dry_run: bool) -> Self {
        Self {
            dry_run,
            changed: report.changed,
            out_of_order: report.out_of_order,
            next: report.next.as_ref().map(ToString::to_string),
        }
    }
}
