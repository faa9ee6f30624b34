//! Hostile and broken handlers: nothing they send costs more than its bound, is believed, or reaches another event.

use std::io::Write;
use std::process::{Command, Stdio};

use tenterhook::model::{FailureKind, Outcome};

use super::peer::{Part, Peer};
use super::{connect, deliver, failed, numbered, settings};

const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[tokio::test]
async fn a_broken_answer_is_a_failure_and_its_connection_is_not_used_again() {
    let sneaked = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsneaked";
    let long_headers = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(10_000_000));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    for (name, bytes) in [
        (
            "both lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"),
        ("a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok"),
        ("a bad chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"),
        ("a huge chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nok"),
        ("HTTP/0.9", "ok, stored\r\n"),
        ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        ("status 099", "HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n"),
        ("status 1000", "HTTP/1.1 1000 High\r\ncontent-length: 0\r\n\r\n"),
        ("status 600", "HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n"),
        ("204 with a body", "HTTP/1.1 204 None\r\ncontent-length: 2\r\n\r\nok"),
        ("an upgrade", "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        ("10 MB of headers", &long_headers),
        ("10,000 headers", &many_headers),
        ("NUL in a header", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let first = Part::Say([bytes, if name == "status 600" { "" } else { sneaked }].concat().into_bytes());
        let peer = Peer::playing([first, Part::answer("500 Honest", "no")]).await;
        let destination = connect(settings(peer.url()));
        let reply = deliver(&destination, numbered(1)).await;
        assert_eq!(reply.outcome, failed(FailureKind::Protocol), "{name}: {}", reply.excerpt);
        let next = deliver(&destination, numbered(2)).await;
        assert_eq!(
            next.outcome,
            failed(FailureKind::Server),
            "{name}: the next event was credited: {next:?}"
        );
        if name != "status 600" {
            let caught = peer.caught();
            assert_ne!(caught[0].connection, caught[1].connection, "{name}: the connection was used again");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_confirms_nothing() {
    for (bytes, kind) in [
        ("", FailureKind::Connect),
        ("HTTP/1.1 200 OK\r\n", FailureKind::Connect),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", FailureKind::Protocol),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 9\r\n\r\nok", FailureKind::Protocol),
        ("HTTP/1.1 503 Down\r\ncontent-length: 9\r\n\r\nok", FailureKind::Server),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", FailureKind::Protocol),
    ] {
        let peer = Peer::playing([Part::SayAndClose(bytes.as_bytes().to_vec())]).await;
        let reply = deliver(&connect(settings(peer.url())), numbered(1)).await;
        assert_eq!(reply.outcome, failed(kind), "{bytes:?}: {}", reply.excerpt);
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_not_the_next_answer() {
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for first in [two, "HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] {
        let peer =
            Peer::playing([Part::Say(first.as_bytes().to_vec()), Part::answer("500 Honest", "")]).await;
        let destination = connect(settings(peer.url()));
        assert_eq!(deliver(&destination, numbered(1)).await.outcome, Outcome::Delivered);
        let next = deliver(&destination, numbered(2)).await;
        assert_eq!(next.outcome, failed(FailureKind::Server), "{first:?} was credited to the next event");
    }
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_bound_only() {
    for (head, chunk) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n", "x".repeat(8192)),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            format!("2000\r\n{}\r\n", "x".repeat(8192)),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", "x".repeat(8192)),
    ] {
        let endless = Part::SayForEver(head.as_bytes().to_vec(), chunk.into_bytes());
        let peer = Peer::playing([endless, Part::answer("500 Honest", "")]).await;
        let destination = connect(settings(peer.url()));
        let reply = deliver(&destination, numbered(1)).await;
        // The handler said 2xx; that it goes on talking does not take it back.
        assert_eq!((reply.outcome, reply.result), (Outcome::Delivered, None), "{}", reply.excerpt);
        assert!(reply.excerpt.ends_with("(truncated)") && reply.excerpt.len() <= 1024);
        deliver(&destination, numbered(2)).await;
        assert_ne!(peer.caught()[0].connection, peer.caught()[1].connection);
    }
}

#[tokio::test]
async fn a_compressed_answer_is_never_inflated() {
    let mut gzip =
        Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&vec![b' '; 8 << 20]));
    let bomb = gzip.wait_with_output().unwrap().stdout;
    writer.join().unwrap().unwrap();
    assert!(bomb.len() < ANSWER_BYTES_MAX);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let peer = Peer::playing([Part::Say([head.as_bytes(), &bomb].concat())]).await;
    let reply = deliver(&connect(settings(peer.url())), numbered(1)).await;
    assert_eq!(reply.outcome, Outcome::Delivered);
    assert_eq!(reply.excerpt, format!("(encoded as gzip, {} bytes read)", bomb.len()));
    assert_eq!(peer.only().all("accept-encoding"), Vec::<&str>::new());
}

#[tokio::test]
async fn a_thousand_interim_answers_are_skipped() {
    let interim = "HTTP/1.1 102 Working\r\n\r\n".repeat(1000);
    let answer = format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let peer = Peer::playing([Part::Say(answer.into_bytes())]).await;
    assert_eq!(deliver(&connect(settings(peer.url())), numbered(1)).await.outcome, Outcome::Delivered);
}
