//! Removing what retention allows, a slice at a time: events first, then keys, then the audit trail. A row that is damaged
//! holds nothing up.

use std::time::Duration;

use rusqlite::{ErrorCode, OptionalExtension, params};
use tokio::time::Instant;

use super::codec::{DEAD, LEASED, PENDING};
use super::engine::Engine;
use super::row::{self, Row};
use crate::model::{EventId, Timestamp};
use crate::store::{Pruned, Retention};

/// A slice ends with the event at which it has taken so long: whoever wants to store something waits behind it.
const SLICE: Duration = Duration::from_millis(1);
/// Events looked at together.
const LOOKED_AT: i64 = 64;
/// Tombstones looked at in one slice.
const TOMBSTONES_MAX: i64 = 4_000;
/// Events whose deliveries are damaged that are told of, each once.
const DAMAGED_MAX: usize = 1000;

impl Engine {
    /// One slice.
    pub(super) fn prune(&mut self, retention: &Retention, now: Timestamp) -> rusqlite::Result<Pruned> {
        if self.guard.is_doubted(now.millis()) {
            return Ok(Pruned::default());
        }
        let rows_max = usize::try_from(retention.rows_max).unwrap_or(usize::MAX);
        let (events, mut more) = self.prune_events(retention, now, rows_max)?;
        let mut rows_left = rows_max - events;
        let (keys, more_keys) = self.forget_keys(now.millis(), rows_left)?;
        rows_left -= keys;
        more |= more_keys;
        more |= self.prune_audits(now.minus(retention.audit).millis(), rows_left)?;
        Ok(Pruned { events: events as u64, keys: keys as u64, more })
    }

    /// Removes events; says how many, and whether there are (or may be) more.
    fn prune_events(
        &mut self,
        retention: &Retention,
        now: Timestamp,
        events_max: usize,
    ) -> rusqlite::Result<(usize, bool)> {
        let until = now.minus(retention.events).millis();
        let ends = Instant::now() + SLICE;
        let mut events = 0;
        loop {
            let some = self.next_events()?;
            for (id, received) in &some {
                // Ids are as old as their reception or younger: behind this one there is nothing to find.
                let as_old_as = EventId::from_raw(*id).time().millis();
                if as_old_as > until.saturating_add(60_000) {
                    self.prune_from = 0;
                    return Ok((events, false));
                }
                if events == events_max {
                    return Ok((events, true));
                }
                // Of a damaged row the id is what is left.
                if received.unwrap_or(as_old_as) <= until && self.is_removable(*id, retention, now)? {
                    self.remove_event(*id)?;
                    events += 1;
                }
                self.prune_from = *id + 1;
                if Instant::now() > ends {
                    return Ok((events, true));
                }
            }
            if (some.len() as i64) < LOOKED_AT {
                self.prune_from = 0;
                return Ok((events, false));
            }
        }
    }

    /// The next events to look at, and when they were received, where that can be read.
    fn next_events(&self) -> rusqlite::Result<Vec<(i64, Option<i64>)>> {
        self.conn
            .prepare_cached("SELECT id, received FROM event WHERE id>=?1 ORDER BY id LIMIT ?2")?
            .query_map([self.prune_from, LOOKED_AT], |row| Ok((row.get(0)?, row.get_ref(1)?.as_i64().ok())))?
            .collect()
    }

    fn is_removable(&mut self, event: i64, retention: &Retention, now: Timestamp) -> rusqlite::Result<bool> {
        let rows = match Row::of_event(&self.conn, event) {
            // It holds what no version ever wrote: nobody knows what is owed.
            Err(error) if error.sqlite_error_code().is_none() => {
                if self.damaged.len() < DAMAGED_MAX && self.damaged.insert(event) {
                    let id = EventId::from_raw(event);
                    tracing::error!(%id, %error, "store_delivery_damaged: retention leaves its event alone");
                }
                return Ok(false);
            }
            rows => rows?,
        };
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
        let kept = self
            .conn
            .prepare_cached(
                "INSERT OR IGNORE INTO tombstone(id,key,repeat,digest,forget_at)
                 SELECT id,key,repeat,digest,forget_at FROM event
                 WHERE id=?1 AND (key IS NOT NULL OR repeat IS NOT NULL) AND forget_at>?2",
            )?
            .execute([event, self.guard.expiry(self.now)]);
        match kept {
            // The row is damaged, and what is left of its key is none.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
            kept => drop(kept?),
        }
        let ignored: i64 = self
            .conn
            .prepare_cached("SELECT count(*) FROM event WHERE id=?1 AND ignored=1")?
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
            .execute(params![now, TOMBSTONES_MAX])?;
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
