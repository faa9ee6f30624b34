//! Where a request begins and ends, and for whom it is: nothing ambiguous is taken, and nothing comes out of step.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Gateway, Post, SECRET, github, source, unsigned};
use super::wire::{answers_in, read_answer, talk};

/// A request that a second parser would find in the body of the first one.
const SMUGGLED: &str = "POST /webhooks/any HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}";

async fn check(request: impl AsRef<[u8]>, statuses: &[u16]) {
    // The source takes anything: only framing stands between these requests and the store.
    let gateway = Gateway::start(vec![unsigned("any")]).await;
    let transcript = talk(gateway.address, &request).await;
    let shown = String::from_utf8_lossy(request.as_ref()).chars().take(200).collect::<String>();
    assert_eq!(answers_in(&transcript), 1, "{shown:?} got {transcript:?}");
    let status: u16 = transcript.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(statuses.contains(&status), "{shown:?} got {transcript:?}");
    assert_eq!(gateway.stored().len(), usize::from(status == 202), "{shown:?}");
    let control = gateway.ask(Post::to("/webhooks/any", r#"{"id":"control"}"#).bytes()).await;
    assert_eq!(control.status, 202, "{shown:?}");
}

fn post(rest: &str) -> String {
    format!("POST /webhooks/any HTTP/1.1\r\n{rest}")
}

#[tokio::test]
async fn a_length_is_one_plain_number() {
    for length in ["4, 4", "+4", "-1", "0x4", "4 4", "99999999999999999999", "", "4;", "٤"] {
        check(post(&format!("Host: gw\r\nContent-Length: {length}\r\n\r\nabcde")), &[400]).await;
    }
    check(post("Host: gw\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"), &[400]).await;
    // hyper takes the two lengths that it reserves for itself for an excess of headers: that is not what is wrong.
    for length in [u64::MAX, u64::MAX - 1] {
        check(post(&format!("Host: gw\r\nContent-Length: {length}\r\n\r\nabcde")), &[400]).await;
    }
    let many = "X-A: b\r\n".repeat(200);
    check(post(&format!("Host: gw\r\n{many}Content-Length: 5\r\n\r\nabcde")), &[431]).await;
}

#[tokio::test]
async fn a_transfer_coding_is_chunked_or_nothing() {
    for coding in [
        "xchunked",
        "chunked, identity",
        "identity",
        "\x0bchunked",
        "chunked;q=1",
        "chunked\tx",
        "gzip",
        "gzip, chunked",
        "Chunked , chunked",
        "identity, chunked",
        ", chunked",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        check(post(&format!("Host: gw\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n")), &[400]).await;
    }
    check("POST /webhooks/any HTTP/1.0\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400])
        .await;
}

#[tokio::test]
async fn both_a_length_and_a_coding_are_one_request_and_the_end_of_the_connection() {
    for headers in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        check(post(&format!("Host: gw\r\n{headers}\r\n\r\n0\r\n\r\n{SMUGGLED}")), &[202, 400]).await;
    }
}

#[tokio::test]
async fn a_broken_chunk_ends_the_request_and_the_connection() {
    for chunks in
        ["zz\r\n", "5\r\nabc", "2\r\n{}0\r\n\r\n", "ffffffffffffffffff\r\n", "-1\r\n", "2;\n{}\r\n0\r\n\r\n"]
    {
        check(post(&format!("Host: gw\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")), &[400, 413]).await;
    }
}

#[tokio::test]
async fn bare_line_feeds_do_not_desync() {
    check(
        "POST /webhooks/any HTTP/1.1\nHost: gw\nContent-Length: 2\n\n{}GET /webhooks/any HTTP/1.1\nx",
        &[202, 400],
    )
    .await;
}

#[tokio::test]
async fn exactly_one_host_is_named() {
    let body = "Content-Length: 2\r\n\r\n{}";
    for hosts in [
        "",
        "Host: gw\r\nHost: gw\r\n",
        "Host: gw\r\nHost: other\r\n",
        "Host:\r\n",
        "Host: a@b\r\n",
        "Host: user:pw@gw\r\n",
        "Host: g w\r\n",
        "Host: gw/x\r\n",
        "Host: gw,other\r\n",
        "Host: \u{fffd}\r\n",
        "Host: http://gw\r\n",
        "Host: gw:\r\n",
        "Host: gw:70000\r\n",
        "Host: gw:80:80\r\n",
    ] {
        check(post(&format!("{hosts}{body}")), &[400]).await;
    }
    check(format!("POST http://evil.test/webhooks/any HTTP/1.1\r\nHost: gw\r\n{body}"), &[400]).await;
    check(format!("POST http://gw@evil.test/webhooks/any HTTP/1.1\r\nHost: gw\r\n{body}"), &[400]).await;
    check(format!("POST http://gw/webhooks/any HTTP/1.1\r\n{body}"), &[400]).await;
    check(format!("POST http://GW/webhooks/any HTTP/1.1\r\nHost: gw\r\n{body}"), &[202]).await;
    for host in ["gw.test:8443", "192.0.2.1:80", "[2001:db8::1]:8080", "localhost"] {
        check(post(&format!("Host: {host}\r\n{body}")), &[202]).await;
    }
}

#[tokio::test]
async fn a_body_on_a_refused_method_is_never_the_next_request() {
    let request = format!(
        "GET /webhooks/any HTTP/1.1\r\nHost: gw\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    );
    check(request, &[405]).await;
}

#[tokio::test]
async fn upgrades_are_ignored() {
    let upgrade = "Host: gw\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 2\r\n\r\n{}";
    check(post(upgrade), &[202]).await;
    check(
        "GET /webhooks/any HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        &[405],
    )
    .await;
    check("CONNECT gw:80 HTTP/1.1\r\nHost: gw:80\r\n\r\n", &[404]).await;
}

#[tokio::test]
async fn a_proxy_preamble_is_no_request() {
    let preamble = "PROXY TCP4 192.0.2.10 127.0.0.1 1 1\r\n";
    check(format!("{preamble}{SMUGGLED}"), &[400]).await;
    check(format!("PROXY {}\r\n{SMUGGLED}", "x".repeat(100_000)), &[400, 414, 431]).await;
    check([b"\r\n\r\n\0\r\nQUIT\n!\x11\x0c\0".as_slice(), SMUGGLED.as_bytes()].concat(), &[400]).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_do_no_harm_anywhere() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let odd = b"\xff\x80\xfe";
    let post = github(&gh, "d", "{}").setting("x-github-event", odd).setting("x-github-delivery", odd);
    let answer = gateway.ask(post.with("user-agent", odd).with("x-forwarded-for", odd).bytes()).await;
    // The signature covers the body only, and fits: the event is genuine, its id and type are not to be had.
    assert_eq!(answer.status, 202);
    let stored = gateway.stored();
    assert_eq!(stored[0].admitted.event_type, "unknown");
    assert_eq!(stored[0].admitted.headers.get("user-agent").unwrap().as_bytes(), odd);
}

/// `100 Continue` invites a body: nobody is invited before the head has passed.
#[tokio::test]
async fn an_upload_that_asks_first_is_judged_by_its_head() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let asking = |post: Post, length: usize| {
        let head = post.with("expect", "100-continue").head("POST");
        [head, format!("content-length: {length}\r\n\r\n").into_bytes()].concat()
    };
    let good = github(&gh, "d", "{}");
    for (request, status) in [
        (asking(good.clone().without("x-hub-signature-256"), 2), 401),
        (asking(good.clone().setting("x-hub-signature-256", "sha256=00"), 2), 401),
        (asking(good.clone(), 5 << 20), 413),
        (asking(Post { target: "/webhooks/none".to_owned(), ..good.clone() }, 2), 404),
    ] {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        socket.write_all(&request).await.unwrap();
        let answer = read_answer(&mut socket).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        socket.shutdown().await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&asking(good, 2)).await.unwrap();
    assert_eq!(read_answer(&mut socket).await.unwrap().status, 100);
    socket.write_all(b"{}").await.unwrap();
    let answer = read_answer(&mut socket).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (202, None));
}

#[tokio::test]
async fn a_connection_goes_on_after_whole_requests_whatever_became_of_them() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let good = github(&gh, "d", "{}");
    let wrong = good.clone().setting("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
    for (post, status) in [(&wrong, 401), (&good, 202), (&wrong, 401), (&good, 200)] {
        socket.write_all(&post.bytes()).await.unwrap();
        assert_eq!(read_answer(&mut socket).await.unwrap().status, status);
    }
}
