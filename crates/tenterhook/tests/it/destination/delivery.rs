//! What comes of an attempt: confirmed, refused, slow, lost.

use std::time::Duration;

use http::StatusCode;
use tenterhook::destination::Destination;
use tenterhook::model::{FailureKind, Outcome};
use tokio::net::TcpListener;

use super::chaos::{Chaos, Weather};
use super::peer::{Part, Peer};
use super::{connect, deliver, failed, message, numbered, settings};

#[tokio::test]
async fn a_2xx_confirms_and_the_body_arrives_byte_for_byte() {
    let body = b"{\"a\" : 1,\r\n \"b\":\"\xff\x00\"}";
    let peer = Peer::playing([Part::answer("200 OK", " {\"ok\":true}\n")]).await;
    let reply = deliver(&connect(settings(peer.url())), message(body)).await;
    assert_eq!((reply.outcome, reply.status), (Outcome::Delivered, Some(200)));
    assert_eq!(reply.result.as_deref(), Some("{\"ok\":true}"));
    assert_eq!(reply.excerpt, " {\"ok\":true}\\n");
    let caught = peer.only();
    assert_eq!(caught.body, body);
    assert_eq!(caught.head[0], "POST /hooks HTTP/1.1");
    assert_eq!(caught.one("host"), peer.address.to_string());
}

#[tokio::test]
async fn every_status_has_one_meaning() {
    let later = |kind, seconds| Outcome::Failed { kind, after: Some(Duration::from_secs(seconds)) };
    for (status, headers, expected) in [
        ("200 OK", "", Outcome::Delivered),
        ("202 Accepted", "", Outcome::Delivered),
        ("299 Fine", "", Outcome::Delivered),
        ("301 Moved", "location: http://127.0.0.1:1/\r\n", failed(FailureKind::Protocol)),
        ("307 Moved", "location: /elsewhere\r\n", failed(FailureKind::Protocol)),
        ("304 Same", "", failed(FailureKind::Protocol)),
        ("400 Bad", "", failed(FailureKind::Client)),
        ("404 Missing", "retry-after: 3\r\n", later(FailureKind::Client, 3)),
        ("410 Gone", "", Outcome::Rejected),
        ("422 Never", "", Outcome::Rejected),
        ("429 Slow", "", failed(FailureKind::RateLimited)),
        ("429 Slow", "retry-after: 120\r\n", later(FailureKind::RateLimited, 120)),
        ("429 Slow", "retry-after: 5\r\nretry-after: 9\r\n", later(FailureKind::RateLimited, 9)),
        ("429 Slow", "retry-after: 99999999999999999999\r\n", later(FailureKind::RateLimited, 365 * 86_400)),
        ("429 Slow", "retry-after: -5\r\n", failed(FailureKind::RateLimited)),
        ("503 Down", "retry-after: Thu, 01 Jan 2026 00:01:00 GMT\r\n", later(FailureKind::Server, 60)),
        ("500 Broken", "retry-after: Fri, 01 Jan 1900\r\n", failed(FailureKind::Server)),
        ("600 What", "", failed(FailureKind::Protocol)),
    ] {
        let peer = Peer::playing([Part::answer_with(status, headers, "said")]).await;
        let mut settings = settings(peer.url());
        settings.dead_statuses = vec![StatusCode::UNPROCESSABLE_ENTITY];
        let reply = deliver(&connect(settings), message(b"{}")).await;
        assert_eq!(reply.outcome, expected, "{status} {headers}: {}", reply.excerpt);
        assert_eq!(reply.status, status[..3].parse().ok());
        assert_eq!(peer.caught().len(), 1, "{status} was followed or repeated");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_where_it_led() {
    let target = Peer::playing([Part::answer("200 OK", "")]).await;
    let location = format!("location: {}\r\n", target.url());
    let peer = Peer::playing([Part::answer_with("308 Moved", &location, "")]).await;
    let reply = deliver(&connect(settings(peer.url())), message(b"{}")).await;
    assert_eq!(reply.outcome, failed(FailureKind::Protocol));
    assert!(reply.excerpt.contains(&target.url()), "{}", reply.excerpt);
    assert!(target.caught().is_empty());
}

#[tokio::test]
async fn nobody_at_home_is_a_failure_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let destination = connect(settings(url));
    let reply = deliver(&destination, message(b"{}")).await;
    assert_eq!((reply.outcome, reply.status), (failed(FailureKind::Connect), None));
    assert!(reply.excerpt.contains("refused"), "{}", reply.excerpt);
    let down = destination.check().await.unwrap_err();
    assert!(!down.refuses_start && down.message.contains("refused"), "{down}");
}

#[tokio::test]
async fn a_handler_that_is_there_passes_the_check_and_gets_nothing() {
    let peer = Peer::playing([Part::BeSilent]).await;
    assert_eq!(connect(settings(peer.url())).check().await, Ok(()));
    assert!(peer.caught().is_empty());
}

#[tokio::test]
async fn a_handler_without_an_answer_is_given_up_in_time() {
    for part in [
        Part::BeSilent,
        Part::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
        Part::SayForEver(Vec::new(), b"HTTP/1.1 103 Early\r\n\r\n".to_vec()),
    ] {
        let peer = Peer::playing([part.clone()]).await;
        let mut settings = settings(peer.url());
        settings.timeout = Duration::from_millis(200);
        let reply = deliver(&connect(settings), message(b"{}")).await;
        assert_eq!(reply.outcome, failed(FailureKind::Timeout), "{part:?}: {}", reply.excerpt);
        assert!(reply.took >= Duration::from_millis(200) && reply.took < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_bad_network_never_looks_like_a_confirmation() {
    let peer = Peer::playing([Part::answer("200 OK", "confirmed")]).await;
    let chaos = Chaos::before(peer.address, Weather::Clear).await;
    let url = format!("http://{}/hooks", chaos.address);
    for (weather, expected) in [
        (Weather::Clear, Outcome::Delivered),
        (Weather::Refuse, failed(FailureKind::Connect)),
        (Weather::CutAfter(40), failed(FailureKind::Connect)),
        (Weather::LoseAnswer, failed(FailureKind::Connect)),
        (Weather::HalfCloseAfter(10), failed(FailureKind::Connect)),
        (Weather::HalfCloseAfter(40), failed(FailureKind::Protocol)),
        (Weather::Delay(Duration::from_millis(20)), Outcome::Delivered),
    ] {
        chaos.turn(weather);
        // A destination of its own each time: no connection of an earlier weather is left.
        let reply = deliver(&connect(settings(&url)), message(b"{\"a\":1}")).await;
        assert_eq!(reply.outcome, expected, "{weather:?}: {}", reply.excerpt);
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let peer = Peer::playing([Part::answer("200 OK", "fine")]).await;
    let destination = connect(settings(peer.url()));
    for number in 0..5 {
        assert_eq!(deliver(&destination, numbered(number)).await.outcome, Outcome::Delivered);
    }
    assert!(peer.caught().iter().all(|caught| caught.connection == 0));
}

#[tokio::test]
async fn concurrent_attempts_do_not_mix() {
    let peer = Peer::playing([Part::answer("200 OK", "fine")]).await;
    let destination = connect(settings(peer.url()));
    let batch: Vec<_> = (0..32).map(numbered).collect();
    let replies = destination.deliver(&batch).await;
    assert!(replies.iter().all(|reply| reply.outcome == Outcome::Delivered), "{replies:#?}");
    let mut ids: Vec<String> =
        peer.caught().iter().map(|caught| caught.one("webhook-id").to_owned()).collect();
    ids.sort();
    assert_eq!(ids, batch.iter().map(|message| message.id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dropped_attempt_leaves_the_destination_whole() {
    let peer = Peer::playing([Part::BeSilent, Part::answer("200 OK", "second")]).await;
    let destination = connect(settings(peer.url()));
    tokio::select! {
        reply = deliver(&destination, message(b"first")) => panic!("answered: {reply:?}"),
        () = peer.wait_for(1) => {}
    }
    let reply = deliver(&destination, message(b"second")).await;
    assert_eq!((reply.outcome, reply.excerpt.as_str()), (Outcome::Delivered, "second"));
    assert_eq!(peer.caught()[1].body, b"second");
}

#[tokio::test]
async fn what_was_configured_as_a_secret_does_not_come_back_in_an_excerpt() {
    let peer = Peer::playing([Part::answer("401 No", "bad token tok-0123456789abcdef\x1b[2J")]).await;
    let mut settings = settings(peer.url());
    settings.headers.insert("authorization", "Bearer tok-0123456789abcdef".parse().unwrap());
    let reply = deliver(&connect(settings), message(b"{}")).await;
    assert_eq!(reply.excerpt, "bad token ***\\u{1b}[2J");
    assert_eq!(peer.only().one("authorization"), "Bearer tok-0123456789abcdef");
}
