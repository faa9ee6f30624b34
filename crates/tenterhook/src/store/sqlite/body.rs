//! Reading bodies back, and holding them against their checksums. Bytes that do not fit are never handed out.

use http::HeaderMap;
use rusqlite::{Connection, OptionalExtension};

use super::codec::{self, Summed};
use super::engine;
use super::headers;
use super::lease::Picked;
use super::names::Names;
use crate::model::{EventId, Lease, Message, Timestamp};
use crate::store::Payload;

/// What came of reading the bodies of what was leased.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    pub(super) leases: Vec<Lease>,
    pub(super) corrupt: Vec<Picked>,
    pub(super) unread: Vec<Picked>,
    pub(super) error: Option<rusqlite::Error>,
}

/// Reads the bodies of leased rows, one by one: a damaged page costs the rows on it, not the others.
pub(super) fn read_all(conn: &Connection, names: &Names, picked: Vec<Picked>) -> Bodies {
    let mut bodies = Bodies::default();
    for picked in picked {
        if bodies.error.is_some() {
            bodies.unread.push(picked);
            continue;
        }
        match message(conn, names, picked.row.event) {
            Ok(Some(mut message)) => {
                message.attempt = u32::try_from(picked.row.attempts).unwrap_or(u32::MAX);
                bodies.leases.push(Lease {
                    delivery: picked.id(),
                    until: Timestamp::from_millis(picked.row.at),
                    attempt_of_budget: u32::try_from(picked.row.used()).unwrap_or(u32::MAX),
                    priority: picked.priority(),
                    message,
                });
            }
            Ok(None) => bodies.corrupt.push(picked),
            Err(error) if is_damage(&error) => bodies.corrupt.push(picked),
            Err(error) => {
                bodies.unread.push(picked);
                bodies.error = Some(error);
            }
        }
    }
    bodies
}

/// The stored headers and body of an event; outer `None`: no such event, inner: damaged.
pub(super) fn payload(
    conn: &Connection,
    names: &Names,
    id: EventId,
    conflict: Option<u32>,
) -> rusqlite::Result<Option<Option<Payload>>> {
    let found = match conflict {
        None => {
            let exists = conn.prepare_cached("SELECT 1 FROM event WHERE id=?1")?.exists([id.raw()])?;
            if !exists {
                return Ok(None);
            }
            message(conn, names, id.raw())
                .map(|message| message.map(|Message { headers, body, .. }| Payload { headers, body }))
                .map(Some)
        }
        Some(number) => conflict_payload(conn, id, number),
    };
    match found {
        Err(error) if is_damage(&error) => Ok(Some(None)),
        found => found,
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(_) => engine::is_damage(error),
        // A column of another type than any version ever wrote.
        None => !matches!(error, rusqlite::Error::QueryReturnedNoRows),
    }
}

/// The event as a destination is given it, but for the attempt's number; `None` when anything does not fit.
fn message(conn: &Connection, names: &Names, id: i64) -> rusqlite::Result<Option<Message>> {
    let found = conn
        .prepare_cached(
            "SELECT e.source,e.provider,e.ext_id,e.type,e.received,e.len,e.suspect,e.digest,
             p.sum,p.enc,p.correlation,p.url,p.headers,p.body
             FROM event e JOIN payload p ON p.id=e.id WHERE e.id=?1",
        )?
        .query_row([id], |row| checked(row, names, id))
        .optional()?;
    Ok(found.flatten())
}

fn checked(row: &rusqlite::Row<'_>, names: &Names, id: i64) -> rusqlite::Result<Option<Message>> {
    let (source, provider) = (names.text(row.get(0)?), names.text(row.get(1)?));
    let (headers, received) = (row.get_ref(12)?.as_blob()?, row.get(4)?);
    let Some(body) = codec::decompress(row.get(9)?, row.get_ref(13)?.as_blob()?, row.get(5)?) else {
        return Ok(None);
    };
    let summed = Summed {
        source: &source,
        provider: &provider,
        ext_id: row.get_ref(2)?.as_str_or_null()?,
        event_type: row.get_ref(3)?.as_str()?,
        correlation: row.get_ref(10)?.as_str()?,
        url: row.get_ref(11)?.as_str()?,
        received,
        digest: row.get_ref(7)?.as_blob()?,
        headers,
        body: &body,
    };
    if codec::bind(summed.sum(), id) != row.get::<_, i64>(8)? {
        return Ok(None);
    }
    let (Some(headers), Ok(source)) = (headers::decode(headers), source.parse()) else {
        return Ok(None);
    };
    Ok(Some(Message {
        id: EventId::from_raw(id),
        provider_event_id: summed.ext_id.map(str::to_owned),
        source,
        provider: provider.as_ref().to_owned(),
        event_type: summed.event_type.to_owned(),
        attempt: 0,
        first_received: Timestamp::from_millis(received),
        correlation_id: summed.correlation.to_owned(),
        original_url: summed.url.to_owned(),
        replay_suspect: row.get(6)?,
        headers,
        body,
    }))
}

fn conflict_payload(
    conn: &Connection,
    id: EventId,
    number: u32,
) -> rusqlite::Result<Option<Option<Payload>>> {
    conn.prepare_cached("SELECT headers,body,enc,len,digest,sum FROM conflict WHERE event=?1 AND n=?2")?
        .query_row([id.raw(), i64::from(number)], |row| {
            let (headers, digest) = (row.get_ref(0)?.as_blob()?, row.get_ref(4)?.as_blob()?);
            let Some(body) = codec::decompress(row.get(2)?, row.get_ref(1)?.as_blob()?, row.get(3)?) else {
                return Ok(None);
            };
            let sum = codec::conflict_sum(headers, &body, digest);
            let fits = codec::bind(sum, id.raw() ^ i64::from(number)) == row.get::<_, i64>(5)?;
            let headers: Option<HeaderMap> = headers::decode(headers).filter(|_| fits);
            Ok(headers.map(|headers| Payload { headers, body }))
        })
        .optional()
}
