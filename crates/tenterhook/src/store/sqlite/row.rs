//! A delivery's row, and the one function through which every change of it goes: it keeps the ledger and the lines.
//!
//! A *line* is what waits for one ordering key of one destination. Whoever is in it and not `held` is at its head; all
//! others are held, and only the head is in the index that leases are taken from. So ten thousand waiting ones cost
//! nothing: a head that leaves looks up its one successor.

use rusqlite::{Connection, OptionalExtension, params};
use xxhash_rust::xxh3::xxh3_64;

use super::codec::{DEAD, DELIVERED, LEASED, PENDING};
use super::tally::Tally;

/// What changes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) event: i64,
    pub(super) dest: i64,
    pub(super) state: i64,
    pub(super) prio: i64,
    /// Due (pending), lease's end (leased), settled at.
    pub(super) at: i64,
    /// Attempts in all.
    pub(super) attempts: i64,
    /// Attempts that do not count for the present budget.
    pub(super) base: i64,
    /// Attempts per budget, as of the last lease.
    pub(super) budget: i64,
    /// Behind another of its line.
    pub(super) held: bool,
    /// A dead letter stays in its line.
    pub(super) hold: bool,
    /// A duplicate has redriven it before.
    pub(super) redriven: bool,
    /// Why it is dead.
    pub(super) reason: Option<i64>,
    /// Which line it belongs to: a hash of the ordering key (a collision makes two keys wait for each other, no more).
    pub(super) ordh: Option<i64>,
    /// The same, while it is in that line.
    pub(super) line: Option<i64>,
}

macro_rules! columns {
    () => {
        "event,dest,state,prio,at,attempts,base,budget,held,hold,redriven,reason,ordh,line"
    };
}
pub(super) use columns;

/// The line of an ordering key.
pub(super) fn line_of(ordering_key: &str) -> i64 {
    xxh3_64(ordering_key.as_bytes()).cast_signed()
}

impl Row {
    /// Reads the columns of `columns!()`.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            event: row.get(0)?,
            dest: row.get(1)?,
            state: row.get(2)?,
            prio: row.get(3)?,
            at: row.get(4)?,
            attempts: row.get(5)?,
            base: row.get(6)?,
            budget: row.get(7)?,
            held: row.get(8)?,
            hold: row.get(9)?,
            redriven: row.get(10)?,
            reason: row.get(11)?,
            ordh: row.get(12)?,
            line: row.get(13)?,
        })
    }

    /// One delivery.
    pub(super) fn find(conn: &Connection, event: i64, dest: i64) -> rusqlite::Result<Option<Self>> {
        conn.prepare_cached(concat!("SELECT ", columns!(), " FROM delivery WHERE event=?1 AND dest=?2"))?
            .query_row([event, dest], Self::read)
            .optional()
    }

    /// Every delivery of an event.
    pub(super) fn of_event(conn: &Connection, event: i64) -> rusqlite::Result<Vec<Self>> {
        conn.prepare_cached(concat!("SELECT ", columns!(), " FROM delivery WHERE event=?1"))?
            .query_map([event], Self::read)?
            .collect()
    }

    /// Attempts used of the present budget.
    pub(super) fn used(&self) -> i64 {
        self.attempts.saturating_sub(self.base)
    }

    /// Pending again, with a new budget.
    pub(super) fn requeued(&self, due: i64) -> Self {
        Self { state: PENDING, at: due, base: self.attempts, reason: None, ..*self }
    }

    /// In no line, with its first budget.
    fn is_plain(&self) -> bool {
        let Self { event, dest, prio, at, state, attempts, budget, .. } = *self;
        *self == Self { state, attempts, budget, ..Self::fresh(event, dest, prio, at) }
    }

    /// A delivery that nobody has tried, in no line.
    pub(super) fn fresh(event: i64, dest: i64, prio: i64, due: i64) -> Self {
        Self {
            event,
            dest,
            state: PENDING,
            prio,
            at: due,
            attempts: 0,
            base: 0,
            budget: 0,
            held: false,
            hold: false,
            redriven: false,
            reason: None,
            ordh: None,
            line: None,
        }
    }

    fn belongs_in_line(&self) -> bool {
        matches!(self.state, PENDING | LEASED) || (self.state == DEAD && self.hold)
    }
}

/// Creates a delivery at the end of its line. False when there is one of this event and destination already.
pub(super) fn create(
    conn: &Connection,
    tally: &mut Tally,
    mut row: Row,
    ordering_key: Option<&str>,
) -> rusqlite::Result<bool> {
    if let Some(line) = ordering_key.map(line_of) {
        row.ordh = Some(line);
        row.line = Some(line);
        row.held = conn
            .prepare_cached("SELECT 1 FROM delivery WHERE dest=?1 AND line=?2 LIMIT 1")?
            .exists([row.dest, line])?;
    }
    if ordering_key.is_none() && row.is_plain() {
        return create_plain(conn, tally, &row);
    }
    let inserted = conn
        .prepare_cached(concat!(
            "INSERT OR IGNORE INTO delivery(",
            columns!(),
            ",ord) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)"
        ))?
        .execute(params![
            row.event,
            row.dest,
            row.state,
            row.prio,
            row.at,
            row.attempts,
            row.base,
            row.budget,
            row.held,
            row.hold,
            row.redriven,
            row.reason,
            row.ordh,
            row.line,
            ordering_key
        ])?;
    if inserted == 1 {
        tally.owed(&row);
    }
    Ok(inserted == 1)
}

/// What nearly every new delivery is: few values have to be bound.
fn create_plain(conn: &Connection, tally: &mut Tally, row: &Row) -> rusqlite::Result<bool> {
    let inserted = conn
        .prepare_cached(
            "INSERT OR IGNORE INTO delivery(event,dest,state,prio,at,attempts,base,budget,held,hold,redriven)
             VALUES(?1,?2,?3,?4,?5,?6,0,?7,0,0,0)",
        )?
        .execute([row.event, row.dest, row.state, row.prio, row.at, row.attempts, row.budget])?;
    if inserted == 1 {
        tally.owed(row);
    }
    Ok(inserted == 1)
}

/// The one way from a state to another.
pub(super) fn change(conn: &Connection, tally: &mut Tally, old: &Row, mut new: Row) -> rusqlite::Result<()> {
    let Some(line) = new.ordh else { return write(conn, tally, old, &new) };
    let stays = new.belongs_in_line();
    new.line = stays.then_some(line);
    match (old.line.is_some(), stays) {
        (true, true) => {
            // An older one that was redriven meanwhile goes first.
            let overtaken =
                if old.held || new.state == LEASED { None } else { first_held(conn, new.dest, line)? };
            match overtaken.filter(|first| first.event < new.event) {
                Some(first) => {
                    new.held = true;
                    write(conn, tally, old, &new)?;
                    write(conn, tally, &first, &Row { held: false, ..first })
                }
                None => write(conn, tally, old, &new),
            }
        }
        (true, false) => {
            new.held = false;
            write(conn, tally, old, &new)?;
            match if old.held { None } else { first_held(conn, new.dest, line)? } {
                Some(first) => write(conn, tally, &first, &Row { held: false, ..first }),
                None => Ok(()),
            }
        }
        (false, true) => {
            let head = head(conn, new.dest, line)?;
            new.held = head.is_some_and(|head| head.state == LEASED || head.event < new.event);
            write(conn, tally, old, &new)?;
            match head.filter(|_| !new.held) {
                Some(head) => write(conn, tally, &head, &Row { held: true, ..head }),
                None => Ok(()),
            }
        }
        (false, false) => write(conn, tally, old, &new),
    }
}

/// The usual end of a lease: delivered, by its holder, in no line. False, and nothing is changed, where it is anything
/// else.
pub(super) fn complete(
    conn: &Connection,
    tally: &mut Tally,
    (event, dest): (i64, i64),
    attempts: i64,
    at: i64,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE delivery SET state=2,at=?4,reason=NULL
             WHERE event=?1 AND dest=?2 AND state=1 AND attempts=?3 AND ordh IS NULL",
        )?
        .execute([event, dest, attempts, at])?;
    if changed == 1 {
        let old = Row { state: LEASED, attempts, ..Row::fresh(event, dest, 0, at) };
        tally.moved(&old, &Row { state: DELIVERED, ..old });
    }
    Ok(changed == 1)
}

/// Removes a row. A delivered one stays counted as delivered, any other as purged.
pub(super) fn remove(conn: &Connection, tally: &mut Tally, row: &Row) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM delivery WHERE event=?1 AND dest=?2")?.execute([row.event, row.dest])?;
    conn.prepare_cached("DELETE FROM attempt WHERE event=?1 AND dest=?2")?.execute([row.event, row.dest])?;
    tally.gone(row);
    match row.line.filter(|_| !row.held) {
        Some(line) => match first_held(conn, row.dest, line)? {
            Some(first) => write(conn, tally, &first, &Row { held: false, ..first }),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// Whether a newer one of its ordering key is delivered already.
pub(super) fn is_overtaken(conn: &Connection, row: &Row) -> rusqlite::Result<bool> {
    let Some(line) = row.ordh else { return Ok(false) };
    conn.prepare_cached("SELECT 1 FROM delivery WHERE dest=?1 AND ordh=?2 AND event>?3 AND state=2 LIMIT 1")?
        .exists([row.dest, line, row.event])
}

fn head(conn: &Connection, dest: i64, line: i64) -> rusqlite::Result<Option<Row>> {
    conn.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM delivery WHERE dest=?1 AND line=?2 AND held=0 ORDER BY event LIMIT 1"
    ))?
    .query_row([dest, line], Row::read)
    .optional()
}

fn first_held(conn: &Connection, dest: i64, line: i64) -> rusqlite::Result<Option<Row>> {
    conn.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM delivery WHERE dest=?1 AND line=?2 AND held=1 ORDER BY event LIMIT 1"
    ))?
    .query_row([dest, line], Row::read)
    .optional()
}

fn write(conn: &Connection, tally: &mut Tally, old: &Row, new: &Row) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE delivery SET state=?3,at=?4,attempts=?5,base=?6,budget=?7,held=?8,redriven=?9,reason=?10,line=?11
         WHERE event=?1 AND dest=?2",
    )?
    .execute(params![
        new.event,
        new.dest,
        new.state,
        new.at,
        new.attempts,
        new.base,
        new.budget,
        new.held,
        new.redriven,
        new.reason,
        new.line
    ])?;
    tally.moved(old, new);
    Ok(())
}
