//! The dedupe index in RAM: 16 bytes a key, no B-tree on the accept path. A hit is only a hint: the caller compares the
//! full key with the row. Knows fingerprints, ids and when they are forgotten; never what a key means.
//!
//! Keys that are forgotten at the same moment (`window` cuts time into generations, nine of which are alive) share a
//! table, which goes as a whole.

use std::collections::{BTreeMap, HashMap};

use hashbrown::HashTable;
use rusqlite::{Connection, params};

use crate::model::Digest16;

/// Entries between two snapshot runs: 1 MiB of pairs.
pub(super) const RUN_ENTRIES: usize = 65_536;
const PAIR_BYTES: usize = 16;

/// What an entry is a digest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The idempotency key.
    Key,
    /// Source and signed content.
    Repeat,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    fingerprint: u64,
    id: i64,
}

#[derive(Clone, Copy, Debug)]
struct Staged {
    kind: Kind,
    forget_at: i64,
    entry: Entry,
    /// The id that it took the place of.
    replaced: Option<i64>,
}

/// The index, with what the present transaction put into it.
#[derive(Debug, Default)]
pub(super) struct DedupeIndex {
    tables: BTreeMap<(Kind, i64), HashTable<Entry>>,
    staged: Vec<Staged>,
    /// Committed since the last run.
    unsaved: Vec<Staged>,
    /// How many of `unsaved` the present transaction writes as runs.
    saving: usize,
    keys: u64,
}

impl DedupeIndex {
    /// Ids that may carry this digest, newest first.
    pub(super) fn candidates(&self, kind: Kind, digest: &Digest16, now_ms: i64) -> Vec<i64> {
        let fingerprint = fingerprint(digest);
        let mut found = Vec::new();
        for (_, table) in self.tables.range((kind, now_ms.saturating_add(1))..=(kind, i64::MAX)) {
            let same = table.iter_hash(fingerprint).filter(|entry| entry.fingerprint == fingerprint);
            found.extend(same.map(|entry| entry.id));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    }

    /// Lets go of an entry of this key whose time is over, where a new one is about to take its place.
    pub(super) fn supersede(&mut self, digest: &Digest16, now_ms: i64) {
        let fingerprint = fingerprint(digest);
        for (_, table) in self.tables.range_mut((Kind::Key, i64::MIN)..=(Kind::Key, now_ms)) {
            if let Ok(entry) = table.find_entry(fingerprint, |entry| entry.fingerprint == fingerprint) {
                entry.remove();
                self.keys -= 1;
            }
        }
    }

    /// Adds a digest for the present transaction. Of equal repeats the newest of each generation is enough: a source
    /// that sends the same bytes every minute must not grow a chain.
    pub(super) fn stage(&mut self, kind: Kind, digest: &Digest16, forget_at: i64, id: i64) {
        let entry = Entry { fingerprint: fingerprint(digest), id };
        let staged = self.insert(kind, forget_at, entry);
        self.staged.push(staged);
    }

    /// The transaction is durable.
    pub(super) fn commit(&mut self) {
        self.unsaved.drain(..std::mem::take(&mut self.saving));
        self.unsaved.append(&mut self.staged);
    }

    /// The transaction failed: what it put in was never there.
    pub(super) fn roll_back(&mut self) {
        self.saving = 0;
        for staged in std::mem::take(&mut self.staged).into_iter().rev() {
            let Some(table) = self.tables.get_mut(&(staged.kind, staged.forget_at)) else { continue };
            let Entry { fingerprint, id } = staged.entry;
            let found =
                table.find_entry(fingerprint, |entry| entry.fingerprint == fingerprint && entry.id == id);
            let Ok(mut found) = found else { continue };
            match staged.replaced {
                Some(replaced) => found.get_mut().id = replaced,
                None => {
                    found.remove();
                    self.keys -= u64::from(staged.kind == Kind::Key);
                }
            }
        }
    }

    /// Removes keys whose time is over, `keys_max` at most, and hands out their ids. Says whether there are more.
    pub(super) fn forget(&mut self, now_ms: i64, keys_max: usize) -> (Vec<i64>, bool) {
        self.tables.retain(|(kind, forget_at), _| *kind == Kind::Key || now_ms < *forget_at);
        let mut forgotten = Vec::new();
        for (_, table) in self.tables.range_mut((Kind::Key, i64::MIN)..=(Kind::Key, now_ms)) {
            let left = keys_max - forgotten.len();
            forgotten.extend(table.extract_if(|_| true).take(left).map(|entry| entry.id));
        }
        self.tables.retain(|_, table| !table.is_empty());
        self.keys -= forgotten.len() as u64;
        let more = self.tables.range((Kind::Key, i64::MIN)..=(Kind::Key, now_ms)).next().is_some();
        (forgotten, more)
    }

    /// Keys in the index.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// Once enough has gathered, writes what was committed since the last time as BLOB rows: opening then reads those
    /// instead of the events.
    pub(super) fn save_runs(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.unsaved.len() < RUN_ENTRIES {
            return Ok(());
        }
        let mut runs: HashMap<(Kind, i64), Vec<u8>> = HashMap::new();
        let mut hi = 0;
        for staged in &self.unsaved {
            let pairs = runs.entry((staged.kind, staged.forget_at)).or_default();
            pairs.extend_from_slice(&staged.entry.fingerprint.to_le_bytes());
            pairs.extend_from_slice(&staged.entry.id.to_le_bytes());
            hi = hi.max(staged.entry.id);
        }
        for ((kind, forget_at), pairs) in runs {
            conn.prepare_cached("INSERT INTO dedupe_run(kind,forget_at,pairs) VALUES(?1,?2,?3)")?
                .execute(params![kind_code(kind), forget_at, pairs])?;
        }
        conn.prepare_cached("UPDATE meta SET run_hi=max(run_hi,?1)")?.execute([hi])?;
        self.saving = self.unsaved.len();
        Ok(())
    }

    /// Builds the index from the runs and the events after them.
    pub(super) fn load(conn: &Connection, now_ms: i64) -> rusqlite::Result<Self> {
        let mut index = Self::default();
        let mut runs = conn
            .prepare_cached("SELECT kind, forget_at, pairs FROM dedupe_run WHERE forget_at>?1 ORDER BY id")?;
        let mut rows = runs.query([now_ms])?;
        while let Some(row) = rows.next()? {
            let Some(kind) = kind_of(row.get(0)?) else { continue };
            let forget_at = row.get(1)?;
            for pair in row.get_ref(2)?.as_blob().unwrap_or_default().chunks_exact(PAIR_BYTES) {
                let (Some(fingerprint), Some(id)) = (pair.first_chunk(), pair.last_chunk()) else { continue };
                let entry =
                    Entry { fingerprint: u64::from_le_bytes(*fingerprint), id: i64::from_le_bytes(*id) };
                index.insert(kind, forget_at, entry);
            }
        }
        index.load_tail(conn, now_ms)?;
        Ok(index)
    }

    fn load_tail(&mut self, conn: &Connection, now_ms: i64) -> rusqlite::Result<()> {
        let mut tail = conn.prepare_cached(
            "SELECT id, key, repeat, forget_at FROM event WHERE id>(SELECT run_hi FROM meta)
             UNION ALL SELECT id, key, repeat, forget_at FROM tombstone WHERE id>(SELECT run_hi FROM meta)
             ORDER BY 1",
        )?;
        let mut rows = tail.query([])?;
        while let Some(row) = rows.next()? {
            // A damaged row loses its own key, not the whole store.
            let (Ok(id), Ok(forget_at)) = (row.get(0), row.get::<_, i64>(3)) else { continue };
            if forget_at <= now_ms {
                continue;
            }
            for (column, kind) in [(1, Kind::Key), (2, Kind::Repeat)] {
                let digest = row.get_ref(column)?.as_blob_or_null().ok().flatten();
                let Some(fingerprint) = digest.and_then(<[u8]>::first_chunk) else { continue };
                let entry = Entry { fingerprint: u64::from_le_bytes(*fingerprint), id };
                let staged = self.insert(kind, forget_at, entry);
                self.unsaved.push(staged);
            }
        }
        Ok(())
    }

    fn insert(&mut self, kind: Kind, forget_at: i64, entry: Entry) -> Staged {
        let table = self.tables.entry((kind, forget_at)).or_default();
        let mut staged = Staged { kind, forget_at, entry, replaced: None };
        if kind == Kind::Repeat
            && let Some(older) =
                table.find_mut(entry.fingerprint, |other| other.fingerprint == entry.fingerprint)
        {
            staged.replaced = Some(std::mem::replace(&mut older.id, entry.id));
            return staged;
        }
        table.insert_unique(entry.fingerprint, entry, |entry| entry.fingerprint);
        self.keys += u64::from(kind == Kind::Key);
        staged
    }
}

/// Digests are truncated SHA-256: their first 8 bytes are as good a hash as any.
fn fingerprint(digest: &Digest16) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn kind_code(kind: Kind) -> i64 {
    match kind {
        Kind::Key => 0,
        Kind::Repeat => 1,
    }
}

fn kind_of(stored: i64) -> Option<Kind> {
    match stored {
        0 => Some(Kind::Key),
        1 => Some(Kind::Repeat),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_until_it_is_forgotten_and_leaves_in_bounded_slices() {
        let mut index = DedupeIndex::default();
        for n in 0..10 {
            index.stage(Kind::Key, &[n; 16], 1_000, i64::from(n));
        }
        index.commit();
        assert_eq!(index.candidates(Kind::Key, &[7; 16], 999), [7]);
        assert!(index.candidates(Kind::Key, &[7; 16], 1_000).is_empty());
        assert_eq!(index.forget(999, 100), (vec![], false));
        let (first, more) = index.forget(1_000, 4);
        assert_eq!((first.len(), more, index.keys()), (4, true, 6));
        let (rest, more) = index.forget(1_000, 6);
        assert_eq!((rest.len(), more, index.keys()), (6, false, 0));
    }

    #[test]
    fn what_a_failed_transaction_staged_was_never_there() {
        let mut index = DedupeIndex::default();
        index.stage(Kind::Key, &[1; 16], 1_000, 1);
        index.stage(Kind::Repeat, &[9; 16], 1_000, 1);
        index.commit();
        index.stage(Kind::Key, &[2; 16], 1_000, 2);
        index.stage(Kind::Repeat, &[9; 16], 1_000, 2);
        index.stage(Kind::Repeat, &[9; 16], 1_000, 3);
        assert_eq!(index.candidates(Kind::Repeat, &[9; 16], 0), [3]);
        index.roll_back();
        assert_eq!(index.candidates(Kind::Key, &[1; 16], 0), [1]);
        assert!(index.candidates(Kind::Key, &[2; 16], 0).is_empty());
        assert_eq!(index.candidates(Kind::Repeat, &[9; 16], 0), [1]);
        assert_eq!(index.keys(), 1);
    }

    #[test]
    fn equal_repeats_do_not_grow_a_chain() {
        let mut index = DedupeIndex::default();
        for id in 0..1000 {
            index.stage(Kind::Repeat, &[9; 16], 1_000, id);
        }
        assert_eq!(index.candidates(Kind::Repeat, &[9; 16], 0), [999]);
    }
}
