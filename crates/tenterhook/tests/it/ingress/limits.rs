//! Limits: of length, time, memory, rate and address, before and after verification.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tenterhook::ingress::IngressSettings;
use tenterhook::policy::limit::RatePolicy;
use tenterhook::source::{Source, SourceLimits};
use tenterhook::store::StoreErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Gateway, Mood, NOW, Post, SECRET, generation, github, limits, source};
use super::wire::{closes, read_answer, talk};

fn limited(name: &str, limits: SourceLimits) -> Source {
    Source { limits, ..source(name, "github", SECRET) }
}

#[tokio::test]
async fn a_body_may_be_exactly_as_long_as_the_limit() {
    let gh = limited("gh", SourceLimits { body_bytes_max: 1000, ..limits() });
    let gateway = Gateway::start(vec![gh.clone()]).await;
    assert_eq!(gateway.ask(github(&gh, "d", "x".repeat(1000)).bytes()).await.status, 202);
    let answer = gateway.ask(github(&gh, "e", "x".repeat(1001)).bytes()).await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(answer.body.contains("longer than 1000 bytes"), "{}", answer.body);
    let last = gateway.rejections.recent(1);
    assert_eq!(last[0].reason, "too_large");
}

#[tokio::test]
async fn an_endless_body_is_cut_off_while_it_streams() {
    let gh = limited("gh", SourceLimits { body_bytes_max: 100_000, ..limits() });
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let head = github(&gh, "d", "").with("transfer-encoding", "chunked").head("POST");
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&[head, b"\r\n".to_vec()].concat()).await.unwrap();
    let (mut reading, mut writing) = socket.split();
    let chunk = [b"2000\r\n".to_vec(), vec![b'x'; 0x2000], b"\r\n".to_vec()].concat();
    let upload = async { while writing.write_all(&chunk).await.is_ok() {} };
    let answer = async {
        let answer = read_answer(&mut reading).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
        let mut rest = Vec::new();
        let _ = reading.read_to_end(&mut rest).await;
    };
    let both = async { tokio::join!(upload, answer) };
    tokio::time::timeout(super::wire::PATIENCE, both).await.expect("the upload goes on");
    assert_eq!(gateway.stored().len(), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let gh = limited("gh", SourceLimits { body_timeout: Duration::from_millis(100), ..limits() });
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let request = [github(&gh, "d", "{}").head("POST"), b"content-length: 2\r\n\r\n{".to_vec()].concat();
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&request).await.unwrap();
    let answer = read_answer(&mut socket).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(closes(&mut socket).await);
    assert_eq!(gateway.ask(github(&gh, "d", "{}").bytes()).await.status, 202);
}

#[tokio::test]
async fn a_body_that_ends_early_stores_nothing() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let request = [github(&gh, "d", "{}").head("POST"), b"content-length: 3\r\n\r\n{}".to_vec()].concat();
    let transcript = talk(gateway.address, request).await;
    assert!(transcript.is_empty() || transcript.starts_with("HTTP/1.1 400 "), "{transcript:?}");
    assert_eq!(gateway.stored().len(), 0);
}

#[tokio::test]
async fn endless_uploads_cannot_take_the_memory_of_ordinary_events() {
    let settings = IngressSettings { unverified_bytes_max: 4 << 20, ..IngressSettings::default() };
    let gh = limited("gh", SourceLimits { body_bytes_max: 25 << 20, ..limits() });
    let gateway = Gateway::start_with(vec![gh.clone()], settings).await;
    let mut uploads = Vec::new();
    for n in 0..16 {
        let request = [
            github(&gh, &format!("u{n}"), "").head("POST"),
            format!("content-length: {}\r\n\r\n", 25 << 20).into_bytes(),
            vec![b'x'; 1 << 20],
        ];
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        let _ = socket.write_all(&request.concat()).await;
        uploads.push(socket);
    }
    // 16 MiB are on their way into a budget of 4: some are refused, with a word on when to come back.
    let refused = || async { gateway.rejections.recent(100).iter().any(|r| r.reason == "body_budget") };
    super::until(refused).await;
    for n in 0..50 {
        assert_eq!(gateway.ask(github(&gh, &format!("d{n}"), "{}").bytes()).await.status, 202);
    }
    let large = gateway.ask(github(&gh, "large", "x".repeat(3 << 20)).bytes()).await;
    assert_eq!((large.status, large.header("retry-after")), (503, Some("1")));
    drop(uploads);
    super::until(|| async {
        gateway.ask(github(&gh, "large", "x".repeat(2 << 20)).bytes()).await.status == 202
    })
    .await;
}

#[tokio::test]
async fn a_store_that_cannot_accept_is_503_with_a_time_to_come_back_and_burns_no_key() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let post = github(&gh, "d", "{}");
    for (kind, reason) in [
        (StoreErrorKind::Full, "store_full"),
        (StoreErrorKind::Unavailable, "store_unavailable"),
        (StoreErrorKind::Corrupt, "store_corrupt"),
    ] {
        gateway.store.set_mood(Mood::Failing(kind));
        let answer = gateway.ask(post.bytes()).await;
        let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert_eq!(answer.status, 503);
        assert!((1..=300).contains(&retry_after));
        assert!(!answer.body.contains("told to fail"), "the store's own words are for the log");
        assert_eq!(gateway.rejections.recent(1)[0].reason, reason);
    }
    gateway.store.set_mood(Mood::Well);
    assert_eq!(gateway.ask(post.bytes()).await.status, 202, "DED-10");
}

#[tokio::test]
async fn only_verified_requests_count_against_a_sources_own_rate() {
    let rate = Some(RatePolicy { per_second: 0.5, burst: 2 });
    let gh = limited("gh", SourceLimits { rate, ..limits() });
    let gateway = Gateway::start(vec![gh.clone()]).await;
    for _ in 0..20 {
        assert_eq!(gateway.ask(Post::to("/webhooks/gh", "{}").bytes()).await.status, 401);
    }
    for (id, status) in [("a", 202), ("b", 202), ("c", 429)] {
        let answer = gateway.ask(github(&gh, id, "{}").bytes()).await;
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (status, status == 429));
    }
    // A reload that changes nothing about the rate forgets nothing about it.
    gateway.ingress.set_generation(generation(vec![gh.clone()], IngressSettings::default()));
    assert_eq!(gateway.ask(github(&gh, "c", "{}").bytes()).await.status, 429);
    gateway.clock.set(NOW.plus(Duration::from_secs(2)));
    assert_eq!(gateway.ask(github(&gh, "c", "{}").bytes()).await.status, 202);
}

#[tokio::test]
async fn an_address_has_its_own_rate_before_verification() {
    let settings = IngressSettings {
        rate_per_address: Some(RatePolicy { per_second: 1.0, burst: 3 }),
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..IngressSettings::default()
    };
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start_with(vec![gh.clone()], settings).await;
    let from = |address: &str, id: &str| github(&gh, id, "{}").with("x-forwarded-for", address).bytes();
    for n in 0..5 {
        let wrong = Post::to("/webhooks/gh", "{}").with("x-forwarded-for", "192.0.2.1").bytes();
        let answer = gateway.ask(wrong).await;
        assert_eq!(
            (answer.status, answer.header("retry-after").is_some()),
            if n < 3 { (401, false) } else { (429, true) }
        );
    }
    assert_eq!(gateway.ask(from("192.0.2.1", "a")).await.status, 429);
    assert_eq!(gateway.ask(from("192.0.2.2", "a")).await.status, 202);
    // A subscriber's /64 is one sender, whatever address of it is used.
    for n in 0..4 {
        let address = format!("2001:db8:0:1::{n}");
        assert_eq!(
            gateway.ask(from(&address, &format!("v6-{n}"))).await.status,
            if n < 3 { 202 } else { 429 }
        );
    }
}

#[tokio::test]
async fn only_listed_addresses_may_send() {
    let allow_from = vec!["192.0.2.10/32".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let listed = limited("listed", SourceLimits { allow_from, ..limits() });
    let proxies = vec!["127.0.0.0/8".parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
    let behind = IngressSettings { trusted_proxies: proxies, ..IngressSettings::default() };
    let gateway = Gateway::start_with(vec![listed.clone()], behind).await;
    let cases: [(&[&str], u16); 22] = [
        (&["192.0.2.10"], 202),
        (&["192.0.2.10:4711"], 202),
        (&["::ffff:192.0.2.10"], 202),
        (&["[::ffff:192.0.2.10]:443"], 202),
        (&["2001:db8::7"], 202),
        (&["[2001:db8::7]:443"], 202),
        (&["203.0.113.9, 192.0.2.10"], 202),
        (&["192.0.2.10, 198.51.100.7"], 202),
        (&["203.0.113.9", "192.0.2.10, 198.51.100.7"], 202),
        (&["192.0.2.10, 203.0.113.9"], 403),
        (&["192.0.2.10", "203.0.113.9"], 403),
        (&["192.0.2.1"], 403),
        (&["192.0.2.100"], 403),
        (&["192.0.2.10%1"], 403),
        (&["192.0.2.010"], 403),
        (&["0300.0.2.10"], 403),
        (&["3221225994"], 403),
        (&["fe80::1%eth0, 192.0.2.10x"], 403),
        (&["192.0.2.10, garbage"], 403),
        (&[""], 403),
        (&["unknown"], 403),
        (&[], 403),
    ];
    for (n, (hops, status)) in cases.iter().enumerate() {
        let post = github(&listed, &format!("d{n}"), "{}");
        let post = hops.iter().fold(post, |post, hop| post.with("X-Forwarded-For", hop));
        assert_eq!(gateway.ask(post.bytes()).await.status, *status, "{hops:?}");
    }
    // Without trusted proxies, what the header says is a sender's own claim.
    let gateway = Gateway::start(vec![listed.clone()]).await;
    let claimed = github(&listed, "d", "{}").with("x-forwarded-for", "192.0.2.10");
    let answer = gateway.ask(claimed.bytes()).await;
    assert_eq!(answer.status, 403);
    assert_eq!(gateway.rejections.recent(1)[0].address, Some("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn h2_requests_are_judged_alike() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let socket = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let send = |post: Post, authority: &str| {
        let mut request = Request::post(format!("http://{authority}{}", post.target));
        for (name, value) in post.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value.as_slice());
        }
        let request = request.body(Full::new(Bytes::from(post.body))).unwrap();
        let mut sender = sender.clone();
        async move {
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }
    };
    let good = github(&gh, "d", "{}");
    assert_eq!(send(good.clone(), "gw").await.0, 202);
    assert_eq!(send(good.clone(), "gw:8080").await.0, 200);
    assert_eq!(send(good.clone().without("x-hub-signature-256"), "gw").await.0, 401);
    let large = Post { body: vec![b'x'; 2 << 20], ..good.clone() };
    let (status, body) = send(large, "gw").await;
    assert!(status == 413 && body.contains("longer than"), "{status} {body}");
    assert_eq!(send(Post { target: "/elsewhere".to_owned(), ..good.clone() }, "gw").await.0, 404);
    let many = (0..200).map(|n| send(github(&gh, &format!("m{n}"), "{}"), "gw"));
    assert!(futures_util::future::join_all(many).await.iter().all(|(status, _)| *status == 202));
    assert_eq!(gateway.stored().len(), 201);
}
