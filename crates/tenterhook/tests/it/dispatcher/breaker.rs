//! A receiver that is down: the breaker opens, waiting costs nothing, everything arrives after it is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tenterhook::dispatcher::LanePolicy;
use tenterhook::model::{BreakerState, Outcome, Priority};
use tenterhook::policy::backoff::RetryPolicy;
use tenterhook::policy::breaker::BreakerPolicy;

use super::script::{Act, Rig, all, failed, lane, pass, seconds};

#[tokio::test(start_paused = true)]
async fn ten_failures_open_it_then_one_probe_a_second_never_the_same_twice_running() {
    let rig = Rig::new();
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let app = rig.destination("app", LanePolicy { concurrency: 1, ..lane() }, move |_, batch| {
        let outcome = if is_up.load(Ordering::SeqCst) { Outcome::Delivered } else { failed() };
        all(&outcome, batch)
    });
    rig.send_many("app", 30).await;
    let _run = rig.run();
    pass(Duration::from_millis(500)).await;
    assert_eq!(app.tried().len(), 10, "ten in a row open it");
    assert_eq!(rig.dispatcher.lanes()[0].breaker, BreakerState::Open);
    pass(seconds(60)).await;
    let probes = app.tried().split_off(10);
    assert!((58..=61).contains(&probes.len()), "{} probes in 60 s", probes.len());
    for pair in probes.windows(2) {
        assert!(pair[1].at.since(pair[0].at) >= seconds(1), "probes closer than a second");
        assert_ne!(pair[0].event, pair[1].event, "the same delivery twice running");
    }
    let most = app.tried().iter().map(|tried| tried.attempt).max().unwrap();
    assert!(most <= 5, "waiting cost attempts: one delivery has {most}");

    up.store(true, Ordering::SeqCst);
    let before = app.tried().len();
    pass(Duration::from_millis(2_010)).await;
    assert_eq!(rig.dispatcher.lanes()[0].breaker, BreakerState::Closed, "two successes close it");
    assert!(app.tried().len() >= before + 2);
    pass(seconds(300)).await;
    let ledger = rig.ledger().await;
    assert_eq!((ledger.delivered, ledger.dead, ledger.pending), (30, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_always_first_in_line_is_not_probed_twice_running() {
    let rig = Rig::new();
    // Every retry is due again before the next probe, so the urgent one would be taken each time.
    let short = Duration::from_millis(100);
    let policy = LanePolicy {
        concurrency: 1,
        retry: RetryPolicy { base: short, cap: short, jitter: 0.0, attempts_max: 1_000 },
        breaker: BreakerPolicy { failures: 1, ..BreakerPolicy::default() },
        ..lane()
    };
    let app = rig.destination("app", policy, |_, batch| all(&failed(), batch));
    let urgent = rig.send("app", Priority::High, None).await;
    let other = rig.send("app", Priority::Normal, None).await;
    let _run = rig.run();
    pass(Duration::from_millis(10_500)).await;
    let probes = app.events().split_off(1);
    assert!(probes.len() >= 9, "{} probes", probes.len());
    for pair in probes.windows(2) {
        assert!(pair == [urgent, other] || pair == [other, urgent], "{probes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_ten_thousand_arrives_in_order_per_key_while_a_healthy_lane_goes_on() {
    const BACKLOG: usize = 10_000;
    let rig = Rig::new();
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let app = rig.destination("app", LanePolicy { concurrency: 32, ..lane() }, move |_, _| {
        let outcome = if is_up.load(Ordering::SeqCst) { Outcome::Delivered } else { failed() };
        Act::After(Duration::from_millis(5), outcome)
    });
    let healthy = rig.destination("healthy", lane(), |_, batch| all(&Outcome::Delivered, batch));
    let mut sent: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for number in 0..BACKLOG {
        let key = number % 200;
        let id = rig.send("app", Priority::Normal, Some(&format!("key-{key}"))).await;
        sent.entry(key).or_default().push(id);
    }
    let _run = rig.run();
    pass(seconds(20)).await;
    assert!(app.tried().len() < 100, "{} attempts at a receiver that is down", app.tried().len());
    rig.send_many("healthy", 100).await;
    pass(Duration::from_millis(100)).await;
    assert_eq!(healthy.tried().len(), 100);

    up.store(true, Ordering::SeqCst);
    let down_until = app.tried().len();
    pass(seconds(120)).await;
    let ledger = rig.ledger().await;
    assert_eq!((ledger.delivered, ledger.dead), (BACKLOG as u64 + 100, 0));
    let mut arrived: BTreeMap<_, usize> = BTreeMap::new();
    for (place, event) in app.events().split_off(down_until).into_iter().enumerate() {
        assert!(arrived.insert(event, place).is_none(), "{event} was delivered twice");
    }
    for (key, ids) in sent {
        let places: Vec<_> = ids.iter().map(|id| arrived[id]).collect();
        assert!(places.is_sorted(), "key {key} is out of order: {places:?}");
    }
}
