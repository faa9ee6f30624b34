//! Changes by hand, after a reader has found what is selected: each row is judged again here, in the transaction.

use rusqlite::OptionalExtension;

use super::codec::{self, DEAD, reason_code};
use super::engine::Engine;
use super::row::{self, Row};
use crate::model::{DeadReason, DeliveryId};
use crate::store::{AuditEntry, Change, Selection};

/// What was changed, what was left alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) count: u64,
    pub(super) out_of_order: u64,
}

impl Engine {
    /// Applies a change to the deliveries that a reader found, in their order.
    pub(super) fn change(
        &mut self,
        ids: &[DeliveryId],
        selection: &Selection,
        change: Change,
        by: &AuditEntry,
    ) -> rusqlite::Result<Outcome> {
        let mut outcome = Outcome::default();
        for id in ids {
            let Some(dest) = self.names.id(id.destination.as_str()) else { continue };
            let Some(old) = Row::find(&self.conn, id.event.raw(), dest)? else { continue };
            if change.applies_to(codec::state_of(old.state), selection) {
                self.change_one(&old, change, by, &mut outcome)?;
            }
        }
        if outcome.count > 0 && change != Change::DryRun {
            self.audit(&AuditEntry { count: outcome.count, ..by.clone() })?;
        }
        Ok(outcome)
    }

    fn change_one(
        &mut self,
        old: &Row,
        change: Change,
        by: &AuditEntry,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<()> {
        let now = by.at.millis();
        match change {
            Change::DryRun => {
                outcome.out_of_order += u64::from(row::is_overtaken(&self.conn, old)?);
            }
            Change::Requeue { out_of_order } => {
                if !out_of_order && row::is_overtaken(&self.conn, old)? {
                    outcome.out_of_order += 1;
                    return Ok(());
                }
                let new = Row { redriven: false, ..old.requeued(now) };
                row::change(&self.conn, &mut self.tally, old, new)?;
            }
            Change::DeadLetter => {
                let reason = Some(reason_code(DeadReason::Cancelled));
                let new = Row { state: DEAD, at: now, reason, ..*old };
                row::change(&self.conn, &mut self.tally, old, new)?;
            }
            Change::Forget => {
                row::remove(&self.conn, &mut self.tally, old)?;
                let last = self
                    .conn
                    .prepare_cached("SELECT 1 FROM delivery WHERE event=?1 LIMIT 1")?
                    .query_row([old.event], |_| Ok(()))
                    .optional()?
                    .is_none();
                if last {
                    self.remove_event(old.event)?;
                }
            }
        }
        outcome.count += 1;
        Ok(())
    }
}
