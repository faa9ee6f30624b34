//! Removing what retention allows, a slice at a time: events first, then keys, then the audit trail.

use rusqlite::{OptionalExtension, params};

use super::codec::{DEAD, LEASED, PENDING};
use super::engine::Engine;
use super::row::{self, Row};
use crate::model::Timestamp;
use crate::store::{Pruned, Retention};

/// Rows looked at in one slice, at most: a million dead letters that stay must not stall the accepts behind it.
const LOOKED_AT_MAX: i64 = 4_000;

impl Engine {
    /// One slice.
    pub(super) fn prune(&mut self, retention: &Retention, now: Timestamp) -> rusqlite::Result<Pruned> {
        if self.guard.is_doubted(now.millis()) {
            return Ok(Pruned::default());
        }
        let rows_max = usize::try_from(retention.rows_max).unwrap_or(usize::MAX);
        let (events, mut more) = self.removable(retention, now, rows_max)?;
        for event in &events {
            self.remove_event(*event)?;
        }
        let mut rows_left = rows_max - events.len();
        let (keys, more_keys) = self.forget_keys(now.millis(), rows_left)?;
        rows_left -= keys;
        more |= more_keys;
        more |= self.prune_audits(now.minus(retention.audit).millis(), rows_left)?;
        Ok(Pruned { events: events.len() as u64, keys: keys as u64, more })
    }

    /// Events to remove, and whether there are (or may be) more.
    fn removable(
        &mut self,
        retention: &Retention,
        now: Timestamp,
        rows_max: usize,
    ) -> rusqlite::Result<(Vec<i64>, bool)> {
        let until = now.minus(retention.events).millis();
        let looked_at: Vec<(i64, i64)> = self
            .conn
            .prepare_cached("SELECT id, received FROM event WHERE id>=?1 ORDER BY id LIMIT ?2")?
            .query_map([self.prune_from, LOOKED_AT_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut events = Vec::new();
        for (id, received) in &looked_at {
            // Ids are as old as their reception or younger: behind this one there is nothing to find.
            if crate::model::EventId::from_raw(*id).time().millis() > until.saturating_add(60_000) {
                self.prune_from = 0;
                return Ok((events, false));
            }
            if *received > until || !self.is_removable(*id, retention, now)? {
                continue;
            }
            if events.len() == rows_max {
                return Ok((events, true));
            }
            events.push(*id);
        }
        let last = looked_at.last().map_or(0, |(id, _)| *id);
        let is_end = (looked_at.len() as i64) < LOOKED_AT_MAX;
        self.prune_from = if is_end { 0 } else { last + 1 };
        Ok((events, !is_end))
    }

    fn is_removable(&self, event: i64, retention: &Retention, now: Timestamp) -> rusqlite::Result<bool> {
        let rows = Row::of_event(&self.conn, event)?;
        Ok(rows.iter().all(|row| match row.state {
            PENDING | LEASED => false,
            DEAD => retention.dead.is_some_and(|dead| Timestamp::from_millis(row.at).plus(dead) <= now),
            _ => true,
        }))
    }

    /// Removes an event with all that hangs on it; its key stays until it may be forgotten.
    pub(super) fn remove_event(&mut self, event: i64) -> rusqlite::Result<()> {
        for row in Row::of_event(&self.conn, event)? {
            row::remove(&self.conn, &mut self.tally, &row)?;
        }
        self.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO tombstone(id,key,repeat,digest,forget_at)
                 SELECT id,key,repeat,digest,forget_at FROM event
                 WHERE id=?1 AND (key IS NOT NULL OR repeat IS NOT NULL) AND forget_at>?2",
            )?
            .execute([event, self.guard.expiry(self.now)])?;
        let ignored: i64 = self
            .conn
            .prepare_cached("SELECT coalesce(max(ignored),0) FROM event WHERE id=?1")?
            .query_row([event], |row| row.get(0))?;
        for sql in ["DELETE FROM payload WHERE id=?1", "DELETE FROM result WHERE event=?1"] {
            self.conn.prepare_cached(sql)?.execute([event])?;
        }
        let conflicts = self.conn.prepare_cached("DELETE FROM conflict WHERE event=?1")?.execute([event])?;
        let removed = self.conn.prepare_cached("DELETE FROM event WHERE id=?1")?.execute([event])?;
        self.tally.gone_accepted += removed as i64;
        self.tally.gone_ignored += ignored;
        self.tally.gone_conflicts += conflicts as i64;
        Ok(())
    }

    fn forget_keys(&mut self, now: i64, keys_max: usize) -> rusqlite::Result<(usize, bool)> {
        let (forgotten, more) = self.dedupe.forget(now, keys_max);
        for id in &forgotten {
            self.conn
                .prepare_cached("DELETE FROM tombstone WHERE id=?1 AND forget_at<=?2")?
                .execute([*id, now])?;
        }
        // Tombstones of repeats, and those whose key went in a transaction that failed afterwards.
        self.conn
            .prepare_cached(
                "DELETE FROM tombstone WHERE id IN (SELECT id FROM tombstone WHERE forget_at<=?1 LIMIT ?2)",
            )?
            .execute(params![now, LOOKED_AT_MAX])?;
        self.conn
            .prepare_cached(
                "DELETE FROM dedupe_run WHERE id IN (SELECT id FROM dedupe_run WHERE forget_at<=?1 LIMIT 8)",
            )?
            .execute([now])?;
        Ok((forgotten.len(), more))
    }

    fn prune_audits(&self, until: i64, rows_max: usize) -> rusqlite::Result<bool> {
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        self.conn
            .prepare_cached(
                "DELETE FROM audit WHERE id IN
                 (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?2) WHERE at<=?1)",
            )?
            .execute([until, limit])?;
        let oldest = self
            .conn
            .prepare_cached("SELECT at FROM audit ORDER BY id LIMIT 1")?
            .query_row([], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(oldest.is_some_and(|at| at <= until))
    }
}
