//! What a command is to the engine, within a transaction that others share.

use super::check;
use super::codec::Packed;
use super::engine::{ClockGuard, Engine};
use super::queue::{Command, Done, Work};
use crate::store::{StoreError, StoreErrorKind};

/// One command. An inner error concerns it alone, and nothing was written for it; an outer one fails the transaction.
pub(super) fn perform(engine: &mut Engine, command: &Command) -> rusqlite::Result<Result<Done, StoreError>> {
    match &command.work {
        Work::Accept(batch) => accept(engine, batch, command.bytes),
        Work::Lease(demand) => engine.lease(demand).map(|taken| Ok(Done::Taken(taken))),
        Work::TakeBack { corrupt, unread } => engine.take_back(corrupt, unread).map(|()| Ok(Done::Nothing)),
        Work::Settle(batch) => {
            let settled = batch.iter().map(|settlement| engine.settle(settlement));
            settled.collect::<rusqlite::Result<_>>().map(|settled| Ok(Done::Settled(settled)))
        }
        Work::Change { ids, selection, change, by } => {
            engine.change(ids, selection, *change, by).map(|outcome| Ok(Done::Changed(outcome)))
        }
        Work::Prune(retention, now) => engine.prune(retention, *now).map(|pruned| Ok(Done::Pruned(pruned))),
        Work::Pause(destination, paused, by) => {
            engine.pause(destination.as_str(), *paused, by).map(|()| Ok(Done::Nothing))
        }
        Work::Audit(entry) => engine.audit(entry).map(|()| Ok(Done::Nothing)),
        Work::ConfirmClock => {
            engine.guard = ClockGuard::default();
            engine.guard_is_noted = false;
            Ok(Ok(Done::Nothing))
        }
        Work::Rebuild => check::rebuild(&engine.conn).map(|()| {
            tracing::error!("store_indexes_rebuilt");
            engine.tally.woke = true;
            Ok(Done::Nothing)
        }),
        Work::Close => Ok(Ok(Done::Nothing)),
    }
}

fn accept(engine: &mut Engine, batch: &[Packed], bytes: u64) -> rusqlite::Result<Result<Done, StoreError>> {
    let fits = |engine: &mut Engine, bytes: u64| {
        engine.room().map(|room| room >= i64::try_from(bytes).unwrap_or(i64::MAX))
    };
    // A duplicate needs no room: its sender is answered also by a full store.
    if let Some(short) = engine.short.clone()
        && engine.bytes_of_new(batch)? > 0
    {
        return Ok(Err(short));
    }
    if !fits(engine, bytes)? && !fits(engine, engine.bytes_of_new(batch)?)? {
        let message = "`store.max_bytes` is reached: prune, purge or raise it";
        return Ok(Err(StoreError::new(StoreErrorKind::Full, message)));
    }
    engine.spend(bytes);
    let accepted = batch.iter().map(|packed| engine.accept(packed)).collect::<rusqlite::Result<_>>()?;
    Ok(Ok(Done::Accepted(accepted)))
}
