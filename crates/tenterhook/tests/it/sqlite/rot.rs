//! A file that rotted: what is derived is made anew, what is lost is said, what cannot be believed is refused.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tenterhook::model::{EventId, Verdict};
use tenterhook::store::{Retention, Store, StoreErrorKind};

use super::{Bench, DAY, START, accept_new, draft, lease, prune, settlement, try_lease, until};

const PAGE: u64 = 4096;
const EVENTS: usize = 20;

/// A store with so many deliveries pending, closed.
async fn filled() -> Bench {
    let bench = Bench::new();
    let store = bench.open();
    for number in 0..EVENTS {
        accept_new(&store, draft(&number.to_string(), "{}", START)).await;
    }
    store.close().await.expect("closes");
    bench
}

/// Zeros where a table or an index begins.
fn wipe_root_of(database: &Path, name: &str) {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name=?1";
    let root: u64 = Connection::open(database)
        .and_then(|conn| conn.query_row(sql, [name], |row| row.get::<_, i64>(0)))
        .expect("is in the schema")
        .unsigned_abs();
    let file = OpenOptions::new().write(true).open(database).expect("opens");
    file.write_all_at(&[0; PAGE as usize], (root - 1) * PAGE).expect("wipes");
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", database.display()))
}

/// A NULL where no version ever wrote one, in the row of an event.
fn forget_column(database: &Path, table: &str, column: &str, event: EventId) {
    let (strict, loose) = (format!("{column} INTEGER NOT NULL"), format!("{column} INTEGER"));
    let schema = |from: &str, to: &str| {
        let conn = Connection::open(database).expect("opens");
        conn.execute_batch("PRAGMA writable_schema=ON").expect("allows it");
        let sql = "UPDATE sqlite_schema SET sql=replace(sql,?1,?2) WHERE name=?3";
        assert_eq!(conn.execute(sql, [from, to, table]).expect("rewrites the schema"), 1);
    };
    schema(&strict, &loose);
    let id = if table == "event" { "id" } else { "event" };
    let changed = Connection::open(database)
        .and_then(|conn| {
            conn.execute(&format!("UPDATE {table} SET {column}=NULL WHERE {id}=?1"), [event.raw()])
        })
        .expect("damages");
    assert_eq!(changed, 1);
    schema(&loose, &strict);
}

#[tokio::test]
async fn a_damaged_row_does_not_hold_up_retention() {
    let bench = Bench::new();
    let store = bench.open();
    let mut events = Vec::new();
    for key in ["a", "b", "c"] {
        events.push(accept_new(&store, draft(key, "{}", START)).await);
    }
    for lease in lease(&store, START, 10).await.leases {
        store.settle(vec![settlement(&lease, Verdict::Complete, START)]).await.expect("settles");
    }
    store.close().await.expect("closes");
    drop(store);
    forget_column(&bench.path(), "event", "received", events[0]);
    forget_column(&bench.path(), "event", "ignored", events[0]);
    forget_column(&bench.path(), "delivery", "attempts", events[1]);
    bench.clock.advance(DAY * 2);
    let store = bench.open();
    store.confirm_clock().await.expect("confirms");
    let retention = Retention { events: DAY, dead: None, audit: DAY, rows_max: 100 };
    let pruned = prune(&store, retention, bench.now()).await;
    assert_eq!((pruned.events, pruned.more), (2, false), "all but the one whose delivery nobody can read");
}

#[tokio::test]
async fn a_damaged_index_is_made_anew_and_everything_flows() {
    for index in ["ready", "leased", "dead", "line", "passed"] {
        let bench = filled().await;
        wipe_root_of(&bench.path(), index);
        let store = bench.open();
        let mut found = 0;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while found < EVENTS && tokio::time::Instant::now() < deadline {
            // While the store mends itself, it may refuse.
            found += try_lease(&store, START, 100).await.map_or(0, |leased| leased.leases.len());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(found, EVENTS, "with `{index}` damaged");
        let is_sound = || {
            let conn = Connection::open(bench.path()).expect("opens");
            let finding = conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
            finding.is_ok_and(|finding| finding == "ok")
        };
        until(&format!("`{index}` is made anew"), is_sound).await;
        store.close().await.expect("closes");
    }
}

#[tokio::test]
async fn a_damaged_table_that_everything_needs_is_refused() {
    for table in ["meta", "tally", "name", "event"] {
        let bench = filled().await;
        wipe_root_of(&bench.path(), table);
        let refused = bench.try_open().expect_err("refused");
        assert_eq!(refused.kind, StoreErrorKind::Corrupt, "`{table}`: {refused}");
    }
}

#[tokio::test]
async fn a_store_that_was_given_up_is_believed_only_after_a_check() {
    let bench = filled().await;
    let marker = beside(&bench.path(), ".damaged");
    std::fs::write(&marker, "it was damaged").expect("writes");
    bench.open().close().await.expect("closes");
    assert!(!marker.exists(), "a sound store is believed again");

    std::fs::write(&marker, "it was damaged").expect("writes");
    wipe_root_of(&bench.path(), "attempt");
    let refused = bench.try_open().expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::Corrupt, "{refused}");
    assert!(marker.exists());
}

#[tokio::test]
async fn a_hole_in_the_log_is_told_from_a_torn_end_and_the_log_is_kept() {
    let bench = Bench::new();
    let store = bench.open();
    for number in 0..EVENTS {
        accept_new(&store, draft(&number.to_string(), "{}", START)).await;
    }
    for (part, is_hole) in [(0.5, true), (1.0, false)] {
        let copy = bench.crash(&format!("{part}.db"));
        let wal = OpenOptions::new().write(true).open(beside(&copy, "-wal")).expect("opens");
        let frames = (wal.metadata().expect("is there").len() - 32) / (24 + PAGE);
        let frame = ((frames as f64 * part) as u64).min(frames - 1);
        wal.write_all_at(b"rot", 32 + frame * (24 + PAGE) + 24 + 1000).expect("damages");
        let damaged = bench.open_at(&copy).expect("opens");
        let kept = damaged.stats(START).await.expect("stats").ledger.events.accepted;
        assert!(kept < EVENTS as u64, "{kept} of {EVENTS} events");
        assert_eq!(beside(&copy, "-wal.damaged").exists(), is_hole, "damaged at {part}");
    }
}

#[tokio::test]
async fn a_database_that_ends_before_its_last_page_is_refused() {
    let bench = Bench::new();
    let store = bench.open();
    for number in 0..EVENTS {
        accept_new(&store, draft(&number.to_string(), vec![b'a'; 1000], START)).await;
    }
    store.close().await.expect("closes");
    let file = OpenOptions::new().write(true).open(bench.path()).expect("opens");
    let length = file.metadata().expect("is there").len();
    file.set_len(length - PAGE * 3).expect("cuts");
    assert_eq!(bench.try_open().expect_err("refused").kind, StoreErrorKind::Corrupt);
}
