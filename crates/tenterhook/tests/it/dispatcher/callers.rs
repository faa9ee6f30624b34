//! Somebody waits for the first attempt of a delivery: what they hear, and that they never wait for nothing.

use std::time::Duration;

use tenterhook::dispatcher::LanePolicy;
use tenterhook::model::{Heard, Outcome, Priority};
use tenterhook::policy::breaker::BreakerPolicy;

use super::script::{Act, Rig, all, failed, lane, seconds};

/// The time is simulated: what nobody tells is not told within this.
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn they_hear_of_the_first_attempt_and_of_no_later_one() {
    let rig = Rig::new();
    let app = rig.destination("app", lane(), |call, batch| match call {
        0 => all(&failed(), batch),
        1 => all(&Outcome::Delivered, batch),
        2 => Act::Panic,
        _ => Act::After(seconds(5), Outcome::Delivered),
    });
    let _run = rig.run();
    for (number, expected) in [(0, Some(Heard::Failed)), (1, None)] {
        // The number is the event's, and the second one's first attempt panics.
        let heard = rig.dispatcher.listen(&"app".parse().unwrap(), &format!("cor_{number}")).unwrap();
        let event = rig.send("app", Priority::Normal, None).await;
        assert_eq!(tokio::time::timeout(LONG, heard).await, Ok(expected));
        let first = app.tried().into_iter().find(|tried| tried.event == event).unwrap();
        assert_eq!(first.attempt, 1);
        tokio::time::sleep(seconds(2)).await;
    }
    // A destination that says nothing beyond the outcome.
    let heard = rig.dispatcher.listen(&"app".parse().unwrap(), "cor_2").unwrap();
    rig.send("app", Priority::Normal, None).await;
    assert_eq!(tokio::time::timeout(LONG, heard).await, Ok(Some(Heard::Unfit)));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_nothing_is_told_when_the_breaker_opens_and_nobody_waits_behind_an_open_one() {
    let rig = Rig::new();
    let policy = LanePolicy {
        concurrency: 1,
        breaker: BreakerPolicy { failures: 1, ..BreakerPolicy::default() },
        ..lane()
    };
    rig.destination("app", policy, |_, _| Act::After(seconds(1), failed()));
    rig.destination("other", lane(), |_, batch| all(&Outcome::Delivered, batch));
    let _run = rig.run();
    let app = "app".parse().unwrap();
    let first = rig.dispatcher.listen(&app, "cor_0").unwrap();
    let behind = rig.dispatcher.listen(&app, "cor_1").unwrap();
    let elsewhere = rig.dispatcher.listen(&"other".parse().unwrap(), "cor_2").unwrap();
    rig.send("app", Priority::High, None).await;
    rig.send("app", Priority::Normal, None).await;
    assert_eq!(tokio::time::timeout(LONG, first).await, Ok(Some(Heard::Failed)));
    assert_eq!(tokio::time::timeout(LONG, behind).await, Ok(Some(Heard::Closed)));
    assert!(rig.dispatcher.listen(&app, "cor_3").is_none());
    rig.send("other", Priority::Normal, None).await;
    assert_eq!(tokio::time::timeout(LONG, elsewhere).await, Ok(Some(Heard::Unfit)));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_goes_tells_those_who_wait_and_one_that_is_not_there_is_not_waited_for() {
    let rig = Rig::new();
    rig.destination("app", lane(), |_, batch| all(&Outcome::Delivered, batch));
    let heard = rig.dispatcher.listen(&"app".parse().unwrap(), "cor_0").unwrap();
    rig.remove("app");
    assert_eq!(tokio::time::timeout(LONG, heard).await, Ok(Some(Heard::Closed)));
    assert!(rig.dispatcher.listen(&"app".parse().unwrap(), "cor_0").is_none());
}
