//! Several events in one request, and an answer that names each.

use data_encoding::BASE64;
use serde_json::Value;
use tenterhook::destination::Destination;
use tenterhook::model::{FailureKind, Message, Outcome, Reply};

use super::peer::{Part, Peer};
use super::{connect, failed, numbered, settings};

async fn answered(status: &str, answer: &str, batch: &[Message]) -> (Vec<Reply>, Peer) {
    let peer = Peer::playing([Part::answer(status, answer)]).await;
    let mut settings = settings(peer.url());
    settings.batch = true;
    let replies = connect(settings).deliver(batch).await;
    assert_eq!(replies.len(), batch.len());
    (replies, peer)
}

#[tokio::test]
async fn every_event_gets_its_own_verdict_in_order() {
    let batch: Vec<_> = (0..5).map(numbered).collect();
    let id = |at: usize| batch[at].id;
    let answer = format!(
        r#"{{"results":[{{"id":"{}","status":"reject","reason":"no\u001b"}},{{"id":"{}","status":"ok"}},
        {{"id":"{}","status":"retry","reason":"busy"}},{{"id":"{}","status":"surely"}},{{"id":"evt_x","status":"ok"}}]}}"#,
        id(1),
        id(0),
        id(2),
        id(3)
    );
    let (replies, peer) = answered("200 OK", &answer, &batch).await;
    let outcomes: Vec<_> = replies.iter().map(|reply| reply.outcome.clone()).collect();
    let (item, unnamed) = (failed(FailureKind::Client), failed(FailureKind::Protocol));
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Rejected, item.clone(), item, unnamed]);
    assert_eq!((replies[1].excerpt.as_str(), replies[2].excerpt.as_str()), ("no\\u{1b}", "busy"));

    let caught = peer.only();
    assert_eq!((caught.one("content-type"), caught.one("tenterhook-batch")), ("application/json", "5"));
    let body: Value = serde_json::from_slice(&caught.body).unwrap();
    let first = &body["events"][0];
    assert_eq!(first["id"], batch[0].id.to_string());
    assert_eq!((&first["event_id"], &first["source"]), (&"pe_1".into(), &"shop".into()));
    assert_eq!((&first["type"], &first["attempt"]), (&"order.paid".into(), &1.into()));
    assert_eq!(first["body_b64"], BASE64.encode(b"{}"));
    assert_eq!(first["headers"]["tenterhook-event-type"], "order.paid");
}

#[tokio::test]
async fn a_2xx_that_names_nothing_confirms_nothing() {
    let batch = [numbered(0), numbered(1)];
    for answer in ["", "ok", "{}", "[]", "{\"results\":{}}", "{\"results\":[]}", "{\"results\":[{\"id\":1}]}"]
    {
        let (replies, _) = answered("200 OK", answer, &batch).await;
        for reply in replies {
            assert_eq!(reply.outcome, failed(FailureKind::Protocol), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn contradictions_are_settled_against_ok() {
    let batch = [numbered(0)];
    let id = batch[0].id;
    let answer = format!(r#"{{"results":[{{"id":"{id}","status":"ok"}},{{"id":"{id}","status":"retry"}}]}}"#);
    let (replies, _) = answered("200 OK", &answer, &batch).await;
    assert_eq!(replies[0].outcome, failed(FailureKind::Client));
}

#[tokio::test]
async fn a_refused_request_is_said_of_every_event() {
    let batch: Vec<_> = (0..3).map(numbered).collect();
    let (replies, _) = answered("503 Down", "later", &batch).await;
    assert!(replies.iter().all(|reply| reply.outcome == failed(FailureKind::Server)));
}

#[tokio::test]
async fn large_bodies_are_spread_over_several_requests() {
    let batch: Vec<_> =
        (0..3).map(|number| Message { body: vec![b'x'; 5 << 20].into(), ..numbered(number) }).collect();
    let (_, peer) = answered("503 Down", "", &batch).await;
    let caught = peer.caught();
    assert!(caught.iter().all(|caught| caught.body.len() < 12 << 20), "a request is too large");
    assert_eq!(caught.len(), 3);
    let mut ids: Vec<_> = caught.iter().map(|caught| caught.one("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "a handler that remembers ids would skip one");
}
