//! Disks that fail: full, broken, rotten.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rusqlite::Connection;
use tenterhook::model::{Accepted, DeadReason, DeliveryState, Verdict};
use tenterhook::store::{AuditEntry, Change, DeliveryQuery, Retention, Selection, Store, StoreErrorKind};

use super::{Bench, DAY, START, accept, accept_new, digest, draft, lease, prune, settlement, until};

#[tokio::test]
async fn a_failed_commit_burns_no_key_and_leaves_no_trace() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    let before = (store.stats(START).await.expect("stats"), store.recount().await.expect("recounts"));
    for (fault, kind) in
        [(&bench.disk.full, StoreErrorKind::Full), (&bench.disk.io, StoreErrorKind::Unavailable)]
    {
        fault.store(1, Ordering::SeqCst);
        let refused =
            accept(&store, draft("b", "{}", START).with(|parts| parts.repeat = Some(digest(b"r")))).await;
        assert_eq!(refused.expect_err("refused").kind, kind);
        let after = (store.stats(START).await.expect("stats"), store.recount().await.expect("recounts"));
        assert_eq!((after.0.ledger, after.0.dedupe_keys), (before.0.ledger, before.0.dedupe_keys));
        assert_eq!(after.1, before.1);
    }
    accept_new(&store, draft("b", "{}", START).with(|parts| parts.repeat = Some(digest(b"r")))).await;
}

#[tokio::test]
async fn a_full_disk_refuses_accepts_and_heals_by_itself() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    let pages: u32 = Connection::open(bench.path())
        .and_then(|conn| conn.query_row("PRAGMA page_count", [], |row| row.get(0)))
        .expect("pages");
    bench.disk.pages_max.store(pages, Ordering::SeqCst);
    let noise = noise(64 * 1024);
    let refused = accept(&store, draft("b", noise.clone(), START)).await.expect_err("full");
    assert_eq!(refused.kind, StoreErrorKind::Full);
    assert_eq!(store.ready().expect_err("not ready").kind, StoreErrorKind::Full);
    // What was accepted goes on, as far as pages that are there already allow.
    assert_eq!(lease(&store, START, 1).await.leases.len(), 1);
    bench.disk.pages_max.store(u32::MAX - 1, Ordering::SeqCst);
    until("ready again without a restart or a call", || store.ready().is_ok()).await;
    accept_new(&store, draft("b", noise, START)).await;
}

#[tokio::test]
async fn before_the_disk_is_full_accepts_are_refused_and_everything_else_goes_on() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    accept_new(&store, draft("b", "{}", START)).await;
    bench.disk.nearly_full.store(true, Ordering::SeqCst);
    let taken = lease(&store, START, 2).await.leases;
    until("not ready before anything failed", || store.ready().is_err()).await;
    let refused = accept(&store, draft("c", "{}", START)).await.expect_err("no room");
    assert_eq!(refused.kind, StoreErrorKind::Full);
    let settlements = vec![
        settlement(&taken[0], Verdict::Complete, START),
        settlement(&taken[1], Verdict::DeadLetter { reason: DeadReason::Rejected }, START),
    ];
    store.settle(settlements).await.expect("settles");
    let known = accept(&store, draft("a", "{}", START)).await.expect("a duplicate needs no room");
    assert!(matches!(known, Accepted::Duplicate(_)), "{known:?}");
    assert_eq!(store.ready().expect_err("that was no new event").kind, StoreErrorKind::Full);
    bench.disk.nearly_full.store(false, Ordering::SeqCst);
    until("ready again without a restart or a call", || store.ready().is_ok()).await;
    accept_new(&store, draft("c", "{}", START)).await;
}

#[tokio::test]
async fn what_is_set_aside_is_still_there_when_a_checkpoint_has_ended() {
    let bench = Bench::new();
    let store = bench.open();
    // More than the checkpointer begins with, in one commit: nobody comes after it who would look at the room again.
    let batch = (0..80).map(|n| draft(&n.to_string(), noise(64 * 1024), START).submission()).collect();
    store.accept(batch).await.expect("accepted");
    let looked_at = Connection::open(bench.path()).expect("opens");
    let is_taken_over = || {
        let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (log, taken_over) = looked_at.query_row("PRAGMA wal_checkpoint(NOOP)", [], pages).expect("looks");
        log > 1000 && taken_over == log
    };
    until("the log is taken over", is_taken_over).await;
    let pages: i64 = looked_at.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("counts");
    let pages = pages.unsigned_abs();
    let blocks = std::fs::metadata(bench.path()).expect("is there").blocks();
    let room = (blocks * 512).saturating_sub(pages * 4096);
    assert!(room >= 64 * 1024, "{room} bytes of room behind {pages} pages");
    drop(looked_at);
    store.close().await.expect("closes");
    drop(store);
    let length = std::fs::metadata(bench.path()).expect("is there").len();
    assert_eq!(length, pages * 4096, "a store that is closed gives its room back");
}

/// The room beyond the ends of the files may be gone: another program may have been quicker.
#[tokio::test]
async fn settlements_have_pages_of_their_own_when_the_database_cannot_grow() {
    let bench = Bench::new();
    let store = bench.open();
    for n in 0..300 {
        accept_new(&store, draft(&n.to_string(), "{}", START)).await;
    }
    let taken = lease(&store, START, 300).await.leases;
    assert_eq!(taken.len(), 300);
    let pages = |conn: Connection| conn.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0));
    let pages = Connection::open(bench.path()).and_then(pages).expect("pages");
    bench.disk.pages_max.store(pages, Ordering::SeqCst);
    bench.disk.nearly_full.store(true, Ordering::SeqCst);
    assert!(lease(&store, START, 1).await.leases.is_empty());
    until("not ready before anything failed", || store.ready().is_err()).await;
    let settlements = taken.iter().map(|lease| {
        let mut settlement = settlement(lease, Verdict::Complete, START);
        settlement.reply.excerpt = "x".repeat(500);
        settlement
    });
    store.settle(settlements.collect()).await.expect("settles");
    assert_eq!(store.recount().await.expect("recounts").delivered, 300);
    let refused = accept(&store, draft("more", "{}", START)).await.expect_err("pages for settlements only");
    assert_eq!(refused.kind, StoreErrorKind::Full);
    bench.disk.pages_max.store(u32::MAX - 1, Ordering::SeqCst);
    bench.disk.nearly_full.store(false, Ordering::SeqCst);
    until("ready again without a restart or a call", || store.ready().is_ok()).await;
    accept_new(&store, draft("more", "{}", START)).await;
}

/// SQLite's locks are the process's: they are gone when it closes any handle of the file. Without them, whoever else
/// opens the database and closes it takes himself for the last one, and removes the log.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn opening_anew_keeps_the_locks_of_the_readers() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    store.events(Default::default()).await.expect("a reader is there from now on");
    bench.disk.io.store(1, Ordering::SeqCst);
    accept(&store, draft("b", "{}", START)).await.expect_err("refused");
    accept_new(&store, draft("b", "{}", START)).await;
    let mine = format!(":{} ", std::fs::metadata(bench.path()).expect("is there").ino());
    let locks = std::fs::read_to_string("/proc/locks").expect("a list of locks");
    let held = |line: &&str| line.contains(&mine) && line.contains("POSIX") && line.contains("READ");
    assert_ne!(locks.lines().filter(held).count(), 0, "{mine}: {locks}");
}

#[tokio::test]
async fn a_store_at_its_bound_refuses_accepts_only_and_heals_when_pruned() {
    let mut bench = Bench::new();
    bench.bytes_max = Some(1024 * 1024);
    let store = bench.open();
    let mut accepted = 0;
    let refused = loop {
        match accept(&store, draft(&format!("k{accepted}"), noise(32 * 1024), START)).await {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(accepted < 100, "a megabyte has no room for this");
    };
    assert_eq!(refused.kind, StoreErrorKind::Full);
    assert_eq!(store.ready().expect_err("not ready").kind, StoreErrorKind::Full);
    assert!(store.stats(START).await.expect("stats").store_bytes < 16 * 1024 * 1024);
    // A duplicate needs no room.
    accept(&store, draft("k0", noise(32 * 1024), START)).await.expect("answered");
    let leases = lease(&store, START, 1000).await.leases;
    assert_eq!(leases.len(), accepted);
    let settlements = leases.iter().map(|lease| settlement(lease, Verdict::Complete, START)).collect();
    store.settle(settlements).await.expect("settles");
    bench.clock.advance(DAY * 2);
    let retention = Retention { events: DAY, dead: None, audit: DAY, rows_max: 1000 };
    assert_eq!(prune(&store, retention, bench.now()).await.events, accepted as u64);
    until("room again", || store.ready().is_ok()).await;
    accept_new(&store, draft("later", noise(32 * 1024), bench.now())).await;
}

#[tokio::test]
async fn after_an_io_error_the_store_is_opened_anew_before_the_next_accept() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START)).await;
    bench.disk.io.store(1, Ordering::SeqCst);
    let refused = accept(&store, draft("b", "{}", START)).await.expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::Unavailable);
    assert_eq!(store.ready().expect_err("not ready").kind, StoreErrorKind::Unavailable);
    accept_new(&store, draft("b", "{}", START)).await;
    store.ready().expect("ready again");
    assert!(store.fatal().borrow().is_none());
    let wal = std::fs::metadata(format!("{}-wal", bench.path().display())).expect("a WAL").len();
    assert!(wal < 256 * 1024, "opening anew checkpoints");
}

#[tokio::test]
async fn a_failed_sync_of_the_checkpointer_opens_the_store_anew_before_the_next_accept() {
    let bench = Bench::new();
    let store = bench.open();
    bench.disk.checkpoint.store(1, Ordering::SeqCst);
    let mut accepted = 0;
    while bench.disk.checkpoint.load(Ordering::SeqCst) > 0 {
        accept_new(&store, draft(&accepted.to_string(), noise(256 * 1024), START)).await;
        accepted += 1;
        assert!(accepted < 100, "25 MiB of log, and no checkpoint");
    }
    // The fault is counted a moment before it is noted.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    accept_new(&store, draft("after", "{}", START)).await;
    let wal = std::fs::metadata(format!("{}-wal", bench.path().display())).expect("a WAL").len();
    assert!(wal < 1024 * 1024, "opening anew checkpoints 4 MiB, and there are {wal} bytes");
    assert_eq!(store.recount().await.expect("recounts").events.accepted, accepted + 1);
}

#[tokio::test]
async fn nobody_hears_of_an_event_before_the_log_is_on_the_disk() {
    let bench = Bench::new();
    let store = Arc::new(bench.open());
    bench.disk.sync_stalled.store(true, Ordering::SeqCst);
    let ask = |id: &'static str| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { accept(&store, draft(id, "{}", START)).await })
    };
    let first = ask("a");
    until("the disk is at work", || bench.disk.syncs.load(Ordering::SeqCst) == 1).await;
    let (second, repeated) = (ask("b"), ask("a"));
    let lease = lease(&store, START, 10);
    tokio::pin!(lease);
    // What was committed and not synced is neither answered, nor leased, nor known to a second sender.
    assert!(futures_util::poll!(&mut lease).is_pending());
    assert!(!first.is_finished() && !second.is_finished() && !repeated.is_finished());
    bench.disk.sync_stalled.store(false, Ordering::SeqCst);
    assert!(matches!(first.await.expect("ends"), Ok(Accepted::New { .. })));
    assert!(matches!(second.await.expect("ends"), Ok(Accepted::New { .. })));
    assert!(matches!(repeated.await.expect("ends"), Ok(Accepted::Duplicate(_))));
    assert!(!lease.await.leases.is_empty());
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_answered_that_was_built_upon_it_and_the_store_is_opened_anew() {
    let bench = Bench::new();
    let store = Arc::new(bench.open());
    accept_new(&store, draft("before", "{}", START)).await;
    let syncs = bench.disk.syncs.load(Ordering::SeqCst);
    bench.disk.sync.store(1, Ordering::SeqCst);
    bench.disk.sync_stalled.store(true, Ordering::SeqCst);
    let ask = |id: &'static str| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { accept(&store, draft(id, "{}", START)).await })
    };
    let lost = ask("lost");
    until("the disk is at work", || bench.disk.syncs.load(Ordering::SeqCst) > syncs).await;
    let upon = ask("upon");
    bench.disk.sync_stalled.store(false, Ordering::SeqCst);
    let refused = lost.await.expect("ends").expect_err("refused");
    assert_eq!(refused.kind, StoreErrorKind::Unavailable);
    // Committed upon the lost one it is refused with it; later it is taken.
    let upon = upon.await.expect("ends");
    // Its outcome was unknown: the sender tries again, and it is there once.
    assert!(matches!(accept(&store, draft("lost", "{}", START)).await, Ok(Accepted::Duplicate(_))));
    let wal = std::fs::metadata(format!("{}-wal", bench.path().display())).expect("a WAL").len();
    assert!(wal < 256 * 1024, "opening anew checkpoints, and there are {wal} bytes");
    match upon {
        Ok(Accepted::New { .. }) => {}
        Ok(other) => panic!("{other:?}"),
        Err(_) => drop(accept(&store, draft("upon", "{}", START)).await.expect("is there, or is taken now")),
    }
    assert_eq!(store.recount().await.expect("recounts").events.accepted, 3);
    assert_eq!(lease(&store, START, 10).await.leases.len(), 3);
}

#[tokio::test]
async fn a_third_io_error_within_a_minute_is_fatal() {
    let bench = Bench::new();
    let store = bench.open();
    let mut fatal = store.fatal();
    bench.disk.io.store(3, Ordering::SeqCst);
    assert!(fatal.borrow().is_none());
    accept(&store, draft("a", "{}", START)).await.expect_err("refused");
    // The store tries by itself; each try meets the broken disk.
    tokio::time::timeout(std::time::Duration::from_secs(10), fatal.wait_for(Option::is_some))
        .await
        .expect("within seconds")
        .expect("the store lives");
    accept(&store, draft("a", "{}", START)).await.ok();
}

#[tokio::test]
async fn rotten_bytes_are_dead_and_the_rest_flows() {
    let bench = Bench::new();
    let store = bench.open();
    let mut ids = Vec::new();
    for n in 0..8 {
        let body = if n % 2 == 0 { "{}".repeat(4096) } else { format!("{{\"n\":{n}}}") };
        ids.push(accept_new(&store, draft(&n.to_string(), body, START)).await);
    }
    store.close().await.expect("closes");
    let conn = Connection::open(bench.path()).expect("opens");
    let spoil = |sql: &str, id: i64| assert_eq!(conn.execute(sql, [id]).expect("spoils"), 1, "{sql}");
    spoil("UPDATE payload SET body=zeroblob(length(body)) WHERE id=?1", ids[0].raw());
    spoil("UPDATE payload SET body=x'7b226e223a397d' WHERE id=?1", ids[1].raw());
    spoil("UPDATE payload SET headers=x'ff' WHERE id=?1", ids[2].raw());
    spoil("UPDATE event SET type='invoice.void' WHERE id=?1", ids[3].raw());
    spoil("UPDATE event SET len=9223372036854775807 WHERE id=?1", ids[4].raw());
    spoil("DELETE FROM payload WHERE id=?1", ids[5].raw());
    spoil("UPDATE payload SET url=CAST(x'ff' AS TEXT) WHERE id=?1", ids[6].raw());
    drop(conn);
    let store = bench.open();
    let leased = lease(&store, START, 100).await;
    assert_eq!(leased.leases.iter().map(|lease| lease.message.id).collect::<Vec<_>>(), [ids[7]]);
    assert_eq!(leased.found_dead.len(), 7);
    for id in &ids[..7] {
        let refused = store.payload(*id, None).await.expect_err("corrupt");
        assert_eq!(refused.kind, StoreErrorKind::Corrupt);
        let detail = store.event(*id).await.expect("still shown").expect("is there");
        let delivery = &detail.deliveries[0].summary;
        assert_eq!((delivery.state, delivery.dead_reason), (DeliveryState::Dead, Some(DeadReason::Corrupt)));
    }
    let ledger = store.stats(START).await.expect("stats").ledger;
    assert_eq!((ledger.dead, ledger.leased, ledger.is_balanced()), (7, 1, true));
    assert_eq!(store.recount().await.expect("recounts"), ledger);
}

#[tokio::test]
async fn a_dead_letter_without_its_event_is_listed() {
    let bench = Bench::new();
    let store = bench.open();
    let lost = accept_new(&store, draft("a", "{}", START)).await;
    let kept = accept_new(&store, draft("b", "{}", START)).await;
    store.close().await.expect("closes");
    let conn = Connection::open(bench.path()).expect("opens");
    assert_eq!(conn.execute("DELETE FROM event WHERE id=?1", [lost.raw()]).expect("spoils"), 1);
    drop(conn);
    let store = bench.open();
    let leased = lease(&store, START, 10).await;
    assert_eq!(leased.leases.iter().map(|lease| lease.message.id).collect::<Vec<_>>(), [kept]);
    let selection = Selection { state: Some(DeliveryState::Dead), limit: 10, ..Selection::default() };
    let query = DeliveryQuery { selection, after: None };
    let page = store.deliveries(query).await.expect("a page");
    let dead: Vec<_> = page.items.iter().map(|it| (it.id.event, it.dead_reason)).collect();
    assert_eq!(dead, [(lost, Some(DeadReason::Corrupt))]);
}

#[tokio::test]
async fn rows_that_change_places_are_noticed() {
    let bench = Bench::new();
    let store = bench.open();
    let one = accept_new(&store, draft("a", "{\"pay\":1}", START).with(|p| p.provider_event_id = None)).await;
    let two = accept_new(&store, draft("b", "{\"pay\":9}", START).with(|p| p.provider_event_id = None)).await;
    store.close().await.expect("closes");
    let conn = Connection::open(bench.path()).expect("opens");
    for (from, to) in [(one.raw(), -1), (two.raw(), one.raw()), (-1, two.raw())] {
        conn.execute("UPDATE payload SET id=?2 WHERE id=?1", [from, to]).expect("swaps");
    }
    drop(conn);
    let store = bench.open();
    assert!(lease(&store, START, 10).await.leases.is_empty());
}

#[tokio::test]
async fn any_flipped_bit_of_a_page_delivers_no_wrong_byte_and_panics_nowhere() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let bench = Bench::new();
    let store = bench.open();
    let body = |n: u32| -> Bytes {
        if n.is_multiple_of(2) { noise(6000).into() } else { "{\"n\":\"x\"}".repeat(300).into() }
    };
    for n in 0..20 {
        accept_new(&store, draft(&n.to_string(), body(n), START).ordered(&format!("k{}", n % 5))).await;
    }
    store.close().await.expect("closes");
    let whole = std::fs::read(bench.path()).expect("reads");
    for round in 0..40 {
        let mut damaged = whole.clone();
        let at = rng.usize(100..damaged.len());
        damaged[at] ^= 1 << rng.u8(0..8);
        let path = bench.dir.path().join(format!("damaged-{round}.db"));
        std::fs::write(&path, damaged).expect("writes");
        let Ok(store) = bench.open_at(&path) else { continue };
        let demand = lease_all(&store).await;
        for lease in demand {
            let message = &lease.message;
            let n: u32 = message.provider_event_id.as_deref().and_then(|id| id.parse().ok()).expect("an id");
            assert!(message.body == body(n), "byte {at} of round {round} was delivered");
        }
        store.events(Default::default()).await.ok();
        store.deliveries(Default::default()).await.ok();
        store.stats(START).await.ok();
        store.recount().await.ok();
        accept(&store, draft("fresh", "{}", START)).await.ok();
        let change = Change::Requeue { out_of_order: true };
        store.change(Selection::default(), change, entry()).await.ok();
        store.close().await.ok();
    }
}

async fn lease_all(store: &tenterhook::store::sqlite::SqliteStore) -> Vec<tenterhook::model::Lease> {
    let lane = tenterhook::store::LaneDemand {
        destination: "app".parse().expect("a name"),
        limit: 100,
        least_urgent_first: 3,
        lease: super::MINUTE,
        attempts_max: 3,
        avoid: None,
    };
    let demand = tenterhook::store::Demand { lanes: vec![lane], bytes_max: u64::MAX, now: START };
    store.lease(demand).await.map(|leased| leased.leases).unwrap_or_default()
}

pub(super) fn entry() -> AuditEntry {
    AuditEntry {
        id: 0,
        at: START,
        actor: "tester".to_owned(),
        action: "redrive".to_owned(),
        subject: "all".to_owned(),
        count: 0,
    }
}

/// Bytes that do not compress, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

#[tokio::test]
async fn the_log_is_used_again_and_does_not_grow_with_what_flows_through() {
    let bench = Bench::new();
    let store = bench.open();
    let wal = format!("{}-wal", bench.path().display());
    for n in 0..96 {
        accept_new(&store, draft(&n.to_string(), noise(1024 * 1024), START)).await;
        let length = std::fs::metadata(&wal).expect("a WAL").len();
        assert!(length < 32 * 1024 * 1024, "{length} bytes of WAL after {n} MiB");
    }
}
