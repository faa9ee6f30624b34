//! What must hold of a store after the power came back. Two looks, in whichever order, as each of them recovers the
//! store: one at the file, and one through a real gateway that starts on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::rack::aside;
use super::senders::{ON_THEIR_WAY, is_duplicate_of};
use crate::lab::load::{Sender, body};
use crate::lab::{Gateway, Handler, Journal, Lab, PATIENCE, Site, judge};
use crate::rig::Tally;

/// The destination of every gateway of this rig.
pub(super) const DESTINATION: &str = "concurrency = 16\nretry = { base = \"100ms\", cap = \"1s\" }";

/// Acknowledged events that are sent once more after a cut, to see that their keys are durable, too.
const SENT_AGAIN: usize = 3;

/// The file: SQLite finds nothing wrong with it, and every event that was acknowledged is there, byte for byte.
pub(super) async fn at_file(database: &Path, acked: &[String]) -> Tally {
    let mut tally = Tally::default();
    let path = database.to_owned();
    match aside(move || integrity(&path)).await {
        Ok(verdict) => tally.check(verdict == "ok", || format!("integrity_check: {verdict}")),
        Err(error) => tally.violations.push(format!("the database does not open: {error:#}")),
    }
    let stored = match judge::stored(database).await {
        Ok(stored) => stored,
        Err(error) => {
            tally.violations.push(format!("the store cannot be read: {error:#}"));
            HashMap::new()
        }
    };
    let found = judge::acknowledged_are_stored(acked, &stored);
    tally.count("acknowledged events looked for", acked.len() as u64);
    tally.count("acknowledged events lost", found.violations.len() as u64);
    tally.violations.extend(found.violations);
    tally
}

/// SQLite's own verdict. The log is left as it is, for the next look.
fn integrity(database: &Path) -> anyhow::Result<String> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?)
}

/// What a look through a gateway needs to know of the time before the cut.
pub(super) struct Before<'a> {
    /// The events that were acknowledged.
    pub(super) acked: &'a [String],
    /// What the senders know by now.
    pub(super) journal: &'a Journal,
    /// What the handler was given before the cut, where everything is to be delivered now.
    pub(super) delivered: Option<HashMap<String, Bytes>>,
}

/// A real gateway starts on it, is ready, its ledger is right, it knows what was acknowledged, and it delivers the rest.
pub(super) async fn through_gateway(
    lab: &Lab,
    database: PathBuf,
    before: Before<'_>,
    sender: &Sender,
    random: &mut fastrand::Rng,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let handler = Handler::start().await?;
    let site = Site::simple(lab, Some(&database), &handler.url(), DESTINATION)?;
    let began = Instant::now();
    let gateway = match site.start().await {
        Ok(gateway) => gateway,
        Err(error) => {
            tally.violations.push(format!("the gateway does not start: {error:#}"));
            return Ok(tally);
        }
    };
    tally.count("gateways started after a cut", 1);
    tally.worst("start_ms", began.elapsed().as_secs_f64() * 1e3);
    let events = before.journal.events();
    ledger(&gateway, before.acked.len(), events.len() + ON_THEIR_WAY, &mut tally).await?;
    for _ in 0..SENT_AGAIN.min(before.acked.len()) {
        let id = &before.acked[random.usize(..before.acked.len())];
        let known = events.get(id).and_then(|sent| sent.id.as_deref());
        let answer = sender.send(&gateway.at, id, &body(id), PATIENCE).await;
        tally.check(is_duplicate_of(answer.as_ref(), known), || {
            format!("acknowledged as {known:?}, not known as that after the cut: {id}: {answer:?}")
        });
        tally.count("acknowledged events sent again", 1);
    }
    if let Some(delivered) = before.delivered {
        drained(&gateway, &handler, before.acked, &delivered, &mut tally).await?;
    }
    gateway.kill().await?;
    Ok(tally)
}

/// It is ready, and its ledger balances, counts no more than was sent and no less than was acknowledged.
pub(super) async fn ledger(
    gateway: &Gateway,
    acked: usize,
    sent: usize,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let ready = gateway.admin_status("/readyz").await?;
    tally.check(ready == 200, || format!("not ready after the cut: {ready}\n{}", gateway.log_tail()));
    let ledger = gateway.admin("/api/v1/ledger?verify=true").await?;
    let right = ledger["balanced"] == true && ledger["verified"]["matches"] == true;
    tally.check(right, || format!("the ledger is wrong after the cut: {ledger}"));
    let accepted = ledger["events"]["accepted"].as_u64().context("the ledger counts events")?;
    tally.check((acked as u64..=sent as u64).contains(&accepted), || {
        format!("{acked} acknowledged, {sent} sent, {accepted} accepted after the cut")
    });
    Ok(())
}

/// Everything comes to rest, and each acknowledged event was delivered before the cut or is delivered now.
async fn drained(
    gateway: &Gateway,
    handler: &Handler,
    acked: &[String],
    before: &HashMap<String, Bytes>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let at_rest = |ledger: &serde_json::Value| {
        let deliveries = &ledger["deliveries"];
        deliveries["pending"] == 0 && deliveries["leased"] == 0 && deliveries["dead"] == 0
    };
    gateway.ledger_when("everything is delivered after the cut", at_rest).await?;
    let now = handler.delivered();
    for id in acked {
        let bodies = [before.get(id), now.get(id).map(|(_, got)| got)];
        let mut delivered = bodies.into_iter().flatten().peekable();
        tally.check(delivered.peek().is_some(), || format!("acknowledged, never delivered: {id}"));
        tally.check(delivered.all(|got| *got == body(id)), || format!("delivered with another body: {id}"));
    }
    tally.count("drained after a cut", 1);
    tally.count("deliveries after a cut", now.values().map(|(times, _)| times).sum());
    Ok(())
}

/// What a handler was given until `then`: the body, by the provider's id.
pub(super) fn delivered_until(handler: &Handler, then: Instant) -> HashMap<String, Bytes> {
    let journal = handler.journal().into_iter().filter(|it| it.at <= then);
    journal.map(|it| (it.event().to_owned(), it.body)).collect()
}

/// How long a flush takes on the disk of a round, at most.
pub(super) const LATENCY_MAX: Duration = Duration::from_millis(3);
