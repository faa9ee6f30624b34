//! Schedules, verdicts, priorities, rates, pauses and batches.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tenterhook::dispatcher::LanePolicy;
use tenterhook::model::{FailureKind, Outcome, Priority};
use tenterhook::policy::backoff::RetryPolicy;
use tenterhook::policy::breaker::BreakerPolicy;
use tenterhook::policy::limit::RatePolicy;

use super::script::{Act, Rig, all, failed, lane, pass, seconds};

/// A lane whose breaker never opens.
fn stubborn() -> LanePolicy {
    LanePolicy { breaker: BreakerPolicy { failures: u32::MAX, ..BreakerPolicy::default() }, ..lane() }
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_backoff_to_the_millisecond_and_end_in_a_dead_letter() {
    let rig = Rig::new();
    let retry = RetryPolicy { jitter: 0.0, attempts_max: 8, ..RetryPolicy::default() };
    let app = rig.destination("app", LanePolicy { retry, ..stubborn() }, |_, batch| all(&failed(), batch));
    rig.send("app", Priority::Normal, None).await;
    let _run = rig.run();
    pass(seconds(1000)).await;
    let tried = app.tried();
    assert_eq!(tried.iter().map(|tried| tried.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    for (k, pair) in tried.windows(2).enumerate() {
        let waited = pair[1].at.since(pair[0].at);
        let due = seconds(1 << k);
        assert!(waited >= due, "attempt {} came early: {waited:?}", k + 2);
        assert!(waited <= due + Duration::from_millis(10), "attempt {} came late: {waited:?}", k + 2);
    }
    let ledger = rig.ledger().await;
    assert_eq!((ledger.dead, ledger.pending, ledger.leased), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn jitter_moves_a_retry_by_a_fifth_at_most() {
    let rig = Rig::new();
    let policy = LanePolicy { retry: RetryPolicy::default(), ..stubborn() };
    let app = rig.destination("app", policy, |_, batch| all(&failed(), batch));
    rig.send_many("app", 20).await;
    let _run = rig.run();
    pass(seconds(2)).await;
    let mut waits = Vec::new();
    for second in app.tried().iter().filter(|tried| tried.attempt == 2) {
        let first = app.tried().iter().find(|it| it.event == second.event).unwrap().at;
        waits.push(second.at.since(first));
    }
    assert_eq!(waits.len(), 20);
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*least >= Duration::from_millis(800) && *most <= Duration::from_millis(1210), "{waits:?}");
    assert!(*most - *least > Duration::from_millis(50), "all at once: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_receiver_refuses_for_good_is_dead_at_once() {
    let rig = Rig::new();
    let app = rig.destination("app", lane(), |_, batch| all(&Outcome::Rejected, batch));
    rig.send("app", Priority::Normal, None).await;
    let _run = rig.run();
    pass(seconds(100)).await;
    assert_eq!((app.tried().len(), rig.ledger().await.dead), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_arrives_while_all_sleeps_is_delivered_at_once() {
    let rig = Rig::new();
    let app = rig.destination("app", lane(), |_, batch| all(&Outcome::Delivered, batch));
    let _run = rig.run();
    pass(seconds(17)).await;
    rig.send("app", Priority::Normal, None).await;
    pass(Duration::from_millis(5)).await;
    assert_eq!(app.tried().len(), 1);
    assert!(rig.millis(app.tried()[0].at) <= 17_005);
}

#[tokio::test(start_paused = true)]
async fn urgent_ones_go_first_but_the_least_urgent_get_one_lease_in_sixteen() {
    let rig = Rig::new();
    let slow = |_: usize, _: &[tenterhook::model::Message]| {
        Act::After(Duration::from_millis(10), Outcome::Delivered)
    };
    let app = rig.destination("app", LanePolicy { concurrency: 1, ..lane() }, slow);
    let mut low = Vec::new();
    for _ in 0..5 {
        low.push(rig.send("app", Priority::Low, None).await);
    }
    for _ in 0..200 {
        rig.send("app", Priority::High, None).await;
    }
    let _run = rig.run();
    pass(seconds(10)).await;
    let events = app.events();
    assert_eq!(events.len(), 205);
    let places: Vec<_> =
        low.iter().map(|id| events.iter().position(|event| event == id).unwrap() + 1).collect();
    assert_eq!(places, [16, 32, 48, 64, 80]);
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_at_once_and_a_second_than_the_lane_allows() {
    let rig = Rig::new();
    let rate = Some(RatePolicy { per_second: 10.0, burst: 2 });
    let app =
        rig.destination("app", LanePolicy { rate, ..lane() }, |_, batch| all(&Outcome::Delivered, batch));
    let wide = rig.destination("wide", lane(), |_, _| Act::After(seconds(1), Outcome::Delivered));
    rig.send_many("app", 100).await;
    rig.send_many("wide", 40).await;
    let _run = rig.run();
    pass(Duration::from_millis(5_050)).await;
    let count = app.tried().len();
    assert!((50..=52).contains(&count), "{count} attempts in 5 s at 10 a second after a burst of 2");
    assert_eq!(wide.open_max.load(Ordering::SeqCst), 4);
    assert_eq!(wide.tried().len(), 24, "four at a time, a second each");
}

#[tokio::test(start_paused = true)]
async fn a_429_pauses_its_lane_for_as_long_as_it_asked_and_no_other() {
    let rig = Rig::new();
    let limited = Outcome::Failed { kind: FailureKind::RateLimited, after: Some(seconds(30)) };
    let app = rig.destination("app", LanePolicy { concurrency: 1, ..lane() }, move |call, batch| {
        all(if call == 0 { &limited } else { &Outcome::Delivered }, batch)
    });
    let other = rig.destination("other", lane(), |_, batch| all(&Outcome::Delivered, batch));
    rig.send_many("app", 10).await;
    rig.send_many("other", 10).await;
    let _run = rig.run();
    pass(seconds(29)).await;
    assert_eq!((app.tried().len(), other.tried().len()), (1, 10));
    let view = rig.dispatcher.lanes().remove(0);
    assert_eq!(view.alarm.as_deref(), Some("rate limited by the receiver"));
    assert!(view.paused_until.is_some());
    pass(seconds(2)).await;
    assert_eq!(rig.ledger().await.delivered, 20);
    assert!(app.tried()[1].at.since(app.tried()[0].at) >= seconds(30));
    let view = rig.dispatcher.lanes().remove(0);
    assert_eq!((view.alarm, view.paused_until), (None, None));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_tried_pauses_the_lane_and_spends_nothing() {
    let rig = Rig::new();
    let retry = RetryPolicy { attempts_max: 2, ..lane().retry };
    let app = rig.destination("app", LanePolicy { retry, ..lane() }, |call, batch| {
        all(if call < 20 { &Outcome::NotTried } else { &Outcome::Delivered }, batch)
    });
    rig.send_many("app", 3).await;
    let _run = rig.run();
    pass(seconds(5)).await;
    assert_eq!(rig.dispatcher.lanes()[0].alarm.as_deref(), Some("a private address"));
    pass(seconds(600)).await;
    assert_eq!((rig.ledger().await.delivered, rig.ledger().await.dead), (3, 0));
    let after_the_first_three = &app.tried()[3..20];
    for pair in after_the_first_three.windows(2) {
        assert!(pair[1].at.since(pair[0].at) >= seconds(10), "one at a time, ten seconds apart");
    }
    assert_eq!(rig.dispatcher.lanes()[0].alarm, None);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_each_item_has_its_own_verdict_and_a_missing_one_is_tried_again() {
    let rig = Rig::new();
    let policy = LanePolicy { batch_max: 10, concurrency: 1, ..lane() };
    let app = rig.destination("app", policy, |call, batch| match call {
        // Delivered, refused, failed; nothing about the other seven.
        0 => Act::Say(vec![Outcome::Delivered, Outcome::Rejected, failed()]),
        _ => all(&Outcome::Delivered, batch),
    });
    let ids = rig.send_many("app", 25).await;
    let _run = rig.run();
    pass(seconds(10)).await;
    let first: Vec<_> = app.tried().iter().filter(|tried| tried.call == 0).map(|tried| tried.event).collect();
    assert_eq!(first, ids[..10]);
    let times = |id| app.events().iter().filter(|event| **event == id).count();
    assert_eq!((times(ids[0]), times(ids[1]), times(ids[2]), times(ids[9])), (1, 1, 2, 2));
    let ledger = rig.ledger().await;
    assert_eq!((ledger.delivered, ledger.dead), (24, 1));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_panics_costs_an_attempt_and_no_lane() {
    let rig = Rig::new();
    let app = rig.destination("app", LanePolicy { concurrency: 1, ..lane() }, |call, batch| {
        if call == 0 { Act::Panic } else { all(&Outcome::Delivered, batch) }
    });
    let ids = rig.send_many("app", 2).await;
    let _run = rig.run();
    pass(seconds(2)).await;
    assert_eq!(app.events(), [ids[0], ids[1], ids[0]]);
    assert_eq!(rig.ledger().await.delivered, 2);
    assert_eq!(rig.dispatcher.lanes()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_hangs_is_given_up_before_its_lease_ends_and_the_others_go_on() {
    let rig = Rig::new();
    let policy = LanePolicy { timeout: seconds(5), concurrency: 1, ..lane() };
    let app =
        rig.destination(
            "app",
            policy,
            |call, batch| {
                if call == 0 { Act::Hang } else { all(&Outcome::Delivered, batch) }
            },
        );
    let other = rig.destination("other", lane(), |_, batch| all(&Outcome::Delivered, batch));
    rig.send("app", Priority::Normal, None).await;
    rig.send_many("other", 50).await;
    let _run = rig.run();
    pass(Duration::from_millis(100)).await;
    assert_eq!(other.tried().len(), 50);
    pass(seconds(15)).await;
    let tried = app.tried();
    assert_eq!(tried.iter().map(|tried| tried.attempt).collect::<Vec<_>>(), [1, 2]);
    assert!(tried[1].at.since(tried[0].at) < seconds(15), "the lease of 15 s had to end first");
    assert_eq!(rig.ledger().await.delivered, 51);
}
