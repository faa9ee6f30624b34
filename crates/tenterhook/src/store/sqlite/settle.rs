//! Settling: attempt row and new state, for the holder of the lease only.

use rusqlite::params;

use super::codec::{self, DEAD, DELIVERED, LEASED, PENDING};
use super::engine::Engine;
use super::row::{self, Row};
use crate::model::{Settled, Settlement, Verdict};
use crate::store::ATTEMPTS_KEPT;

impl Engine {
    /// One settlement.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<Settled> {
        let event = settlement.delivery.event.raw();
        let Some(dest) = self.names.id(settlement.delivery.destination.as_str()) else {
            return Ok(Settled::LeaseLost);
        };
        let (attempts, ended_at) = (i64::from(settlement.attempt), settlement.ended_at().millis());
        if settlement.verdict == Verdict::Complete
            && row::complete(&self.conn, &mut self.tally, (event, dest), attempts, ended_at)?
        {
            self.record(dest, settlement)?;
            return Ok(Settled::Recorded);
        }
        let holder = |row: &Row| row.state == LEASED && row.attempts == attempts;
        let Some(old) = Row::find(&self.conn, event, dest)?.filter(holder) else {
            return Ok(Settled::LeaseLost);
        };
        let new = match settlement.verdict {
            Verdict::Complete => Row { state: DELIVERED, at: ended_at, reason: None, ..old },
            Verdict::Retry { at } => Row { state: PENDING, at: at.millis(), ..old },
            Verdict::Release { at } => Row { state: PENDING, at: at.millis(), base: old.base + 1, ..old },
            Verdict::DeadLetter { reason } => {
                Row { state: DEAD, at: ended_at, reason: Some(codec::reason_code(reason)), ..old }
            }
        };
        row::change(&self.conn, &mut self.tally, &old, new)?;
        self.record(dest, settlement)?;
        Ok(Settled::Recorded)
    }

    /// Writes down what came of the attempt, and what the handler answered.
    fn record(&self, dest: i64, settlement: &Settlement) -> rusqlite::Result<()> {
        let (event, reply) = (settlement.delivery.event.raw(), &settlement.reply);
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO attempt(event,dest,n,started,took,status,failure,verdict,excerpt)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
            )?
            .execute(params![
                event,
                dest,
                settlement.attempt,
                settlement.started_at.millis(),
                i64::try_from(reply.took.as_millis()).unwrap_or(i64::MAX),
                reply.status,
                codec::failure_code(&reply.outcome),
                codec::verdict_code(&settlement.verdict),
                reply.excerpt
            ])?;
        if i64::from(settlement.attempt) > ATTEMPTS_KEPT as i64 {
            // Releases spend no budget, so nothing else bounds how many there are.
            self.conn
                .prepare_cached(
                    "DELETE FROM attempt WHERE event=?1 AND dest=?2 AND n<=(SELECT n FROM attempt
                     WHERE event=?1 AND dest=?2 ORDER BY n DESC LIMIT 1 OFFSET ?3)",
                )?
                .execute(params![event, dest, ATTEMPTS_KEPT as i64])?;
        }
        if let (Verdict::Complete, Some(result)) = (&settlement.verdict, &reply.result) {
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO result(event,text) VALUES(?1,?2)")?
                .execute(params![event, result])?;
        }
        Ok(())
    }
}
