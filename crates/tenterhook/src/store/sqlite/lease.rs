//! Taking leases: the writer picks rows and counts attempts; bodies are read afterwards, by a reader.

use rusqlite::OptionalExtension;

use super::codec::{self, DEAD, LEASED, PENDING, reason_code};
use super::engine::Engine;
use super::row::{self, Row, columns};
use crate::model::{DeadReason, DeliveryId, DestinationName, EventId, Timestamp};
use crate::store::{Demand, LaneDemand};

/// What the writer took.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) picked: Vec<Picked>,
    pub(super) next_due: Option<i64>,
    pub(super) found_dead: Vec<DeliveryId>,
}

/// A row that is leased now; its body is still to be read.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    pub(super) row: Row,
    pub(super) destination: DestinationName,
}

impl Engine {
    /// Answers a demand, but for the bodies.
    pub(super) fn lease(&mut self, demand: &Demand) -> rusqlite::Result<Taken> {
        let mut taken = Taken::default();
        let now = demand.now.millis();
        let mut lanes = Vec::with_capacity(demand.lanes.len());
        for lane in &demand.lanes {
            // A destination that nothing was ever owed to has no number, and no work.
            if let Some(dest) = self.names.id(lane.destination.as_str()) {
                self.end_expired(lane, dest, now, &mut taken)?;
                lanes.push((lane, dest));
            }
        }
        lanes.retain(|(_, dest)| !self.paused.contains(dest));
        let mut bytes_left = demand.bytes_max;
        for (lane, dest) in &lanes {
            for (row, bytes) in self.choose(lane, *dest, now)? {
                if bytes > bytes_left && !taken.picked.is_empty() {
                    break;
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                let row = self.take(lane, &row, demand.now)?;
                taken.picked.push(Picked { row, destination: lane.destination.clone() });
            }
        }
        for (_, dest) in &lanes {
            let due = self.next_due(*dest, now)?;
            taken.next_due = [taken.next_due, due].into_iter().flatten().min();
        }
        Ok(taken)
    }

    fn end_expired(
        &mut self,
        lane: &LaneDemand,
        dest: i64,
        now: i64,
        taken: &mut Taken,
    ) -> rusqlite::Result<()> {
        let mut expired: Vec<Row> = self
            .conn
            .prepare_cached(concat!(
                "SELECT ",
                columns!(),
                " FROM delivery WHERE state=1 AND dest=?1 AND at<=?2 ORDER BY at LIMIT 10000"
            ))?
            .query_map([dest, now], Row::read)?
            .collect::<rusqlite::Result<_>>()?;
        expired.sort_unstable_by_key(|row| row.event);
        for old in expired {
            if self.end_lease(&old, i64::from(lane.attempts_max), old.at)? {
                taken.found_dead.push(DeliveryId {
                    event: EventId::from_raw(old.event),
                    destination: lane.destination.clone(),
                });
            }
        }
        Ok(())
    }

    /// Which deliveries a lane gets, in the order of taking, with the lengths of their bodies.
    fn choose(&self, lane: &LaneDemand, dest: i64, now: i64) -> rusqlite::Result<Vec<(Row, u64)>> {
        let limit = usize::try_from(lane.limit).unwrap_or(usize::MAX);
        let avoid = lane.avoid.as_ref().filter(|avoid| avoid.destination == lane.destination);
        // One more than the limit, in case one of them is to be avoided.
        let wanted = i64::from(lane.limit).saturating_add(i64::from(avoid.is_some()));
        let mut by_urgency = Vec::with_capacity(3);
        let mut found = 0;
        for prio in 0..3 {
            // Once the more urgent ones fill the lane, only the fairness bound asks for others.
            let enough = found >= limit.saturating_add(1) && lane.least_urgent_first == 0;
            let due = if enough { Vec::new() } else { self.due(dest, prio, now, wanted)? };
            found += due.len();
            by_urgency.push(due);
        }
        if let Some(avoid) = avoid
            && by_urgency.iter().flatten().any(|(row, _)| row.event != avoid.event.raw())
        {
            for rows in &mut by_urgency {
                rows.retain(|(row, _)| row.event != avoid.event.raw());
            }
        }
        let fair_share = usize::try_from(lane.least_urgent_first).unwrap_or(usize::MAX).min(limit);
        let mut chosen = Vec::new();
        if let Some(least_urgent) = by_urgency.iter_mut().rev().find(|rows| !rows.is_empty()) {
            chosen.extend(least_urgent.drain(..fair_share.min(least_urgent.len())));
        }
        chosen.extend(by_urgency.into_iter().flatten());
        chosen.truncate(limit);
        Ok(chosen)
    }

    fn due(&self, dest: i64, prio: i64, now: i64, limit: i64) -> rusqlite::Result<Vec<(Row, u64)>> {
        self.conn
            .prepare_cached(concat!(
                "SELECT ",
                columns!(),
                ",coalesce((SELECT len FROM event WHERE id=event),0) FROM delivery INDEXED BY ready
                 WHERE state=0 AND dest=?1 AND held=0 AND prio=?2 AND at<=?3 ORDER BY at, event LIMIT ?4"
            ))?
            .query_map([dest, prio, now, limit], |row| {
                Ok((Row::read(row)?, u64::try_from(row.get::<_, i64>(14)?).unwrap_or(0)))
            })?
            .collect()
    }

    fn take(&mut self, lane: &LaneDemand, old: &Row, now: Timestamp) -> rusqlite::Result<Row> {
        let new = Row {
            state: LEASED,
            at: now.plus(lane.lease).millis(),
            attempts: old.attempts + 1,
            budget: i64::from(lane.attempts_max),
            ..*old
        };
        row::change(&self.conn, &mut self.tally, old, new)?;
        Ok(new)
    }

    fn next_due(&self, dest: i64, now: i64) -> rusqlite::Result<Option<i64>> {
        let mut next = self
            .conn
            .prepare_cached(
                "SELECT at FROM delivery INDEXED BY leased WHERE state=1 AND dest=?1 AND at>?2 ORDER BY at LIMIT 1",
            )?
            .query_row([dest, now], |row| row.get(0))
            .optional()?;
        for (held, prio) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let due: Option<i64> = self
                .conn
                .prepare_cached(
                    "SELECT at FROM delivery INDEXED BY ready
                     WHERE state=0 AND dest=?1 AND held=?2 AND prio=?3 AND at>?4 ORDER BY at LIMIT 1",
                )?
                .query_row([dest, held, prio, now], |row| row.get(0))
                .optional()?;
            next = [next, due].into_iter().flatten().min();
        }
        Ok(next)
    }

    /// Takes leases back that never reached a dispatcher: `corrupt` ones die, `unread` ones are due at once. Neither
    /// has spent an attempt, for none was made.
    pub(super) fn take_back(&mut self, corrupt: &[Picked], unread: &[Picked]) -> rusqlite::Result<()> {
        for (picked, is_corrupt) in
            corrupt.iter().map(|picked| (picked, true)).chain(unread.iter().map(|picked| (picked, false)))
        {
            let Picked { row: Row { event, dest, attempts, .. }, .. } = *picked;
            let holder = |row: &Row| row.state == LEASED && row.attempts == attempts;
            let Some(old) = Row::find(&self.conn, event, dest)?.filter(holder) else { continue };
            let new = if is_corrupt {
                let reason = Some(reason_code(DeadReason::Corrupt));
                Row { state: DEAD, at: self.now, attempts: attempts - 1, reason, ..old }
            } else {
                Row { state: PENDING, at: self.now, attempts: attempts - 1, ..old }
            };
            row::change(&self.conn, &mut self.tally, &old, new)?;
        }
        Ok(())
    }
}

/// How a picked row is named.
impl Picked {
    pub(super) fn id(&self) -> DeliveryId {
        DeliveryId { event: EventId::from_raw(self.row.event), destination: self.destination.clone() }
    }

    pub(super) fn priority(&self) -> crate::model::Priority {
        codec::priority_of(self.row.prio)
    }
}
