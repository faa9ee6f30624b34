//! The only other things that the ingress listener answers.

use tenterhook::ingress::IngressSettings;
use tenterhook::store::StoreErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{Gateway, Mood, Post, SECRET, github, source, unsigned};

const GET: [&str; 3] = ["/healthz", "/webhooks/health", "/readyz"];

#[tokio::test]
async fn health_says_the_time_and_needs_no_host() {
    let gateway = Gateway::start(vec![]).await;
    for path in GET {
        let answer = gateway.ask(format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert_eq!(answer.status, 200);
        let status = if path == "/readyz" { "ready" } else { "healthy" };
        let expected = format!(r#"{{"status":"{status}","timestamp":"2023-11-14T22:13:20.000Z"}}"#);
        assert_eq!(answer.body, expected);
        let posted = gateway.ask(Post::to(path, "{}").bytes()).await;
        assert_eq!(posted.status, 404, "{path} takes no events");
    }
}

#[tokio::test]
async fn not_ready_whenever_the_next_event_would_be_answered_503() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    for (mood, event, ready) in [
        (Mood::Failing(StoreErrorKind::Full), 503, 503),
        (Mood::Well, 202, 200),
        (Mood::Failing(StoreErrorKind::Unavailable), 503, 503),
        (Mood::Well, 200, 200),
    ] {
        gateway.store.set_mood(mood);
        assert_eq!(gateway.ask(github(&gh, "d", "{}").bytes()).await.status, event);
        assert_eq!(gateway.ask("GET /readyz HTTP/1.1\r\nhost: gw\r\n\r\n").await.status, ready);
        assert_eq!(gateway.ask("GET /healthz HTTP/1.1\r\nhost: gw\r\n\r\n").await.status, 200);
    }
}

#[tokio::test]
async fn not_ready_while_the_memory_for_bodies_is_in_use() {
    let settings = IngressSettings { unverified_bytes_max: 4096, ..IngressSettings::default() };
    let gateway = Gateway::start_with(vec![unsigned("any")], settings).await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let mut head = Post::to("/webhooks/any", "").head("POST");
    head.extend_from_slice(b"content-length: 5000\r\n\r\n");
    head.extend_from_slice(&[b'x'; 4096]);
    socket.write_all(&head).await.unwrap();
    let ready = || async { gateway.ask("GET /readyz HTTP/1.1\r\nhost: gw\r\n\r\n").await.status };
    super::until(|| async { ready().await == 503 }).await;
    assert_eq!(gateway.ask(Post::to("/webhooks/any", "{}").bytes()).await.status, 503);
    drop(socket);
    super::until(|| async { ready().await == 200 }).await;
    assert_eq!(gateway.ask(Post::to("/webhooks/any", "{}").bytes()).await.status, 202);
}
