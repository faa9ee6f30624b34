//! Events as people see them: lists and one in detail. A list never scans without end: past its time it answers with
//! what it has, and where to go on.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use tokio::time::Instant;

use super::accept::processed_at;
use super::codec;
use super::deliveries;
use super::names::Names;
use super::row::Row;
use crate::model::{EventId, EventState, SourceName, Timestamp};
use crate::store::selection::glob_matches;
use crate::store::{ConflictRecord, EventDetail, EventQuery, EventSummary, Page};

/// A page's share of time, below a read's deadline.
pub(super) const SCAN: Duration = Duration::from_secs(1);
/// Rows between two looks at the clock.
pub(super) const ROWS_A_LOOK: u64 = 256;

const COLUMNS: &str = "id,source,provider,ext_id,type,received,len,dups,conflicts,suspect";

/// A page of events after a cursor.
pub(super) fn page(
    conn: &Connection,
    names: &Names,
    query: &EventQuery,
    after: Option<EventId>,
    limit: usize,
) -> rusqlite::Result<Page<EventSummary>> {
    let mut page = Page { items: Vec::new(), next: None };
    let source = match &query.source {
        Some(source) => match names.id(source.as_str()) {
            Some(id) => Some(id),
            // Nothing ever came from it.
            None => return Ok(page),
        },
        None => None,
    };
    // An id is as old as the reception of its event, or younger.
    let since = query.since.map_or(i64::MIN, |since| EventId::floor_of(since).raw());
    let (low, high, order) = match (after, query.oldest_first) {
        (Some(after), true) => (since.max(after.raw() + 1), i64::MAX, "ASC"),
        (Some(after), false) => (since, after.raw() - 1, "DESC"),
        (None, true) => (since, i64::MAX, "ASC"),
        (None, false) => (since, i64::MAX, "DESC"),
    };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event WHERE id>=?1 AND id<=?2 ORDER BY id {order}"
    ))?;
    let mut rows = statement.query([low, high])?;
    let (began, mut looked_at) = (Instant::now(), 0_u64);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let id: i64 = row.get(0)?;
        if is_asked_for(row, query, source)? {
            let summary = summary(conn, names, row)?;
            if query.state.is_none_or(|state| state == summary.state) {
                if page.items.len() == limit {
                    page.next = page.items.last().map(|last: &EventSummary| last.id.to_string());
                    return Ok(page);
                }
                page.items.push(summary);
            }
        }
        if looked_at.is_multiple_of(ROWS_A_LOOK) && began.elapsed() > SCAN {
            page.next = Some(EventId::from_raw(id).to_string());
            return Ok(page);
        }
    }
    Ok(page)
}

/// The filters that need only the row, cheapest first, without making any string.
fn is_asked_for(row: &rusqlite::Row<'_>, query: &EventQuery, source: Option<i64>) -> rusqlite::Result<bool> {
    if source.is_some_and(|source| row.get::<_, i64>(1) != Ok(source)) {
        return Ok(false);
    }
    let received = Timestamp::from_millis(row.get(5)?);
    if query.since.is_some_and(|since| received < since) || query.until.is_some_and(|until| received >= until)
    {
        return Ok(false);
    }
    if let Some(wanted) = &query.provider_event_id
        && row.get_ref(3)?.as_bytes_or_null()? != Some(wanted.as_bytes())
    {
        return Ok(false);
    }
    match &query.event_type {
        Some(glob) => Ok(glob_matches(glob, &codec::lossy(row.get_ref(4)?.as_bytes()?))),
        None => Ok(true),
    }
}

fn summary(conn: &Connection, names: &Names, row: &rusqlite::Row<'_>) -> rusqlite::Result<EventSummary> {
    let id: i64 = row.get(0)?;
    let rows = Row::of_event(conn, id)?;
    Ok(EventSummary {
        id: EventId::from_raw(id),
        provider_event_id: row.get_ref(3)?.as_bytes_or_null()?.map(|bytes| codec::lossy(bytes).into_owned()),
        source: source_name(names, row.get(1)?)?,
        provider: names.text(row.get(2)?).as_ref().to_owned(),
        event_type: codec::lossy(row.get_ref(4)?.as_bytes()?).into_owned(),
        state: EventState::of(rows.iter().map(|row| codec::state_of(row.state))),
        received_at: Timestamp::from_millis(row.get(5)?),
        body_bytes: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        duplicates: u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
        conflicts: u32::try_from(row.get::<_, i64>(8)?).unwrap_or(u32::MAX),
        replay_suspect: row.get(9)?,
    })
}

/// A source's name; a damaged one is shown as `unknown`.
pub(super) fn source_name(names: &Names, id: i64) -> rusqlite::Result<SourceName> {
    let text = names.text(id);
    text.parse().or_else(|_| "unknown".parse()).map_err(|_| rusqlite::Error::InvalidQuery)
}

/// One event with all that is known of it.
pub(super) fn detail(conn: &Connection, names: &Names, id: EventId) -> rusqlite::Result<Option<EventDetail>> {
    let Some(summary) = conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE id=?1"))?
        .query_row([id.raw()], |row| summary(conn, names, row))
        .optional()?
    else {
        return Ok(None);
    };
    let text = |row: &rusqlite::Row<'_>, column| -> rusqlite::Result<Option<String>> {
        Ok(row.get_ref(column)?.as_bytes_or_null()?.map(|bytes| codec::lossy(bytes).into_owned()))
    };
    let (correlation_id, ip, original_url) = conn
        .prepare_cached("SELECT correlation,ip,url FROM payload WHERE id=?1")?
        .query_row([id.raw()], |row| Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?)))
        .optional()?
        .unwrap_or_default();
    let body_digest = conn
        .prepare_cached("SELECT digest FROM event WHERE id=?1")?
        .query_row([id.raw()], |row| Ok(digest(row.get_ref(0)?)))?;
    let result = conn
        .prepare_cached("SELECT text FROM result WHERE event=?1")?
        .query_row([id.raw()], |row| text(row, 0))
        .optional()?
        .flatten();
    let rows = Row::of_event(conn, id.raw())?;
    Ok(Some(EventDetail {
        summary,
        correlation_id: correlation_id.unwrap_or_default(),
        source_ip: ip.and_then(|ip| ip.parse().ok()),
        original_url: original_url.unwrap_or_default(),
        body_digest,
        processed_at: processed_at(&rows).map(Timestamp::from_millis),
        result,
        deliveries: deliveries::details(conn, names, id)?,
        conflicts: conflicts(conn, id)?,
    }))
}

fn conflicts(conn: &Connection, id: EventId) -> rusqlite::Result<Vec<ConflictRecord>> {
    conn.prepare_cached("SELECT n,received,len,digest,delivered_as FROM conflict WHERE event=?1 ORDER BY n")?
        .query_map([id.raw()], |row| {
            Ok(ConflictRecord {
                number: row.get(0)?,
                received_at: Timestamp::from_millis(row.get(1)?),
                body_bytes: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                body_digest: digest(row.get_ref(3)?),
                delivered_as: row.get::<_, Option<i64>>(4)?.map(EventId::from_raw),
            })
        })?
        .collect()
}

fn digest(value: rusqlite::types::ValueRef<'_>) -> [u8; 16] {
    value.as_blob().ok().and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}
