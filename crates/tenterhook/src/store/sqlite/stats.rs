//! Ledger and gauges: read from the counters, or counted anew from the rows.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::names::Names;
use crate::model::{DestinationName, DestinationStats, EventCounts, EventId, Ledger, Stats, Timestamp};
use crate::store::{AuditEntry, Page};

/// Counters and gauges, in one read transaction. Bytes and keys are the caller's to fill in.
pub(super) fn stats(conn: &Connection, names: &Names, now: Timestamp) -> rusqlite::Result<Stats> {
    let read = conn.unchecked_transaction()?;
    let mut stats = Stats::default();
    stats.ledger.events =
        read.prepare_cached("SELECT accepted,ignored,conflicts FROM meta")?.query_row([], counts)?;
    let mut statement = read.prepare_cached(
        "SELECT dest,owed,delivered,pending,leased,dead,purged,retrying,held FROM tally WHERE owed>0",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let ledger = &mut stats.ledger;
        let [owed, delivered, pending, leased, dead, purged, retrying, held] = figures(row, 1)?;
        ledger.owed += owed;
        ledger.delivered += delivered;
        ledger.pending += pending;
        ledger.leased += leased;
        ledger.dead += dead;
        ledger.purged += purged;
        let Ok(name) = names.text(row.get(0)?).parse::<DestinationName>() else { continue };
        let oldest_pending = if pending > 0 { oldest_pending(&read, row.get(0)?, now)? } else { None };
        let figures = DestinationStats {
            delivered,
            pending,
            retrying,
            leased,
            dead,
            held,
            oldest_pending,
            paused: false,
        };
        stats.destinations.insert(name, figures);
    }
    drop(rows);
    drop(statement);
    mark_paused(&read, names, &mut stats.destinations)?;
    read.finish()?;
    Ok(stats)
}

fn oldest_pending(
    conn: &Connection,
    dest: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<std::time::Duration>> {
    // Only pending ones are in this index: the cost grows with the backlog, not with the history.
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(event) FROM delivery INDEXED BY ready WHERE state=0 AND dest=?1")?
        .query_row([dest], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(None) };
    let received: i64 = conn
        .prepare_cached("SELECT coalesce((SELECT received FROM event WHERE id=?1),?2)")?
        .query_row([oldest, EventId::from_raw(oldest).time().millis()], |row| row.get(0))?;
    Ok(Some(now.since(Timestamp::from_millis(received))))
}

fn mark_paused(
    conn: &Connection,
    names: &Names,
    destinations: &mut BTreeMap<DestinationName, DestinationStats>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("SELECT dest FROM paused")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(name) = names.text(row.get(0)?).parse::<DestinationName>() {
            destinations.entry(name).or_default().paused = true;
        }
    }
    Ok(())
}

/// One destination's flag, without all the rest.
pub(super) fn is_paused(
    conn: &Connection,
    names: &Names,
    destination: &DestinationName,
) -> rusqlite::Result<bool> {
    let Some(dest) = names.id(destination.as_str()) else { return Ok(false) };
    conn.prepare_cached("SELECT 1 FROM paused WHERE dest=?1")?.exists([dest])
}

/// The ledger from the rows, and from what rows that are gone were counted as.
pub(super) fn recount(conn: &Connection) -> rusqlite::Result<Ledger> {
    rows(&*conn.unchecked_transaction()?)
}

/// The counters, and the rows counted anew, of one moment.
pub(super) fn compare(conn: &Connection) -> rusqlite::Result<(Ledger, Ledger)> {
    let read = conn.unchecked_transaction()?;
    let events = read.query_row("SELECT accepted,ignored,conflicts FROM meta", [], counts)?;
    let sums = "SELECT coalesce(sum(owed),0),coalesce(sum(delivered),0),coalesce(sum(pending),0),
                coalesce(sum(leased),0),coalesce(sum(dead),0),coalesce(sum(purged),0) FROM tally";
    let counters = read.query_row(sums, [], |row| {
        let [owed, delivered, pending, leased, dead, purged] = figures(row, 0)?;
        Ok(Ledger { events, owed, delivered, pending, leased, dead, purged })
    })?;
    Ok((counters, rows(&read)?))
}

fn rows(read: &Connection) -> rusqlite::Result<Ledger> {
    let events = read.query_row(
        "SELECT gone_accepted+(SELECT count(*) FROM event),
         gone_ignored+(SELECT coalesce(sum(ignored),0) FROM event),
         gone_conflicts+(SELECT count(*) FROM conflict) FROM meta",
        [],
        counts,
    )?;
    let mut ledger = read.query_row(
        "SELECT coalesce(sum(gone_delivered),0), coalesce(sum(gone_purged),0) FROM tally",
        [],
        |row| {
            let [delivered, purged] = figures(row, 0)?;
            Ok(Ledger { events, delivered, purged, owed: delivered + purged, ..Ledger::default() })
        },
    )?;
    let mut statement = read.prepare("SELECT state, count(*) FROM delivery GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let [state, count] = figures(row, 0)?;
        ledger.owed += count;
        match state {
            0 => ledger.pending += count,
            1 => ledger.leased += count,
            2 => ledger.delivered += count,
            4 => ledger.purged += count,
            _ => ledger.dead += count,
        }
    }
    Ok(ledger)
}

/// The audit trail, newest first.
pub(super) fn audits(
    conn: &Connection,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Page<AuditEntry>> {
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut items: Vec<AuditEntry> = conn
        .prepare_cached(
            "SELECT id,at,actor,action,subject,count FROM audit WHERE id<?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map([before.unwrap_or(i64::MAX), wanted], |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                at: Timestamp::from_millis(row.get(1)?),
                actor: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                count: figures::<1>(row, 5)?[0],
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { items, next })
}

fn counts(row: &rusqlite::Row<'_>) -> rusqlite::Result<EventCounts> {
    let [accepted, ignored, conflicts] = figures(row, 0)?;
    Ok(EventCounts { accepted, ignored, conflicts })
}

/// Counters from a column on; they never are negative, and if one is, zero beats a panic.
fn figures<const N: usize>(row: &rusqlite::Row<'_>, from: usize) -> rusqlite::Result<[u64; N]> {
    let mut figures = [0; N];
    for (index, figure) in figures.iter_mut().enumerate() {
        *figure = u64::try_from(row.get::<_, i64>(from + index)?).unwrap_or(0);
    }
    Ok(figures)
}
