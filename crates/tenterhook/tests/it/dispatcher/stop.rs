//! Store outages, lost leases, reloads and stops.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tenterhook::dispatcher::LanePolicy;
use tenterhook::model::{Outcome, Priority};

use super::script::{Act, GRACE, Rig, all, lane, pass, seconds};

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_loop_rests_and_afterwards_all_goes_on() {
    let rig = Rig::new();
    let app = rig.destination("app", lane(), |_, batch| all(&Outcome::Delivered, batch));
    rig.store.cut.store(true, Ordering::SeqCst);
    rig.send_many("app", 10).await;
    let _run = rig.run();
    pass(seconds(60)).await;
    let calls = rig.store.lease_calls.load(Ordering::SeqCst);
    assert!((50..=70).contains(&calls), "{calls} calls in a minute");
    assert!(app.tried().is_empty());
    rig.store.cut.store(false, Ordering::SeqCst);
    pass(Duration::from_millis(1_100)).await;
    assert_eq!(rig.ledger().await.delivered, 10);
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_the_lease_delivers_nothing_twice() {
    let rig = Rig::new();
    let policy = LanePolicy { timeout: seconds(5), ..lane() };
    let app = rig.destination("app", policy, |_, _| Act::After(seconds(1), Outcome::Delivered));
    rig.send_many("app", 4).await;
    let _run = rig.run();
    pass(Duration::from_millis(500)).await;
    rig.store.cut.store(true, Ordering::SeqCst);
    pass(seconds(300)).await;
    rig.store.cut.store(false, Ordering::SeqCst);
    pass(seconds(60)).await;
    assert_eq!(app.tried().len(), 4);
    assert_eq!(rig.ledger().await.delivered, 4);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_leased_while_a_settlement_waits_for_the_store() {
    let rig = Rig::new();
    let policy = LanePolicy { timeout: seconds(5), ..lane() };
    let app = rig.destination("app", policy, |_, batch| all(&Outcome::Delivered, batch));
    rig.store.cut_settlements.store(true, Ordering::SeqCst);
    rig.send("app", Priority::Normal, None).await;
    let _run = rig.run();
    pass(seconds(1)).await;
    // The others find free slots, and the first one's lease of 15 s ends; still nobody takes anything.
    rig.send_many("app", 3).await;
    pass(seconds(300)).await;
    assert_eq!(app.tried().len(), 1);
    rig.store.cut_settlements.store(false, Ordering::SeqCst);
    pass(seconds(1)).await;
    assert_eq!((app.tried().len(), rig.ledger().await.delivered), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_leased_at_once_when_a_settlement_that_waited_is_lost() {
    let rig = Rig::new();
    let app = rig.destination("app", lane(), |_, batch| all(&Outcome::Delivered, batch));
    rig.store.cut_settlements.store(true, Ordering::SeqCst);
    rig.send("app", Priority::Normal, None).await;
    let _run = rig.run();
    pass(seconds(1)).await;
    rig.send_many("app", 3).await;
    pass(seconds(1)).await;
    assert_eq!(app.tried().len(), 1);
    // Such an answer changes nothing in the store, so the store has nothing to tell.
    rig.store.lose_leases.store(true, Ordering::SeqCst);
    rig.store.cut_settlements.store(false, Ordering::SeqCst);
    pass(seconds(1)).await;
    assert_eq!(app.tried().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn only_a_recorded_settlement_counts_as_processed() {
    let rig = Rig::new();
    rig.metrics.set_names([&"stripe".parse().unwrap()], [&"app".parse().unwrap()]);
    rig.destination("app", lane(), |_, batch| all(&Outcome::Delivered, batch));
    let processed = |expected: usize| {
        let page = rig.metrics.render(None, &[]);
        let line = format!("webhook_processed_total{{source=\"stripe\",destination=\"app\"}} {expected}");
        assert!(page.contains(&line), "expected `{line}` in\n{page}");
    };
    rig.store.lose_leases.store(true, Ordering::SeqCst);
    rig.send("app", Priority::Normal, None).await;
    let _run = rig.run();
    pass(seconds(1)).await;
    processed(0);
    rig.store.lose_leases.store(false, Ordering::SeqCst);
    // The lease that nobody settled ends, and the delivery is tried again.
    pass(seconds(60)).await;
    processed(1);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_leaves_ends_what_it_began_and_goes_on_when_it_returns() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 2, ..lane() };
    let app = rig.destination("app", policy, |_, _| Act::After(seconds(5), Outcome::Delivered));
    rig.send_many("app", 6).await;
    let _run = rig.run();
    pass(seconds(1)).await;
    let removed = rig.remove("app");
    pass(seconds(100)).await;
    let ledger = rig.ledger().await;
    assert_eq!((ledger.delivered, ledger.pending, ledger.leased), (2, 4, 0));
    assert!(rig.dispatcher.lanes().is_empty());
    rig.put_back("app", removed);
    pass(seconds(20)).await;
    assert_eq!(rig.ledger().await.delivered, 6);
    assert_eq!(app.tried().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_reload_gives_new_attempts_the_new_destination_and_keeps_the_lane() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 1, ..lane() };
    let old = rig.destination("app", policy.clone(), |_, _| Act::After(seconds(5), Outcome::Delivered));
    rig.send_many("app", 3).await;
    let _run = rig.run();
    pass(seconds(1)).await;
    let new = rig.destination("app", policy, |_, batch| all(&Outcome::Delivered, batch));
    assert_eq!(rig.dispatcher.lanes()[0].in_flight, 1, "the attempt under way still holds its slot");
    pass(seconds(1)).await;
    assert!(new.tried().is_empty());
    pass(seconds(5)).await;
    assert_eq!((old.tried().len(), new.tried().len(), rig.ledger().await.delivered), (1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_what_is_under_way_and_begins_nothing() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 2, ..lane() };
    let app = rig.destination("app", policy, |_, _| Act::After(seconds(5), Outcome::Delivered));
    rig.send_many("app", 6).await;
    let run = rig.run();
    pass(seconds(1)).await;
    rig.stop.cancel();
    run.await.unwrap();
    assert!((4_900..5_200).contains(&rig.millis(rig.clock.now())), "returned when the last was settled");
    let ledger = rig.ledger().await;
    assert_eq!((app.tried().len(), ledger.delivered, ledger.pending, ledger.leased), (2, 2, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_no_longer_than_its_grace_and_drops_what_hangs() {
    let rig = Rig::new();
    let policy = LanePolicy { timeout: seconds(600), ..lane() };
    let app = rig.destination("app", policy, |_, _| Act::Hang);
    rig.send("app", Priority::Normal, None).await;
    let run = rig.run();
    pass(seconds(1)).await;
    assert_eq!(app.open.load(Ordering::SeqCst), 1);
    rig.stop.cancel();
    run.await.unwrap();
    assert_eq!(rig.clock.now().since(rig.start).as_secs(), 1 + GRACE.as_secs());
    pass(Duration::from_millis(10)).await;
    assert_eq!(app.open.load(Ordering::SeqCst), 0, "the attempt was dropped");
    assert_eq!(rig.ledger().await.leased, 1);
}
