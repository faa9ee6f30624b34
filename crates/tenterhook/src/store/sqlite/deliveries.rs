//! Deliveries as people see them, and which of them a change is about.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use rusqlite::Connection;
use tokio::time::Instant;

use super::codec;
use super::events::{ROWS_A_LOOK, SCAN, source_name};
use super::names::Names;
use super::row::Row;
use crate::model::{DeliveryId, DestinationName, EventId, SourceName, Timestamp};
use crate::store::selection::Candidate;
use crate::store::{AttemptRecord, Change, DeliveryDetail, DeliverySummary, Page, Selection};

/// A delivery whose event is gone, as with a damaged page, is shown, too: it is a dead letter that somebody has to see.
const COLUMNS: &str =
    "d.event,d.dest,d.state,d.prio,d.at,d.attempts,d.base,d.budget,d.held,d.hold,d.redriven,
    d.reason,d.ordh,d.line,d.ord,coalesce(e.source,-1),coalesce(e.type,''),e.received";

/// A delivery with what a selection looks at.
struct Found {
    id: DeliveryId,
    row: Row,
    ordering_key: Option<String>,
    source: SourceName,
    event_type: String,
    received_at: Timestamp,
}

/// How a scan ended.
enum Scanned {
    /// Everything was looked at, or the visitor had enough.
    Done,
    /// Time was up after this one.
    OutOfTime(DeliveryId),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

/// A page of deliveries, highest id first.
pub(super) fn page(
    conn: &Connection,
    names: &Names,
    selection: &Selection,
    before: Option<&DeliveryId>,
    limit: usize,
) -> rusqlite::Result<Page<DeliverySummary>> {
    let mut items: Vec<DeliverySummary> = Vec::new();
    let mut next = None;
    let high = before.map_or(i64::MAX, |before| before.event.raw());
    let scanned = scan(conn, names, selection, (i64::MIN, high), Order::NewestFirst, |found| {
        if before.is_some_and(|before| found.id >= *before) {
            return ControlFlow::Continue(());
        }
        if items.len() == limit {
            next = items.last().map(|last| last.id.to_string());
            return ControlFlow::Break(());
        }
        items.push(summary(found));
        ControlFlow::Continue(())
    })?;
    if let Scanned::OutOfTime(last) = scanned {
        next = Some(last.to_string());
    }
    Ok(Page { items, next })
}

/// What a change is about: at most `limit` deliveries in id order, and where the next slice begins.
pub(super) fn slice(
    conn: &Connection,
    names: &Names,
    selection: &Selection,
    change: Change,
    limit: usize,
) -> rusqlite::Result<(Vec<DeliveryId>, Option<DeliveryId>)> {
    let mut ids: Vec<DeliveryId> = Vec::new();
    let mut next = None;
    let low = selection.after_id.as_ref().map_or(i64::MIN, |after| after.event.raw());
    let scanned = scan(conn, names, selection, (low, i64::MAX), Order::OldestFirst, |found| {
        if !change.applies_to(codec::state_of(found.row.state), selection) {
            return ControlFlow::Continue(());
        }
        if ids.len() == limit {
            next = ids.last().cloned();
            return ControlFlow::Break(());
        }
        ids.push(found.id);
        ControlFlow::Continue(())
    })?;
    if let Scanned::OutOfTime(last) = scanned {
        next = Some(last);
    }
    Ok((ids, next))
}

/// The deliveries of one event with their attempts, by destination.
pub(super) fn details(
    conn: &Connection,
    names: &Names,
    event: EventId,
) -> rusqlite::Result<Vec<DeliveryDetail>> {
    let selection = Selection { event: Some(event), ..Selection::default() };
    let mut details = Vec::new();
    scan(conn, names, &selection, (i64::MIN, i64::MAX), Order::OldestFirst, |found| {
        let dest = found.row.dest;
        details.push((dest, DeliveryDetail { summary: summary(found), attempts: Vec::new() }));
        ControlFlow::Continue(())
    })?;
    details
        .into_iter()
        .map(|(dest, detail)| Ok(DeliveryDetail { attempts: attempts(conn, event, dest)?, ..detail }))
        .collect()
}

fn attempts(conn: &Connection, event: EventId, dest: i64) -> rusqlite::Result<Vec<AttemptRecord>> {
    conn.prepare_cached(
        "SELECT n,started,took,status,failure,verdict,excerpt FROM attempt WHERE event=?1 AND dest=?2 ORDER BY n",
    )?
    .query_map([event.raw(), dest], |row| {
        Ok(AttemptRecord {
            number: row.get(0)?,
            started_at: Timestamp::from_millis(row.get(1)?),
            took_ms: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
            status: row.get(3)?,
            failure: row.get::<_, Option<i64>>(4)?.and_then(codec::failure_of),
            verdict: codec::verdict_text(row.get(5)?).to_owned(),
            excerpt: codec::lossy(row.get_ref(6)?.as_bytes()?).into_owned(),
        })
    })?
    .collect()
}

fn summary(found: Found) -> DeliverySummary {
    let Found { id, row, ordering_key, source, event_type, received_at } = found;
    DeliverySummary {
        id,
        source,
        event_type,
        state: codec::state_of(row.state),
        priority: codec::priority_of(row.prio),
        ordering_key,
        held: row.state == codec::PENDING && row.held,
        attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
        at: Timestamp::from_millis(row.at),
        dead_reason: row.reason.filter(|_| row.state == codec::DEAD).and_then(codec::reason_of),
        received_at,
    }
}

/// Visits what a selection selects in id order, from events within `range`.
fn scan(
    conn: &Connection,
    names: &Names,
    selection: &Selection,
    range: (i64, i64),
    order: Order,
    mut visit: impl FnMut(Found) -> ControlFlow<()>,
) -> rusqlite::Result<Scanned> {
    // A name that was never written down selects nothing.
    let number = |name: Option<&str>| name.map(|name| names.id(name)).map_or(Some(-1), |id| id);
    let (Some(source), Some(dest)) = (
        number(selection.source.as_ref().map(SourceName::as_str)),
        number(selection.destination.as_ref().map(DestinationName::as_str)),
    ) else {
        return Ok(Scanned::Done);
    };
    let state = selection.state.map_or(-1, codec::state_code);
    let since = selection.since.map_or(i64::MIN, |since| EventId::floor_of(since).raw());
    let mut scan = Scan {
        names,
        selection,
        filters: [state, dest, source],
        known: HashMap::new(),
        began: Instant::now(),
        looked_at: 0,
    };
    let (low, high) = (range.0.max(since), range.1);
    let events: Option<BTreeSet<i64>> = match (&selection.ids, selection.event) {
        (Some(ids), _) => Some(ids.iter().map(|id| id.event.raw()).collect()),
        (None, Some(event)) => Some(BTreeSet::from([event.raw()])),
        (None, None) => None,
    };
    let Some(events) = events else { return scan.run(conn, low, high, order, &mut visit).map(|end| end.0) };
    let mut events: Vec<i64> = events.into_iter().filter(|event| (low..=high).contains(event)).collect();
    if order == Order::NewestFirst {
        events.reverse();
    }
    for event in events {
        let (end, enough) = scan.run(conn, event, event, order, &mut visit)?;
        if enough || matches!(end, Scanned::OutOfTime(_)) {
            return Ok(end);
        }
    }
    Ok(Scanned::Done)
}

struct Scan<'a> {
    names: &'a Names,
    selection: &'a Selection,
    filters: [i64; 3],
    known: HashMap<i64, Option<DestinationName>>,
    began: Instant,
    looked_at: u64,
}

impl Scan<'_> {
    /// Visits the events of a range; says how it ended, and whether the visitor had enough.
    fn run(
        &mut self,
        conn: &Connection,
        low: i64,
        high: i64,
        order: Order,
        visit: &mut impl FnMut(Found) -> ControlFlow<()>,
    ) -> rusqlite::Result<(Scanned, bool)> {
        let (index, only) =
            if self.filters[0] == codec::DEAD { ("INDEXED BY dead", "d.state=3 AND") } else { ("", "") };
        let direction = if order == Order::OldestFirst { "ASC" } else { "DESC" };
        let mut statement = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM delivery d {index} LEFT JOIN event e ON e.id=d.event
             WHERE {only} d.event>=?1 AND d.event<=?2 ORDER BY d.event {direction}"
        ))?;
        let mut rows = statement.query([low, high])?;
        // The rows of one event come by the destination's number, and go by its name.
        let mut of_event: Vec<Found> = Vec::new();
        let mut current = None;
        while let Some(row) = rows.next()? {
            let event: i64 = row.get(0)?;
            if current != Some(event) {
                if flush(&mut of_event, order, visit).is_break() {
                    return Ok((Scanned::Done, true));
                }
                if let Some(done) = current.filter(|_| self.is_out_of_time()) {
                    return Ok((Scanned::OutOfTime(edge(done, order)?), false));
                }
                current = Some(event);
            }
            self.looked_at += 1;
            // The filters are held here and not in SQL, where a row that nobody wants would never come up for air.
            let [state, dest, source] = self.filters;
            if (state < 0 || row.get::<_, i64>(2)? == state)
                && (dest < 0 || row.get::<_, i64>(1)? == dest)
                && (source < 0 || row.get::<_, i64>(15)? == source)
            {
                of_event.extend(self.found(row)?);
            }
        }
        let enough = flush(&mut of_event, order, visit).is_break();
        Ok((Scanned::Done, enough))
    }

    fn is_out_of_time(&mut self) -> bool {
        if self.looked_at < ROWS_A_LOOK {
            return false;
        }
        self.looked_at = 0;
        self.began.elapsed() > SCAN
    }

    fn found(&mut self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Found>> {
        let dest = row.get(1)?;
        let names = self.names;
        let name = self.known.entry(dest).or_insert_with(|| names.text(dest).parse().ok());
        let Some(destination) = name.clone() else { return Ok(None) };
        let event = EventId::from_raw(row.get(0)?);
        let received = row.get::<_, Option<i64>>(17)?.map(Timestamp::from_millis);
        let found = Found {
            id: DeliveryId { event, destination },
            row: Row::read(row)?,
            ordering_key: row.get_ref(14)?.as_bytes_or_null()?.map(|bytes| codec::lossy(bytes).into_owned()),
            source: source_name(names, row.get(15)?)?,
            event_type: codec::lossy(row.get_ref(16)?.as_bytes()?).into_owned(),
            received_at: received.unwrap_or_else(|| event.time()),
        };
        Ok(Some(found).filter(|found| {
            self.selection.selects(&Candidate {
                id: &found.id,
                state: codec::state_of(found.row.state),
                source: &found.source,
                event_type: &found.event_type,
                received_at: found.received_at,
            })
        }))
    }
}

/// The cursor behind every delivery of an event, in the direction of a scan: no name sorts below `0` or above 64 `z`.
fn edge(event: i64, order: Order) -> rusqlite::Result<DeliveryId> {
    let name = match order {
        Order::NewestFirst => "0".to_owned(),
        Order::OldestFirst => "z".repeat(64),
    };
    let destination = name.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
    Ok(DeliveryId { event: EventId::from_raw(event), destination })
}

fn flush(
    of_event: &mut Vec<Found>,
    order: Order,
    visit: &mut impl FnMut(Found) -> ControlFlow<()>,
) -> ControlFlow<()> {
    of_event.sort_by(|a, b| match order {
        Order::OldestFirst => a.id.cmp(&b.id),
        Order::NewestFirst => b.id.cmp(&a.id),
    });
    of_event.drain(..).try_for_each(visit)
}
