//! What became of each event of a load, according to the gateway: its list of events is walked, and every one of this
//! run is found in it by its id. Where a provider has no id, the gateway's counts have to do.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::drive::Load;
use super::figures::Handled;
use super::journal::{Entry, Listed};
use crate::cli::failure::Failure;
use crate::cli::gateway::Gateway;
use crate::cli::page::Page;
use crate::model::Timestamp;

const PAGE: &str = "1000";
/// How long attempts that are under way at the end are waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// How events were found at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Each by its id.
    Ids,
    /// By what the gateway's ledger counted more; others who send meanwhile are counted, too.
    Counts,
    /// There was nobody to ask but the handler.
    Handler,
}

/// The end of a load: where its events are.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger {
    /// How the gateway's figures were found.
    pub by: By,
    /// Distinct events that were answered 2xx.
    pub acked: u64,
    /// Events that the gateway holds, acknowledged or not.
    pub stored: Option<u64>,
    /// Events whose deliveries are all confirmed, as the gateway says.
    pub delivered: Option<u64>,
    /// Events that the handler saw once.
    pub delivered_once: Option<u64>,
    /// Events that the handler saw more than once.
    pub delivered_twice: Option<u64>,
    /// Acknowledged, and the gateway does not hold it; or it says delivered, and the handler never saw it; or, where
    /// there is no gateway to ask, the handler never saw it.
    pub lost: u64,
}

/// The counts before a load, to be compared with those after it.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    at: Timestamp,
    accepted: u64,
    delivered: u64,
}

impl Before {
    /// Reads the counts. `at` is a time before the first request, by the clock of the gateway.
    pub async fn read(gateway: &Gateway, at: Timestamp) -> Result<Self, Failure> {
        let (accepted, delivered) = counts(gateway).await?;
        Ok(Self { at, accepted, delivered })
    }
}

async fn counts(gateway: &Gateway) -> Result<(u64, u64), Failure> {
    let ledger: Value = gateway.get("/api/v1/ledger", &[]).await?;
    let count = |place: &str| ledger.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    Ok((count("/events/accepted"), count("/deliveries/delivered")))
}

/// Asks the gateway.
pub async fn ask(
    load: &Load,
    acked: u64,
    handled: Option<&Handled>,
    gateway: &Gateway,
    before: Before,
) -> Result<Ledger, Failure> {
    let has_handler = handled.is_some();
    if has_handler {
        settled(gateway).await?;
    }
    let found = walk(load, gateway, before.at).await?;
    let mut ledger = of_handler(acked, handled);
    if found == 0 && acked > 0 {
        let (accepted, delivered) = counts(gateway).await?;
        let stored = accepted.saturating_sub(before.accepted);
        ledger.by = By::Counts;
        ledger.stored = Some(stored);
        ledger.delivered = Some(delivered.saturating_sub(before.delivered));
        ledger.lost = ledger.lost.max(acked.saturating_sub(stored));
        return Ok(ledger);
    }
    let journal = load.journal();
    let is_lost = |entry: &Entry| match entry.listed {
        Listed::Not => entry.acked,
        Listed::Delivered => has_handler && entry.handled == 0,
        Listed::Kept => false,
    };
    ledger.by = By::Ids;
    ledger.stored = Some(journal.count(|entry| entry.listed != Listed::Not));
    ledger.delivered = Some(journal.count(|entry| entry.listed == Listed::Delivered));
    ledger.lost = journal.count(is_lost);
    Ok(ledger)
}

/// Waits until no attempt is under way: what the handler answered last becomes durable a moment after it.
async fn settled(gateway: &Gateway) -> Result<(), Failure> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while Instant::now() < deadline {
        look.tick().await;
        let ledger: Value = gateway.get("/api/v1/ledger", &[]).await?;
        if ledger.pointer("/deliveries/leased").and_then(Value::as_u64) == Some(0) {
            break;
        }
    }
    Ok(())
}

/// The ledger where there is no gateway to ask.
#[must_use]
pub fn of_handler(acked: u64, handled: Option<&Handled>) -> Ledger {
    Ledger {
        by: By::Handler,
        acked,
        stored: None,
        delivered: None,
        delivered_once: handled.map(|handled| handled.once),
        delivered_twice: handled.map(|handled| handled.twice),
        lost: handled.map_or(0, |handled| handled.never),
    }
}

/// Looks at every event since `since`; how many of them were of this run.
async fn walk(load: &Load, gateway: &Gateway, since: Timestamp) -> Result<u64, Failure> {
    let (mut found, mut after) = (0, String::new());
    loop {
        let query = [
            ("since", since.rfc3339()),
            ("order", "asc".to_owned()),
            ("limit", PAGE.to_owned()),
            ("after", after),
        ];
        let page: Page = gateway.get("/api/v1/events", &query).await?;
        for event in &page.items {
            let Some(number) = event["event_id"].as_str().and_then(|id| number_in(load, id)) else {
                continue;
            };
            let is_delivered = event["state"] == "delivered";
            load.journal().listed(number, if is_delivered { Listed::Delivered } else { Listed::Kept });
            found += 1;
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

fn number_in(load: &Load, id: &str) -> Option<u64> {
    let at = memchr::memmem::find(id.as_bytes(), load.plan().run())?;
    load.plan().number(&id.as_bytes()[at..])
}
