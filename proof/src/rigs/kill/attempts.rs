//! Holds the recorded attempts of every delivery against what the handler was given and against what the gateway said
//! that it had recorded. What must hold, exactly:
//!
//! - the handler is given an attempt once, and no attempt that was not leased;
//! - an attempt recorded with an answer is one that the handler gave just that answer;
//! - a delivery is recorded as delivered by its last attempt, once, and there is no attempt after it;
//! - what the gateway said was recorded (its log says so only after the commit) is recorded;
//! - an attempt without a record is an unknown outcome: there are no more than kills or pauses times attempts in flight;
//! - a success that was repeated is an unknown outcome, or one that came too late;
//! - where nothing but its end takes a lease away, the attempt after a lost one begins no sooner than that end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tenterhook::model::{Clock, DeliveryState, SystemClock};
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{AttemptRecord, DeliveryDetail, EventDetail, EventQuery, Store};
use tenterhook::telemetry::metrics::Metrics;

use crate::lab::handler::Received;
use crate::rig::Tally;

/// The log event of the gateway that follows the commit of a success.
pub(super) const RECORDED: &str = "webhook_processed";

/// Leases that a lane has at the same time: its places, as many whose settlement is not durable yet, and two for each
/// place that are taken ahead.
pub(super) fn at_once(concurrency: u64) -> u64 {
    4 * concurrency
}

/// What is known from outside.
pub(super) struct Known<'a> {
    /// What the handler was given.
    pub(super) received: &'a [Received],
    /// The gateway's lines [`RECORDED`].
    pub(super) said: &'a [Value],
    /// Attempts that may have been cut off: kills or pauses times [`at_once`].
    pub(super) unknown_max: u64,
    /// How long a lease lasts, where nothing but its end takes it away.
    pub(super) lease: Option<Duration>,
}

/// All events of a store that no gateway has open.
pub(super) async fn recorded(database: &Path) -> anyhow::Result<Vec<EventDetail>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store = SqliteStore::open(SqliteSettings::new(database), clock, Arc::new(Metrics::new()))
        .context("the store does not open")?;
    let mut events = Vec::new();
    let mut query = EventQuery { limit: 1000, ..EventQuery::default() };
    loop {
        let page = store.events(query.clone()).await?;
        for summary in page.items {
            events.push(store.event(summary.id).await?.context("an event of the list is there")?);
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    store.close().await?;
    Ok(events)
}

/// Judges all deliveries; each event has one.
pub(super) fn judge(tally: &mut Tally, events: &[EventDetail], known: &Known) {
    let mut given: HashMap<&str, BTreeMap<u32, &Received>> = HashMap::new();
    for received in known.received {
        let attempts = given.entry(received.header("webhook-id")).or_default();
        let again = attempts.insert(received.attempt(), received);
        tally.check(again.is_none(), || {
            format!("attempt {} of {} came twice", received.attempt(), received.header("webhook-id"))
        });
    }
    let mut said: HashMap<&str, HashSet<u64>> = HashMap::new();
    for line in known.said {
        let id = line["id"].as_str().unwrap_or_default();
        said.entry(id).or_default().insert(line["attempt"].as_u64().unwrap_or_default());
    }
    let mut unknown = 0;
    let nothing = BTreeMap::new();
    for event in events {
        let id = event.summary.id.to_string();
        let given = given.remove(id.as_str()).unwrap_or_else(|| nothing.clone());
        for delivery in &event.deliveries {
            let one = One { delivery, given: &given };
            one.judge(tally);
            unknown += one.without_record();
            one.was_recorded(tally, said.remove(id.as_str()).unwrap_or_default());
            if let Some(lease) = known.lease {
                one.began_after_lost_leases(tally, lease);
            }
        }
    }
    for id in given.keys().chain(said.keys()) {
        tally.violations.push(format!("the handler or the log knows an event that is not stored: {id}"));
    }
    tally.check(unknown <= known.unknown_max, || {
        format!("{unknown} attempts have no record, and at most {} were cut off", known.unknown_max)
    });
    tally.count("unknown outcomes", unknown);
}

/// One delivery and what the handler knows of it.
struct One<'a> {
    delivery: &'a DeliveryDetail,
    given: &'a BTreeMap<u32, &'a Received>,
}

impl One<'_> {
    fn record(&self, attempt: u32) -> Option<&AttemptRecord> {
        self.delivery.attempts.iter().find(|it| it.number == attempt)
    }

    /// Attempts that were leased and of which nothing was recorded.
    fn without_record(&self) -> u64 {
        (1..=self.delivery.summary.attempts).filter(|it| self.record(*it).is_none()).count() as u64
    }

    fn judge(&self, tally: &mut Tally) {
        let (id, last) = (&self.delivery.summary.id, self.delivery.summary.attempts);
        let state = self.delivery.summary.state;
        tally.check(state == DeliveryState::Delivered, || format!("{id} is {}", state.as_str()));
        let complete: Vec<u32> =
            self.delivery.attempts.iter().filter(|it| it.verdict == "complete").map(|it| it.number).collect();
        tally.check(complete == [last], || {
            format!("{id}: {last} attempts, and these are recorded as delivered: {complete:?}")
        });
        for (attempt, received) in self.given {
            tally.check((1..=last).contains(attempt), || format!("{id}: attempt {attempt} of {last} came"));
            let again = received.status.is_success() && *attempt != last;
            if again {
                let unknown = self.record(*attempt).is_none_or(|it| it.status.is_none());
                tally.check(unknown, || format!("{id}: attempt {attempt} had its answer, and was repeated"));
            }
        }
        for record in &self.delivery.attempts {
            let number = record.number;
            let Some(status) = record.status else { continue };
            let answer = self.given.get(&number).map(|it| i32::from(it.status.as_u16()));
            tally.check(answer == Some(status), || {
                format!("{id}: attempt {number} is recorded with {status}, and was answered {answer:?}")
            });
        }
    }

    /// What was said to be recorded is.
    fn was_recorded(&self, tally: &mut Tally, said: HashSet<u64>) {
        for attempt in said {
            let record = u32::try_from(attempt).ok().and_then(|it| self.record(it));
            tally.check(record.is_some_and(|it| it.verdict == "complete"), || {
                format!(
                    "{}: the success of attempt {attempt} was recorded, and is not",
                    self.delivery.summary.id
                )
            });
        }
    }

    /// Each lost lease before an attempt lasted its whole time, one after the other.
    fn began_after_lost_leases(&self, tally: &mut Tally, lease: Duration) {
        let received_at = self.delivery.summary.received_at;
        for record in &self.delivery.attempts {
            let lost = (1..record.number).filter(|it| self.record(*it).is_none()).count();
            let earliest = received_at.plus(lease * u32::try_from(lost).unwrap_or(u32::MAX));
            tally.check(record.started_at >= earliest, || {
                let (id, number) = (&self.delivery.summary.id, record.number);
                format!("{id}: attempt {number} began while the lease of an earlier one was not over")
            });
        }
    }
}
