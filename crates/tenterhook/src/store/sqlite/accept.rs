//! Accepting: a new event with its deliveries, or a duplicate, a repeat, a conflict of one that is known.

use rusqlite::{OptionalExtension, params};

use super::codec::{self, DEAD, DELIVERED, LEASED, Packed};
use super::dedupe::Kind;
use super::engine::Engine;
use super::handout::Taken;
use super::row::{self, Row};
use crate::model::{
    Accepted, Digest16, EventId, EventState, Known, OnConflict, OnDead, OnDuplicateOfDead, OnRepeat,
    Timestamp,
};
use crate::store::{AuditEntry, CONFLICTS_KEPT};

/// The event, or what is left of it, that carries a digest.
struct First {
    id: i64,
    digest: Vec<u8>,
    /// Retention or a purge took the event.
    is_gone: bool,
}

impl Engine {
    /// One submission. The writer has checked that there is room.
    pub(super) fn accept(&mut self, packed: &Packed) -> rusqlite::Result<Accepted> {
        let now = packed.parts.received_at.millis();
        if let Some(key) = &packed.parts.key
            && let Some(first) = self.first_of(Kind::Key, key, now)?
        {
            if first.digest == packed.parts.body_digest {
                return self.duplicate(&first, packed);
            }
            return self.conflict(&first, packed);
        }
        let repeated = self.repeated(packed)?;
        if let Some(first) = &repeated
            && packed.parts.dedupe.on_repeat == OnRepeat::Duplicate
        {
            return self.duplicate(first, packed);
        }
        let replay_suspect = repeated.is_some();
        let id = self.insert(packed, packed.parts.key.as_ref(), replay_suspect, true)?;
        Ok(Accepted::New { id: EventId::from_raw(id), replay_suspect })
    }

    /// What a batch takes, without what is known already.
    pub(super) fn bytes_of_new(&self, batch: &[Packed]) -> rusqlite::Result<u64> {
        let mut bytes = 0;
        for packed in batch {
            let first = match &packed.parts.key {
                Some(key) => self.first_of(Kind::Key, key, packed.parts.received_at.millis())?,
                None => None,
            };
            if first.is_none_or(|first| first.digest != packed.parts.body_digest) {
                bytes += packed.bytes();
            }
        }
        Ok(bytes)
    }

    fn repeated(&self, packed: &Packed) -> rusqlite::Result<Option<First>> {
        match &packed.parts.repeat {
            Some(repeat) => self.first_of(Kind::Repeat, repeat, packed.parts.received_at.millis()),
            None => Ok(None),
        }
    }

    /// The newest event that carries a digest now, or what is left of it.
    fn first_of(&self, kind: Kind, digest: &Digest16, now: i64) -> rusqlite::Result<Option<First>> {
        let [event, tombstone] = match kind {
            Kind::Key => {
                ["SELECT key, digest FROM event WHERE id=?1", "SELECT key, digest FROM tombstone WHERE id=?1"]
            }
            Kind::Repeat => [
                "SELECT repeat, digest FROM event WHERE id=?1",
                "SELECT repeat, digest FROM tombstone WHERE id=?1",
            ],
        };
        for id in self.dedupe.candidates(kind, digest, self.guard.expiry(now)) {
            for (sql, is_gone) in [(event, false), (tombstone, true)] {
                let found = self
                    .conn
                    .prepare_cached(sql)?
                    .query_row([id], |row| {
                        let same = row.get_ref(0)?.as_blob_or_null().ok().flatten() == Some(&digest[..]);
                        let digest = row.get_ref(1)?.as_blob().unwrap_or_default().to_vec();
                        Ok(same.then_some(First { id, digest, is_gone }))
                    })
                    .optional()?
                    .flatten();
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    fn duplicate(&mut self, first: &First, packed: &Packed) -> rusqlite::Result<Accepted> {
        self.conn.prepare_cached("UPDATE event SET dups=dups+1 WHERE id=?1")?.execute([first.id])?;
        let redriven = match packed.parts.dedupe.on_duplicate_of_dead {
            OnDuplicateOfDead::Redrive => self.redrive(first.id, packed.parts.received_at)?,
            OnDuplicateOfDead::Report => 0,
        };
        Ok(Accepted::Duplicate(self.known(first, redriven)?))
    }

    /// A provider's "redeliver" is a person repairing something: once per dead letter.
    fn redrive(&mut self, event: i64, now: Timestamp) -> rusqlite::Result<u32> {
        let mut redriven = 0;
        for old in Row::of_event(&self.conn, event)? {
            if old.state != DEAD || old.redriven || row::is_overtaken(&self.conn, &old)? {
                continue;
            }
            let new = Row { redriven: true, ..old.requeued(now.millis()) };
            row::change(&self.conn, &mut self.tally, &old, new)?;
            redriven += 1;
        }
        if redriven > 0 {
            let entry = AuditEntry {
                id: 0,
                at: now,
                actor: "gateway".to_owned(),
                action: "redrive".to_owned(),
                subject: EventId::from_raw(event).to_string(),
                count: u64::from(redriven),
            };
            self.audit(&entry)?;
        }
        Ok(redriven)
    }

    fn conflict(&mut self, first: &First, packed: &Packed) -> rusqlite::Result<Accepted> {
        let is_kept = self
            .conn
            .prepare_cached("SELECT 1 FROM conflict WHERE event=?1 AND digest=?2")?
            .exists(params![first.id, packed.parts.body_digest])?;
        let mut delivered_as = None;
        if !is_kept && packed.parts.dedupe.on_conflict == OnConflict::Deliver {
            let replay_suspect = self.repeated(packed)?.is_some();
            delivered_as = Some(self.insert(packed, None, replay_suspect, false)?);
        }
        if !first.is_gone {
            self.conn
                .prepare_cached("UPDATE event SET conflicts=conflicts+1 WHERE id=?1")?
                .execute([first.id])?;
            if !is_kept {
                self.keep_conflict(first.id, packed, delivered_as)?;
            }
        }
        Ok(Accepted::Conflict(self.known(first, 0)?))
    }

    fn keep_conflict(
        &mut self,
        event: i64,
        packed: &Packed,
        delivered_as: Option<i64>,
    ) -> rusqlite::Result<()> {
        let kept: i64 = self
            .conn
            .prepare_cached("SELECT count(*) FROM conflict WHERE event=?1")?
            .query_row([event], |row| row.get(0))?;
        if kept >= CONFLICTS_KEPT as i64 {
            return Ok(());
        }
        let number = kept + 1;
        let sum = codec::conflict_sum(&packed.headers, &packed.parts.body, &packed.parts.body_digest);
        self.conn
            .prepare_cached(
                "INSERT INTO conflict(event,n,received,len,digest,delivered_as,sum,enc,headers,body)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
            )?
            .execute(params![
                event,
                number,
                packed.parts.received_at.millis(),
                packed.parts.body.len() as i64,
                packed.parts.body_digest,
                delivered_as,
                codec::bind(sum, event ^ number),
                packed.enc,
                packed.headers,
                &packed.stored[..]
            ])?;
        self.tally.conflicts += 1;
        Ok(())
    }

    fn insert(
        &mut self,
        packed: &Packed,
        key: Option<&Digest16>,
        replay_suspect: bool,
        may_be_leased: bool,
    ) -> rusqlite::Result<i64> {
        let parts = &packed.parts;
        let id = EventId::next(EventId::from_raw(self.last_id), parts.received_at).raw();
        self.last_id = id;
        let source = self.names.intern(&self.conn, parts.source.as_str())?;
        let provider = self.names.intern(&self.conn, &parts.provider)?;
        self.conn
            .prepare_cached(
                "INSERT INTO event(id,source,provider,key,repeat,digest,forget_at,ext_id,type,received,len,suspect,ignored)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
            )?
            .execute(params![
                id,
                source,
                provider,
                key,
                parts.repeat,
                parts.body_digest,
                packed.forget_at,
                parts.provider_event_id,
                parts.event_type,
                parts.received_at.millis(),
                parts.body.len() as i64,
                replay_suspect,
                packed.deliveries.is_empty()
            ])?;
        self.conn
            .prepare_cached(
                "INSERT INTO payload(id,sum,enc,correlation,ip,url,headers,body) VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
            )?
            .execute(params![
                id,
                codec::bind(packed.sum, id),
                packed.enc,
                parts.correlation_id,
                packed.ip,
                parts.original_url,
                packed.headers,
                &packed.stored[..]
            ])?;
        if let Some(key) = key {
            self.dedupe.supersede(key, self.guard.expiry(parts.received_at.millis()));
            self.dedupe.stage(Kind::Key, key, packed.forget_at, id);
        }
        if let Some(repeat) = &parts.repeat {
            self.dedupe.stage(Kind::Repeat, repeat, packed.forget_at, id);
        }
        self.tally.accepted += 1;
        self.tally.ignored += i64::from(packed.deliveries.is_empty());
        let lease_as = may_be_leased.then_some(replay_suspect);
        self.insert_deliveries(packed, id, lease_as)?;
        Ok(id)
    }

    /// What is owed, each leased at once where its lane stands by.
    fn insert_deliveries(
        &mut self,
        packed: &Packed,
        id: i64,
        lease_as: Option<bool>,
    ) -> rusqlite::Result<()> {
        for delivery in &packed.deliveries {
            let dest = self.names.intern(&self.conn, delivery.destination.as_str())?;
            let (prio, due) = (codec::priority_code(delivery.priority), packed.parts.received_at.millis());
            let hold = delivery.on_dead == OnDead::Hold && delivery.ordering_key.is_some();
            let mut row = Row { hold, ..Row::fresh(id, dest, prio, due) };
            if let Some(replay_suspect) = lease_as
                && delivery.ordering_key.is_none()
                && !self.paused.contains(&dest)
                && let Some(lane) = self.handout.use_one(&delivery.destination, packed.parts.body.len())
            {
                let until = Timestamp::from_millis(self.now).plus(lane.lease).millis();
                row = Row {
                    state: LEASED,
                    at: until,
                    attempts: 1,
                    budget: i64::from(lane.attempts_max),
                    ..row
                };
                self.taken.push(Taken {
                    event: id,
                    until,
                    priority: delivery.priority,
                    replay_suspect,
                    lane,
                });
            }
            row::create(&self.conn, &mut self.tally, row, delivery.ordering_key.as_deref())?;
        }
        Ok(())
    }

    fn known(&self, first: &First, redriven: u32) -> rusqlite::Result<Known> {
        let id = EventId::from_raw(first.id);
        if first.is_gone {
            return Ok(Known {
                id,
                state: EventState::Forgotten,
                processed_at: None,
                result: None,
                redriven,
            });
        }
        let rows = Row::of_event(&self.conn, first.id)?;
        let state = EventState::of(rows.iter().map(|row| codec::state_of(row.state)));
        let result = self
            .conn
            .prepare_cached("SELECT text FROM result WHERE event=?1")?
            .query_row([first.id], |row| Ok(codec::lossy(row.get_ref(0)?.as_bytes()?).into_owned()))
            .optional()?;
        Ok(Known {
            id,
            state,
            processed_at: processed_at(&rows).map(Timestamp::from_millis),
            result,
            redriven,
        })
    }
}

/// When the last delivery was confirmed, once all are.
pub(super) fn processed_at(rows: &[Row]) -> Option<i64> {
    let delivered = rows.iter().filter(|row| row.state == DELIVERED).map(|row| row.at);
    (EventState::of(rows.iter().map(|row| codec::state_of(row.state))) == EventState::Delivered)
        .then(|| delivered.max())
        .flatten()
}
