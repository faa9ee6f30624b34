//! What a lane takes ahead: much of a quick receiver, nothing of a slow one, and back it goes when nobody wants it.

use std::time::Duration;

use tenterhook::dispatcher::LanePolicy;
use tenterhook::dispatcher::lane::{Lane, Wish};
use tenterhook::model::{BreakerState, Outcome};

use super::script::{Act, Rig, failed, lane, pass, seconds};

fn after_10_ms(outcome: Outcome) -> Act {
    Act::After(Duration::from_millis(10), outcome)
}

#[tokio::test(start_paused = true)]
async fn a_quick_receiver_has_the_next_ones_at_hand() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 2, ..lane() };
    let app = rig.destination("app", policy, |_, _| after_10_ms(Outcome::Delivered));
    rig.send_many("app", 200).await;
    let _run = rig.run();
    pass(Duration::from_millis(105)).await;
    assert!((20..=22).contains(&app.tried().len()), "{} tried", app.tried().len());
    let leased = rig.ledger().await.leased;
    assert!((4..=6).contains(&leased), "{leased} leased: two places, and as much again twice");
    pass(seconds(2)).await;
    assert_eq!((app.tried().len(), rig.ledger().await.delivered), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn of_a_slow_receiver_nothing_is_taken_ahead() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 2, ..lane() };
    let app = rig.destination("app", policy, |_, _| Act::After(seconds(2), Outcome::Delivered));
    rig.send_many("app", 20).await;
    let _run = rig.run();
    for _ in 0..5 {
        pass(Duration::from_millis(2_010)).await;
        assert_eq!(rig.ledger().await.leased, 2);
    }
    assert_eq!(app.tried().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_ahead_goes_back_when_the_breaker_opens_and_has_spent_no_attempt() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 1, ..lane() };
    let app = rig.destination("app", policy, |nth, _| {
        after_10_ms(if (5..15).contains(&nth) { failed() } else { Outcome::Delivered })
    });
    rig.send_many("app", 60).await;
    let _run = rig.run();
    pass(Duration::from_millis(400)).await;
    assert_eq!(rig.dispatcher.lanes()[0].breaker, BreakerState::Open);
    let ledger = rig.ledger().await;
    assert_eq!((app.tried().len(), ledger.leased, ledger.pending), (15, 0, 55));
    pass(seconds(600)).await;
    let ledger = rig.ledger().await;
    assert_eq!((ledger.delivered, ledger.dead, app.tried().len()), (60, 0, 70));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_ahead_of_a_destination_that_is_removed_waits_for_it() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 1, ..lane() };
    let app = rig.destination("app", policy, |_, _| after_10_ms(Outcome::Delivered));
    rig.send_many("app", 60).await;
    let _run = rig.run();
    pass(Duration::from_millis(105)).await;
    let removed = rig.remove("app");
    pass(Duration::from_millis(50)).await;
    let ledger = rig.ledger().await;
    assert_eq!((ledger.leased, ledger.pending + ledger.delivered), (0, 60));
    rig.put_back("app", removed);
    pass(seconds(2)).await;
    assert_eq!((app.tried().len(), rig.ledger().await.delivered), (60, 60));
}

#[tokio::test(start_paused = true)]
async fn a_lease_on_its_way_keeps_no_other_place_empty() {
    let rig = Rig::new();
    let policy = LanePolicy { concurrency: 3, ..lane() };
    let app = rig.destination("app", policy.clone(), |_, _| Act::Hang);
    let now = rig.clock.now();
    let lane = Lane::new("app".parse().unwrap(), app, policy, now);
    lane.drained();
    assert!(lane.standby().use_one(), "three places are lent");
    // What falls due now was not handed out, and nobody looks again when the lease arrives.
    let wish = lane.wish(now);
    assert!(matches!(&wish, Wish::Lease(demand) if demand.limit == 2), "{wish:?}");
}
