//! What is asked of a gateway that was just started again, and at the end of a round.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::lab::{Gateway, until};
use crate::rig::Tally;

/// How much longer than its lease an event may be invisible.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How soon the metrics of a gateway at rest are what they should be, also on a busy machine.
const METRICS_WITHIN: Duration = Duration::from_secs(10);

/// A gateway that says that it is ready has counters that fit its rows, and no leases of the one before.
pub(super) async fn is_sound(gateway: &Gateway, lease: Duration, tally: &mut Tally) -> anyhow::Result<()> {
    let ready = gateway.admin_status("/readyz").await?;
    tally.check(ready == 200, || format!("the gateway says that it is ready, and /readyz says {ready}"));
    let ledger = gateway.admin("/api/v1/ledger?verify=true").await?;
    tally.check(ledger["balanced"] == true, || format!("the ledger does not balance: {ledger}"));
    tally.check(ledger["verified"]["matches"] == true, || format!("the rows say otherwise: {ledger}"));
    let now = jiff::Timestamp::now();
    let longest = now.checked_add(lease + GRACE)?;
    for (id, until) in leased(gateway).await? {
        let sane = until.checked_add(GRACE)? >= now && until <= longest;
        tally.check(sane, || format!("{id} is leased until {until} at {now}"));
    }
    Ok(())
}

/// Deliveries under lease, and when it ends.
pub(super) async fn leased(gateway: &Gateway) -> anyhow::Result<Vec<(String, jiff::Timestamp)>> {
    let page = gateway.admin("/api/v1/deliveries?state=leased&limit=1000").await?;
    let item = |item: &Value| {
        let until = item["leased_until"].as_str().context("a leased delivery says until when")?;
        Ok((item["id"].to_string(), until.parse()?))
    };
    page["items"].as_array().context("a page has items")?.iter().map(item).collect()
}

/// The metrics of a gateway at rest fit its ledger, and the successes that it has logged since its start.
pub(super) async fn metrics_fit(
    gateway: &Gateway,
    logged: impl Fn() -> anyhow::Result<usize>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let dead = gateway.admin("/api/v1/ledger").await?["deliveries"]["dead"].as_f64().unwrap_or(-1.0);
    // A success is counted and logged a moment after it is in the ledger.
    let fit = || async {
        let text = gateway.admin_text("/metrics").await?;
        let wanted = [
            ("webhook_dlq_size", dead),
            ("webhook_retry_queue_size", 0.0),
            ("webhook_processed_total", logged()? as f64),
        ];
        Ok(wanted.iter().all(|(name, wanted)| (sum(&text, name) - wanted).abs() < 0.5).then_some(()))
    };
    let fits = until("the metrics fit the ledger and the log", METRICS_WITHIN, fit).await;
    if let Err(error) = fits {
        tally.violations.push(error.to_string());
    }
    Ok(())
}

/// The sum of a metric over its labels.
fn sum(text: &str, name: &str) -> f64 {
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    text.lines().filter(of_it).filter_map(value).sum()
}
