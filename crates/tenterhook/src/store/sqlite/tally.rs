//! The ledger as counters, moved in the same transactions as the rows they count.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::codec::{DEAD, DELIVERED, LEASED, PENDING, PURGED};
use super::row::Row;

/// Movements of one transaction, written once before its commit.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Per destination.
    moved: HashMap<i64, Counts>,
    /// Something became attemptable, which the dispatcher waits for.
    pub(super) woke: bool,
    pub(super) accepted: i64,
    pub(super) ignored: i64,
    pub(super) conflicts: i64,
    /// Events, ignored ones and conflicts whose rows are gone.
    pub(super) gone_accepted: i64,
    pub(super) gone_ignored: i64,
    pub(super) gone_conflicts: i64,
}

/// One destination's counters, or how far they moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) owed: i64,
    pub(super) by_state: [i64; 5],
    pub(super) retrying: i64,
    pub(super) held: i64,
    /// Delivered and purged ones whose rows are gone: what a recount adds.
    pub(super) gone_delivered: i64,
    pub(super) gone_purged: i64,
}

impl Tally {
    /// A delivery was created.
    pub(super) fn owed(&mut self, row: &Row) {
        let counts = self.moved.entry(row.dest).or_default();
        counts.owed += 1;
        counts.put(row, 1);
        self.woke |= row.state == PENDING && !row.held;
    }

    /// A delivery went from one state to another.
    pub(super) fn moved(&mut self, old: &Row, new: &Row) {
        let counts = self.moved.entry(new.dest).or_default();
        counts.put(old, -1);
        counts.put(new, 1);
        self.woke |= new.state == PENDING && !new.held;
    }

    /// A row was removed; what it stood for stays counted: delivered as delivered, anything else as purged.
    pub(super) fn gone(&mut self, row: &Row) {
        let counts = self.moved.entry(row.dest).or_default();
        if row.state == DELIVERED {
            counts.gone_delivered += 1;
        } else {
            counts.put(row, -1);
            counts.by_state[index(PURGED)] += 1;
            counts.gone_purged += 1;
        }
    }

    /// Writes the movements.
    pub(super) fn write(&self, conn: &Connection, last_id: i64, last_seen: i64) -> rusqlite::Result<()> {
        for (dest, counts) in &self.moved {
            let [pending, leased, delivered, dead, purged] = counts.by_state;
            let mut statement = conn.prepare_cached(
                "INSERT INTO tally(dest,owed,pending,leased,delivered,dead,purged,retrying,held,gone_delivered,gone_purged)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)
                 ON CONFLICT(dest) DO UPDATE SET owed=owed+?2, pending=pending+?3, leased=leased+?4,
                 delivered=delivered+?5, dead=dead+?6, purged=purged+?7, retrying=retrying+?8, held=held+?9,
                 gone_delivered=gone_delivered+?10, gone_purged=gone_purged+?11",
            )?;
            statement.execute(params![
                dest,
                counts.owed,
                pending,
                leased,
                delivered,
                dead,
                purged,
                counts.retrying,
                counts.held,
                counts.gone_delivered,
                counts.gone_purged
            ])?;
        }
        let mut statement = conn.prepare_cached(
            "UPDATE meta SET last_id=max(last_id,?1), last_seen=?2, accepted=accepted+?3,
             ignored=ignored+?4, conflicts=conflicts+?5, gone_accepted=gone_accepted+?6,
             gone_ignored=gone_ignored+?7, gone_conflicts=gone_conflicts+?8",
        )?;
        statement.execute(params![
            last_id,
            last_seen,
            self.accepted,
            self.ignored,
            self.conflicts,
            self.gone_accepted,
            self.gone_ignored,
            self.gone_conflicts
        ])?;
        Ok(())
    }
}

impl Counts {
    fn put(&mut self, row: &Row, by: i64) {
        self.by_state[index(row.state)] += by;
        if row.state == PENDING {
            self.retrying += if row.attempts > 0 { by } else { 0 };
            self.held += if row.held { by } else { 0 };
        }
    }
}

fn index(state: i64) -> usize {
    match state {
        PENDING => 0,
        LEASED => 1,
        DELIVERED => 2,
        DEAD => 3,
        PURGED => 4,
        // As `codec::state_of` shows it.
        _ => 3,
    }
}
