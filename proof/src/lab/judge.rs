//! Compares the sender's journal, the handler's journal and the ledger. What must hold after every fault:
//!
//! - nothing acknowledged is missing, and its body is the one that was sent, byte for byte;
//! - nothing was delivered that was not sent;
//! - each id is one event, whatever was sent twice;
//! - the ledger balances, and counting the rows gives the same.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use tenterhook::model::{Clock, SystemClock};
use tenterhook::store::sqlite::{SqliteSettings, SqliteStore};
use tenterhook::store::{EventQuery, Store};
use tenterhook::telemetry::metrics::Metrics;

use super::gateway::Gateway;
use super::handler::Handler;
use super::load::{Journal, body};
use crate::rig::Tally;

/// How the line of a violation begins that tells of an event that is lost.
pub const LOST: &str = "acknowledged, never delivered";

/// Waits until nothing is pending or leased any more, then compares all three.
pub async fn settled(gateway: &Gateway, journal: &Journal, handler: &Handler) -> anyhow::Result<Tally> {
    let at_rest = |ledger: &serde_json::Value| {
        ledger["deliveries"]["pending"] == 0 && ledger["deliveries"]["leased"] == 0
    };
    let ledger = gateway.ledger_when("everything is settled", at_rest).await?;
    let counted = gateway.admin("/api/v1/ledger?verify=true").await?;
    let mut tally = Tally::default();
    tally.check(counted["verified"]["matches"] == true, || format!("the rows say otherwise: {counted}"));
    let (sent, delivered) = (journal.events(), handler.delivered());
    let owed = ledger["deliveries"]["owed"].as_u64().unwrap_or_default();
    let accepted = ledger["events"]["accepted"].as_u64().unwrap_or_default();
    let dead = ledger["deliveries"]["dead"].as_u64().unwrap_or_default();
    tally.check(dead == 0, || format!("{dead} are dead: {ledger}"));
    let acked = sent.values().filter(|it| it.acked.is_some()).count() as u64;
    let maybe = sent.values().filter(|it| it.acked.is_none() && it.unknown > 0).count() as u64;
    tally.check((acked..=acked + maybe).contains(&accepted), || {
        format!("{acked} acknowledged (and {maybe} unknown), {accepted} accepted")
    });
    tally.check(owed == accepted, || format!("{accepted} accepted, {owed} owed"));
    for (id, known) in &sent {
        match delivered.get(id) {
            None if known.acked.is_some() => {
                tally.violations.push(format!("{LOST}: {id} {known:?}"));
            }
            Some((_, got)) if *got != body(id) => {
                tally.violations.push(format!("delivered with another body: {id}"));
            }
            _ => {}
        }
    }
    for id in delivered.keys().filter(|id| !sent.contains_key(*id)) {
        tally.violations.push(format!("delivered, never sent: `{id}`"));
    }
    tally.count("events acknowledged", acked);
    tally.count("deliveries", delivered.values().map(|(times, _)| times).sum());
    tally.count("delivered again", delivered.values().map(|(times, _)| times.saturating_sub(1)).sum());
    Ok(tally)
}

/// The events of a database that no gateway has open, by the provider's id: the gateway's id and the body.
pub async fn stored(database: &Path) -> anyhow::Result<HashMap<String, (String, Bytes)>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store = SqliteStore::open(SqliteSettings::new(database), clock, Arc::new(Metrics::new()))
        .context("the store does not open")?;
    let mut found = HashMap::new();
    let mut after = None;
    loop {
        let page = store.events(EventQuery { after, limit: 1000, ..EventQuery::default() }).await?;
        for event in page.items {
            let payload = store.payload(event.id, None).await?.context("an event without a body")?;
            let id = event.provider_event_id.unwrap_or_default();
            let again = found.insert(id.clone(), (event.id.to_string(), payload.body));
            anyhow::ensure!(again.is_none(), "two events with the id `{id}`");
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    store.close().await?;
    Ok(found)
}

/// Every acknowledged event of the journal is in `stored` with its body.
#[must_use]
pub fn acknowledged_are_stored(acked: &[String], stored: &HashMap<String, (String, Bytes)>) -> Tally {
    let mut tally = Tally::default();
    for id in acked {
        match stored.get(id) {
            None => tally.violations.push(format!("acknowledged, not stored: {id}")),
            Some((_, kept)) if *kept != body(id) => {
                tally.violations.push(format!("stored with another body: {id}"));
            }
            Some(_) => {}
        }
    }
    tally.count("events acknowledged", acked.len() as u64);
    tally
}
