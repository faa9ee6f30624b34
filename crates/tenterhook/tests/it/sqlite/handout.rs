//! Leases that are taken in the step that accepts their event: for lanes that stand by, and for nobody else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenterhook::model::{DeliveryState, Lease, Settled, Verdict};
use tenterhook::store::sqlite::SqliteStore;
use tenterhook::store::{Standby, Store};
use tokio::sync::mpsc::UnboundedReceiver;

use super::disk::entry;
use super::{Bench, MINUTE, START, accept, accept_new, draft, lease, settlement};

/// A store whose lane `app` stands by with so much room.
fn standing_by(store: &SqliteStore, room: u32) -> (Arc<Standby>, UnboundedReceiver<Lease>) {
    let lane = Arc::new(Standby::new("app".parse().unwrap(), MINUTE, 3));
    lane.lend(room);
    store.stand_by(vec![Arc::clone(&lane)]);
    (lane, store.handed_out().expect("this store hands out"))
}

#[tokio::test]
async fn a_new_delivery_is_leased_by_its_accept_as_long_as_its_lane_has_room() {
    let bench = Bench::new();
    let store = bench.open();
    let (lane, mut handed) = standing_by(&store, 1);
    let first = accept_new(&store, draft("one", "{\"n\":1}", START)).await;
    let second = accept_new(&store, draft("two", "{\"n\":2}", START)).await;

    let one = handed.recv().await.expect("the first is handed out");
    assert_eq!((one.delivery.event, one.message.attempt, one.attempt_of_budget), (first, 1, 1));
    assert_eq!((&one.message.body[..], one.until), (&b"{\"n\":1}"[..], START.plus(MINUTE)));
    assert!(handed.try_recv().is_err() && lane.take_back() == 0);
    let due = lease(&store, START, 10).await.leases;
    assert_eq!(due.iter().map(|lease| lease.delivery.event).collect::<Vec<_>>(), [second]);

    // What is handed out is what would have been leased: the store has the same bytes and facts.
    let two = &due[0].message;
    assert_eq!((&one.message.source, &one.message.headers), (&two.source, &two.headers));
    let settled = store.settle(vec![settlement(&one, Verdict::Complete, START)]).await.expect("settles");
    assert_eq!(settled, [Settled::Recorded]);
    let ledger = store.stats(START).await.expect("stats").ledger;
    assert_eq!((ledger.owed, ledger.delivered, ledger.leased, ledger.pending), (2, 1, 1, 0));
    assert_eq!(store.recount().await.expect("recounts"), ledger);
}

#[tokio::test]
async fn a_lease_that_was_handed_out_is_durable_and_ends_with_its_process() {
    let bench = Bench::new();
    let store = bench.open();
    let (_lane, mut handed) = standing_by(&store, 1);
    accept_new(&store, draft("one", "{}", START)).await;
    let lost = handed.recv().await.expect("handed out");
    drop(store);
    let store = bench.open();
    let again = lease(&store, START, 10).await.leases;
    assert_eq!(again.len(), 1, "nobody will settle the former process's lease");
    assert_eq!(
        (again[0].message.attempt, again[0].attempt_of_budget),
        (2, 2),
        "the first attempt was counted"
    );
    let late = store.settle(vec![settlement(&lost, Verdict::Complete, START)]).await.expect("answers");
    assert_eq!(late, [Settled::LeaseLost]);
}

#[tokio::test]
async fn a_failed_commit_hands_nothing_out_and_gives_the_room_back() {
    let bench = Bench::new();
    let store = bench.open();
    let (lane, mut handed) = standing_by(&store, 2);
    bench.disk.full.store(1, Ordering::SeqCst);
    accept(&store, draft("one", "{}", START)).await.expect_err("the disk is full");
    assert!(handed.try_recv().is_err());
    assert_eq!(lane.take_back(), 2);
}

#[tokio::test]
async fn nothing_is_handed_out_that_may_not_be_tried_now() {
    let bench = Bench::new();
    let store = bench.open();
    let (lane, mut handed) = standing_by(&store, 8);
    accept_new(&store, draft("in line", "{}", START).ordered("customer")).await;
    accept_new(&store, draft("long", vec![b'a'; 64 * 1024 + 1], START)).await;
    let app = "app".parse().unwrap();
    assert!(!store.is_paused(&app).await.expect("says"));
    store.set_paused("app".parse().unwrap(), true, entry()).await.expect("pauses");
    assert!(store.is_paused(&app).await.expect("says"));
    assert!(!store.is_paused(&"other".parse().unwrap()).await.expect("says"));
    accept_new(&store, draft("paused", "{}", START)).await;
    assert!(handed.try_recv().is_err());
    assert_eq!(lane.take_back(), 8);
    let waiting = store.deliveries(tenterhook::store::DeliveryQuery::default()).await.expect("lists").items;
    assert_eq!(waiting.len(), 3);
    assert!(
        waiting.iter().all(|delivery| delivery.state == DeliveryState::Pending && delivery.attempts == 0)
    );
}
