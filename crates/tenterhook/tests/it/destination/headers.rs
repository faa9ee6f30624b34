//! What a handler sees: which headers go on, which are ours, and that nothing a sender wrote can pass for ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use tenterhook::destination::http::{HttpDestination, HttpSettings};
use tenterhook::model::{ManualClock, Message, Outcome};
use tenterhook_verify::Secret;

use super::peer::{Caught, Part, Peer};
use super::{NOW, connect, deliver, message, settings};

/// Delivers an event that came with these headers, and says what the handler saw.
async fn seen(headers: &[(&str, &str)], change: impl FnOnce(&mut HttpSettings, &mut Message)) -> Caught {
    let peer = Peer::playing([Part::answer("200 OK", "")]).await;
    let mut settings = settings(peer.url());
    let mut message = message(b"{\"id\":1}");
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        message.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    change(&mut settings, &mut message);
    let reply = deliver(&connect(settings), message).await;
    assert_eq!(reply.outcome, Outcome::Delivered, "{}", reply.excerpt);
    peer.only()
}

#[tokio::test]
async fn headers_of_the_connection_stay_and_the_providers_own_go_on() {
    let caught = seen(
        &[
            ("content-type", "application/json"),
            ("x-shop-signature", "abc="),
            ("x-shop-topic", "a"),
            ("x-shop-topic", "b"),
            ("user-agent", "Shop/1"),
            ("content-encoding", "identity"),
            ("connection", "keep-alive, X-Custom, webhook-id"),
            ("connection", "x_second"),
            ("x-custom", "1"),
            ("x-second", "1"),
            ("webhook-id", "msg_1"),
            ("keep-alive", "timeout=1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "x"),
            ("upgrade", "foo"),
            ("transfer-encoding", "chunked"),
            ("transfer_encoding", "chunked"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("host", "evil.example.com"),
            ("accept-encoding", "gzip"),
            ("x-forwarded-user", "admin"),
            ("x_forwarded_host", "evil"),
            ("forwarded", "for=1"),
        ],
        |_, _| {},
    )
    .await;
    for (name, expected) in [
        ("content-type", vec!["application/json"]),
        ("x-shop-signature", vec!["abc="]),
        ("x-shop-topic", vec!["a", "b"]),
        ("user-agent", vec!["Shop/1"]),
        ("content-encoding", vec!["identity"]),
        ("content-length", vec!["8"]),
        ("tenterhook-original-webhook-id", vec![]),
    ] {
        assert_eq!(caught.all(name), expected, "{name}");
    }
    assert_ne!(caught.one("host"), "evil.example.com");
    for gone in "connection x-custom x-second keep-alive te trailer proxy-authorization proxy-connection upgrade \
        transfer-encoding transfer_encoding expect accept-encoding x-forwarded-user x_forwarded_host forwarded"
        .split_whitespace()
    {
        assert!(caught.all(gone).is_empty(), "`{gone}` went on: {:#?}", caught.head);
    }
}

#[tokio::test]
async fn nothing_a_sender_writes_passes_for_ours() {
    let caught = seen(
        &[
            ("Tenterhook-Event-Id", "evil"),
            ("tenterhook_event_id", "evil"),
            ("TENTERHOOK_SOURCE", "evil"),
            ("tenterhook.source", "evil"),
            ("Tenterhook-Verified", "true"),
            ("tenterhook-original-webhook-id", "evil"),
            ("webhook_signature", "v1,evil"),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "17"),
            ("webhook-signature", "v1,theirs"),
            ("x_api_key", "evil"),
            ("X-Api-Key", "evil"),
        ],
        |settings, _| {
            settings.headers.insert("x-api-key", HeaderValue::from_static("ours"));
        },
    )
    .await;
    assert!(
        !caught.head.iter().any(|line| line.contains("evil") || line.contains("erified")),
        "{:#?}",
        caught.head
    );
    assert_eq!(caught.one("x-api-key"), "ours");
    assert_eq!(caught.one("tenterhook-event-id"), message(b"").id.to_string());
    assert_eq!(caught.one("webhook-id"), message(b"").id.to_string());
    assert_eq!(caught.one("webhook-timestamp"), (NOW.millis() / 1000).to_string());
    assert!(caught.all("webhook-signature").is_empty(), "without a secret nothing is signed");
    assert_eq!(caught.one("tenterhook-original-webhook-id"), "msg_1");
    assert_eq!(caught.one("tenterhook-original-webhook-timestamp"), "17");
    assert_eq!(caught.one("tenterhook-original-webhook-signature"), "v1,theirs");
}

#[tokio::test]
async fn the_facts_about_an_event_are_told() {
    let caught = seen(&[], |_, message| {
        message.attempt = 7;
        message.replay_suspect = true;
    })
    .await;
    for (name, expected) in [
        ("tenterhook-provider-event-id", "pe_1"),
        ("tenterhook-source", "shop"),
        ("tenterhook-provider", "custom"),
        ("tenterhook-event-type", "order.paid"),
        ("tenterhook-attempt", "7"),
        ("tenterhook-first-received", "2026-01-01T00:00:00.000Z"),
        ("tenterhook-correlation-id", "c-1"),
        ("tenterhook-original-url", "/webhooks/shop?a=%20b"),
        ("tenterhook-replay-suspect", "true"),
    ] {
        assert_eq!(caught.one(name), expected, "{name}");
    }
    assert!(seen(&[], |_, _| {}).await.all("tenterhook-replay-suspect").is_empty());
}

#[tokio::test]
async fn text_that_no_header_can_hold_is_encoded_and_never_splits_a_request() {
    let split = "x\r\nX-Admin: 1\r\n\r\nGET /admin HTTP/1.1\0";
    let caught = seen(&[], |_, message| {
        message.event_type = split.to_owned();
        message.provider_event_id = Some("y".repeat(70_000));
        message.correlation_id = "grün".to_owned();
        message.original_url = "/a?b=//evil@127.0.0.1\n".to_owned();
    })
    .await;
    assert_eq!(caught.one("tenterhook-event-type"), "x%0D%0AX-Admin: 1%0D%0A%0D%0AGET /admin HTTP/1.1%00");
    assert!(caught.all("x-admin").is_empty());
    assert!(caught.one("tenterhook-provider-event-id").len() < 8192);
    assert_eq!(caught.one("tenterhook-correlation-id"), "gr%C3%BCn");
    assert_eq!(caught.one("tenterhook-original-url"), "/a?b=//evil@127.0.0.1%0A");
    assert_eq!(caught.head[0], "POST /hooks HTTP/1.1");
}

#[tokio::test]
async fn a_trace_goes_on_or_is_made() {
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let caught = seen(&[("traceparent", given), ("tracestate", "a=1")], |_, _| {}).await;
    assert_eq!((caught.one("traceparent"), caught.one("tracestate")), (given, "a=1"));
    for headers in [
        &[][..],
        &[("traceparent", "junk"), ("tracestate", "a=1")],
        &[("traceparent", given), ("traceparent", given)],
    ] {
        let first = seen(headers, |_, _| {}).await;
        let second = seen(headers, |_, message| message.attempt = 2).await;
        let (first_trace, second_trace) = (first.one("traceparent"), second.one("traceparent"));
        assert_eq!(first_trace.len(), 55, "{first_trace}");
        assert_eq!(first_trace[..36], second_trace[..36], "one trace for all attempts");
        assert_ne!(first_trace, second_trace, "a span for each attempt");
        assert!(first.all("tracestate").is_empty());
        assert_ne!(first_trace, given);
    }
}

#[tokio::test]
async fn the_signature_is_standard_webhooks_over_the_exact_body() {
    let key = [7_u8; 24];
    let caught = seen(&[], |settings, _| {
        settings.signing_secret = Some(Secret::new(format!("whsec_{}", BASE64.encode(&key))));
    })
    .await;
    let (id, time) = (caught.one("webhook-id"), caught.one("webhook-timestamp"));
    let signed = [format!("{id}.{time}.").as_bytes(), b"{\"id\":1}"].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
    assert_eq!(caught.one("webhook-signature"), format!("v1,{}", BASE64.encode(tag.as_ref())));
}

#[test]
fn settings_that_cannot_work_are_refused_without_telling_secrets() {
    let refuse = |change: &dyn Fn(&mut HttpSettings), wanted: &str| {
        let mut settings = settings("http://127.0.0.1:1/");
        change(&mut settings);
        let error = HttpDestination::new(settings, Arc::new(ManualClock::at(NOW))).unwrap_err();
        assert!(error.refuses_start);
        assert!(error.message.contains(wanted), "{error}");
        assert!(!format!("{error} {}", error.hint).contains("hunter2"), "{error}");
    };
    refuse(&|settings| settings.url = "ftp://127.0.0.1/".to_owned(), "`url`");
    refuse(&|settings| settings.url = "/hooks".to_owned(), "`url`");
    refuse(&|settings| settings.url = "http://me:hunter2@127.0.0.1/".to_owned(), "user name");
    refuse(&|settings| settings.signing_secret = Some(Secret::new("hunter2")), "signing_secret");
    refuse(&|settings| settings.ca_file = Some("/nonexistent/ca.pem".into()), "/nonexistent/ca.pem");
    refuse(
        &|settings| settings.client_certificate_file = Some("/nonexistent/me.pem".into()),
        "/nonexistent/me.pem",
    );
    refuse(&|settings| settings.proxy = Some("socks5://hunter2@x".to_owned()), "`proxy`");
    for name in
        ["content-length", "transfer-encoding", "webhook-id", "tenterhook-event-id", "tenterhook_source"]
    {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("hunter2"));
        refuse(&|settings| settings.headers = headers.clone(), name);
    }
    let verifier = tenterhook_verify::Verifier::new(tenterhook_verify::Scheme::unsigned(), vec![]).unwrap();
    let resign = BTreeMap::from([("shop".parse().unwrap(), Arc::new(verifier))]);
    refuse(
        &|settings| {
            settings.batch = true;
            settings.resign = resign.clone();
        },
        "`resign`",
    );
}
