//! What flows through: exact bytes, shared commits, long lines, long lists.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::HeaderValue;
use tenterhook::model::{Accepted, DeliveryState, Verdict};
use tenterhook::store::{Change, DeliveryQuery, EventQuery, Retention, Selection, Store, StoreErrorKind};

use super::disk::entry;
use super::{Bench, DAY, START, accept, accept_new, digest, draft, lease, prune, settlement, until};

#[tokio::test]
async fn bodies_and_headers_come_back_byte_for_byte() {
    let mut rng = fastrand::Rng::with_seed(1);
    let random: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(6 * 1024 * 1024).collect();
    let bodies: [(&str, Bytes); 7] = [
        ("empty", Bytes::new()),
        ("nul", Bytes::from_static(b"\0")),
        ("invalid utf-8", Bytes::from_static(b"{\"a\":\"\xff\xfe\"}\r\n")),
        ("just below the threshold", vec![b'a'; 1023].into()),
        ("compressible", vec![b'a'; 100_000].into()),
        ("6 MiB of noise", random.into()),
        ("6 MiB of json", "{\"k\":\"value\"},".repeat(450_000).into()),
    ];
    let bench = Bench::new();
    let mut store = bench.open();
    let value = HeaderValue::from_bytes(b"caf\xe9 \x80").expect("a value");
    for (key, body) in &bodies {
        let headers = |parts: &mut tenterhook::model::AdmittedParts| {
            parts.headers.append("x-odd", value.clone());
            parts.headers.append("x-odd", HeaderValue::from_static(""));
        };
        accept_new(&store, draft(key, body.clone(), START).with(headers)).await;
    }
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = bench.open();
        }
        let leases = lease(&store, START, 100).await.leases;
        assert_eq!(leases.len(), bodies.len());
        for ((key, body), lease) in bodies.iter().zip(&leases) {
            let message = &lease.message;
            assert!(message.body == body, "{key}");
            let odd: Vec<_> = message.headers.get_all("x-odd").iter().collect();
            assert_eq!(odd, [&value, &HeaderValue::from_static("")], "{key}");
            assert_eq!(message.provider_event_id.as_deref(), Some(*key));
            assert_eq!(message.correlation_id, format!("cor_{key}"));
            let payload = store.payload(message.id, None).await.expect("reads").expect("is there");
            assert!(payload.body == body && payload.headers == message.headers, "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_accepts_share_commits_and_one_of_each_key_is_new() {
    let bench = Bench::new();
    let store = Arc::new(bench.open());
    let before = store.commits();
    let calls: Vec<_> = (0..400)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { accept(&store, draft(&format!("k{}", n % 100), "{}", START)).await })
        })
        .collect();
    let mut new = 0;
    for call in calls {
        match call.await.expect("no panic").expect("accepted") {
            Accepted::New { .. } => new += 1,
            Accepted::Duplicate(known) => assert_eq!(known.state.as_str(), "pending"),
            other => panic!("{other:?}"),
        }
    }
    let commits = store.commits() - before;
    assert_eq!(new, 100);
    assert!(commits < 200, "{commits} commits for 400 concurrent accepts");
    assert_eq!(store.stats(START).await.expect("stats").ledger.events.accepted, 100);
}

#[tokio::test]
async fn ten_thousand_of_one_ordering_key_go_one_by_one_in_order() {
    let bench = Bench::new();
    let store = bench.open();
    for from in (0..10_000).step_by(1000) {
        let batch =
            (from..from + 1000).map(|n| draft(&n.to_string(), "{}", START).ordered("customer").submission());
        store.accept(batch.collect()).await.expect("accepted");
    }
    let app = "app".parse().expect("a name");
    assert_eq!(store.stats(START).await.expect("stats").destinations[&app].held, 9_999);
    let began = tokio::time::Instant::now();
    for n in 0..200 {
        let leases = lease(&store, START, 64).await.leases;
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].message.provider_event_id, Some(n.to_string()));
        store.settle(vec![settlement(&leases[0], Verdict::Complete, START)]).await.expect("settles");
    }
    // A scan of the ones behind would take minutes in this build.
    assert!(began.elapsed().as_secs() < 30, "took {:?}", began.elapsed());
    let stats = store.stats(START).await.expect("stats");
    assert_eq!((stats.destinations[&app].held, stats.ledger.delivered), (9_799, 200));
}

#[tokio::test]
async fn a_tombstone_keeps_the_key_over_a_restart_until_the_window_ends() {
    let bench = Bench::new();
    let store = bench.open();
    accept_new(&store, draft("a", "{}", START).with(|parts| parts.repeat = Some(digest(b"r")))).await;
    let leases = lease(&store, START, 1).await.leases;
    store.settle(vec![settlement(&leases[0], Verdict::Complete, START)]).await.expect("settles");
    bench.clock.advance(DAY * 2);
    let retention = Retention { events: DAY, dead: None, audit: DAY, rows_max: 100 };
    let pruned = prune(&store, retention, bench.now()).await;
    assert_eq!((pruned.events, pruned.keys, pruned.more), (1, 0, false));
    drop(store);
    let store = bench.open();
    store.confirm_clock().await.expect("confirms");
    match accept(&store, draft("a", "{}", bench.now())).await.expect("answers") {
        Accepted::Duplicate(known) => assert_eq!(known.state.as_str(), "forgotten"),
        other => panic!("{other:?}"),
    }
    let repeat = draft("b", "{}", bench.now()).with(|parts| parts.repeat = Some(digest(b"r")));
    let suspect = accept(&store, repeat).await.expect("accepted");
    assert!(matches!(suspect, Accepted::New { replay_suspect: true, .. }), "{suspect:?}");
    bench.clock.advance(DAY * 7);
    let pruned = prune(&store, retention, bench.now()).await;
    assert_eq!(pruned.keys, 1);
    accept_new(&store, draft("a", "{}", bench.now())).await;
    let ledger = store.stats(bench.now()).await.expect("stats").ledger;
    assert_eq!(store.recount().await.expect("recounts"), ledger);
    assert_eq!((ledger.events.accepted, ledger.owed, ledger.delivered), (3, 3, 1));
}

#[tokio::test]
async fn pages_of_deliveries_and_slices_of_changes_meet_every_delivery_once() {
    let bench = Bench::new();
    let store = bench.open();
    for n in 0..50 {
        let now = START.plus(std::time::Duration::from_millis(n));
        accept_new(&store, draft(&n.to_string(), "{}", now)).await;
    }
    let selection = Selection { state: Some(DeliveryState::Pending), limit: 7, ..Selection::default() };
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let query = DeliveryQuery { selection: selection.clone(), after };
        let page = store.deliveries(query).await.expect("lists");
        seen.extend(page.items.into_iter().map(|item| item.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 50);
    assert!(seen.is_sorted_by(|a, b| a > b));
    let (mut after_id, mut changed) = (None, 0);
    loop {
        let slice = Selection { after_id, ..selection.clone() };
        let done = store.change(slice, Change::DeadLetter, entry()).await.expect("changes");
        changed += done.count;
        after_id = done.next;
        if after_id.is_none() {
            break;
        }
    }
    assert_eq!(changed, 50);
    let audits = store.audits(None, 1000).await.expect("lists").items;
    assert_eq!(audits.iter().map(|audit| audit.count).sum::<u64>(), 50);
}

#[tokio::test]
async fn a_bad_cursor_is_invalid_and_a_closed_store_unavailable() {
    let bench = Bench::new();
    let store = bench.open();
    let query = EventQuery { after: Some("nonsense".to_owned()), ..EventQuery::default() };
    assert_eq!(store.events(query).await.expect_err("refused").kind, StoreErrorKind::Invalid);
    store.close().await.expect("closes");
    store.close().await.expect("twice is fine");
    assert_eq!(store.ready().expect_err("closed").kind, StoreErrorKind::Unavailable);
    let refused = accept(&store, draft("a", "{}", START)).await.expect_err("closed");
    assert_eq!(refused.kind, StoreErrorKind::Unavailable);
    let refused = store.events(EventQuery::default()).await.expect_err("closed");
    assert_eq!(refused.kind, StoreErrorKind::Unavailable);
    let wal = format!("{}-wal", bench.path().display());
    assert!(std::fs::metadata(wal).map_or(true, |wal| wal.len() == 0), "closing checkpoints");
}

/// Found by the overload rig: with thousands waiting for a slow disk, everybody was answered after seconds.
#[tokio::test]
async fn what_a_slow_disk_will_not_take_soon_is_refused_at_once() {
    let bench = Bench::new();
    let store = Arc::new(bench.open());
    bench.disk.stalled.store(true, Ordering::SeqCst);
    let calls: Vec<_> = (0..2000)
        .map(|n| {
            let (store, draft) = (Arc::clone(&store), draft(&format!("evt_{n}"), "{}", START));
            tokio::spawn(async move { accept(&store, draft).await })
        })
        .collect();
    let answered = || calls.iter().filter(|call| call.is_finished()).count();
    until("what finds no place is answered", || answered() == 2000 - 512).await;
    assert_eq!(store.ready().map_err(|error| error.kind), Err(StoreErrorKind::Unavailable));
    bench.disk.stalled.store(false, Ordering::SeqCst);
    let mut accepted = 0;
    for call in calls {
        match call.await.expect("no panic") {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Unavailable),
        }
    }
    assert_eq!(accepted, 512, "as many as may wait before anything is known of the disk");
    assert_eq!(store.ready(), Ok(()));
    let stats = store.stats(bench.now()).await.expect("stats");
    assert_eq!(stats.ledger.events.accepted, accepted, "what was refused is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_and_rows_are_compared_as_of_one_moment_while_both_move() {
    let bench = Bench::new();
    let store = Arc::new(bench.open());
    for number in 0..50 {
        accept_new(&store, draft(&number.to_string(), "{}", START)).await;
    }
    let moving = Arc::clone(&store);
    let back_and_forth = tokio::spawn(async move {
        loop {
            let leases = lease(&moving, START, 7).await.leases;
            let back = leases.iter().map(|lease| settlement(lease, Verdict::Release { at: START }, START));
            moving.settle(back.collect()).await.expect("settles");
        }
    });
    for _ in 0..200 {
        let (counters, rows) = store.compare().await.expect("compares");
        assert_eq!(counters, rows);
    }
    back_and_forth.abort();
}
