//! Who may do what: tokens and roles, guessing, and the open listener on loopback against web pages.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use tenterhook::admin::auth::Auth;
use tenterhook::admin::{Access, routes, serve_request};
use tenterhook::net::listener::{ListenerSettings, Peer, serve};
use tokio_util::sync::CancellationToken;

use super::rig::{Answer, OPERATOR, Rig, VIEWER, ask, ask_from, request, tokens};

fn concrete(path: &str) -> String {
    path.replace("{id}", "evt_0000000000000").replace("{name}", "app")
}

#[tokio::test]
async fn every_route_lets_in_exactly_the_roles_it_is_for() {
    let rig = Rig::new(tokens());
    for route in routes() {
        let method: Method = route.method.parse().unwrap();
        let path = concrete(route.path);
        for (token, may_read, may_change) in [
            (None, false, false),
            (Some("wrong-token-wrong-token-wrong-token-"), false, false),
            (Some(VIEWER), true, false),
            (Some(OPERATOR), true, true),
        ] {
            let answer = ask(&rig.router, request(method.clone(), &path, token, "")).await;
            let status = answer.status.as_u16();
            let refused = status == 401 || status == 403 || status == 429;
            let expected = match route.access {
                Access::Anybody => true,
                Access::Viewer => may_read,
                Access::Operator => may_change,
            };
            assert_eq!(!refused, expected, "{} {path} with {token:?}: {status}", route.method);
            let read_only = route.access == Access::Operator && token == Some(VIEWER);
            assert_eq!(status == 403, read_only, "{} {path} with {token:?}", route.method);
        }
    }
}

#[tokio::test]
async fn a_change_by_get_and_a_read_by_post_are_405_with_allow() {
    let rig = Rig::new(tokens());
    for route in routes() {
        let (wrong, allow) = if route.method == "GET" { ("POST", "GET,HEAD") } else { ("GET", "POST") };
        for method in [wrong, "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let request = request(method.parse().unwrap(), &concrete(route.path), Some(OPERATOR), "");
            let answer = ask(&rig.router, request).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, Some(allow)),
                "{method} {}",
                route.path
            );
            assert_eq!(answer.json()["code"], "method_not_allowed");
        }
    }
}

#[tokio::test]
async fn every_kind_of_bad_credential_is_answered_alike() {
    let rig = Rig::new(tokens());
    let plain = |value: Option<&str>| {
        let mut request = Request::get("/api/v1/ledger").header("host", "gateway");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        request.body(Body::empty()).unwrap()
    };
    let none = ask(&rig.router, plain(None)).await;
    assert_eq!(none.status, 401);
    assert!(none.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    let almost = OPERATOR.trim_end_matches('9').to_owned();
    for value in ["", "Bearer", "Bearer ", "Basic YWxpY2U6eA==", OPERATOR, &format!("Bearer {almost}")] {
        let answer = ask_from(&rig.router, plain(Some(value)), "10.0.0.9:1").await;
        assert_eq!((answer.status, &answer.body), (none.status, &none.body), "{value}");
    }
    let lower = ask(&rig.router, plain(Some(&format!("bearer  {OPERATOR}")))).await;
    assert_eq!(lower.status, 200, "the scheme is case-insensitive");
    let mut twice = plain(Some(&format!("Bearer {OPERATOR}")));
    twice.headers_mut().append("authorization", "Bearer x".parse().unwrap());
    assert_eq!(ask(&rig.router, twice).await.status, 401);
    let nobody = Rig::new(Auth::tokens(vec![]));
    assert_eq!(ask(&nobody.router, plain(Some("Bearer "))).await.status, 401);
}

#[tokio::test]
async fn guessing_is_throttled_and_the_real_operator_is_not_locked_out() {
    let rig = Rig::new(tokens());
    let guess = |number: u32| request(Method::GET, "/api/v1/ledger", Some(&format!("guess {number}")), "");
    let mut throttled = 0;
    for number in 0..1000 {
        let answer = ask_from(&rig.router, guess(number), "127.0.0.1:50000").await;
        match answer.status.as_u16() {
            401 => {}
            429 => {
                throttled += 1;
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=61).contains(&wait), "{wait}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(throttled, 990);
    for host in 0..256_u32 {
        ask_from(&rig.router, guess(host), &format!("127.0.{}.{}:1", host / 16, host)).await;
    }
    for address in ["127.0.0.1:50000", "10.1.1.1:1"] {
        let right = request(Method::GET, "/api/v1/ledger", Some(OPERATOR), "");
        assert_eq!(ask_from(&rig.router, right, address).await.status, 200, "{address}");
    }
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(ask_from(&rig.router, guess(0), "127.0.0.1:50000").await.status, 401, "the window has passed");
}

#[tokio::test]
async fn strangers_learn_up_or_down_and_no_more() {
    let rig = Rig::new(tokens());
    for path in ["/healthz", "/webhooks/health", "/readyz"] {
        let answer = ask(&rig.router, request(Method::GET, path, None, "")).await;
        assert_eq!(answer.status, 200, "{path}");
        let keys: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["status", "timestamp"], "{path}");
    }
    let known = ask(&rig.router, request(Method::GET, "/readyz", Some(VIEWER), "")).await;
    assert_eq!(known.json()["store"]["ready"], true);
    assert_eq!(known.json()["lanes"][0][1]["alarm"], "10 failures in a row");
}

async fn open(rig: &Rig, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(&rig.router, request.body(Body::from("{}")).unwrap()).await
}

#[tokio::test]
async fn the_open_listener_answers_to_loopback_names_only() {
    let rig = Rig::new(Auth::open());
    for (host, expected) in [
        ("localhost", 200),
        ("LOCALHOST:8081", 200),
        ("127.0.0.1:8081", 200),
        ("127.8.9.10", 200),
        ("[::1]:8081", 200),
        ("evil.example", 403),
        ("evil.example:8081", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("10.0.0.1", 403),
        ("0.0.0.0", 403),
        ("user@localhost", 403),
        ("", 403),
    ] {
        for path in ["/api/v1/ledger", "/metrics"] {
            let answer = open(&rig, "GET", path, &[("host", host)]).await;
            assert_eq!(answer.status, expected, "{path} of `{host}`");
        }
        assert_eq!(open(&rig, "GET", "/healthz", &[("host", host)]).await.status, 200, "health of `{host}`");
    }
    assert_eq!(open(&rig, "GET", "/api/v1/ledger", &[]).await.status, 403, "no host");
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(open(&rig, "GET", "/api/v1/ledger", &two).await.status, 403);
    let authority = open(&rig, "GET", "http://evil.example/api/v1/ledger", &[("host", "localhost")]).await;
    assert_eq!(authority.status, 403, "the URI names another host");
    let header = open(&rig, "GET", "http://localhost/api/v1/ledger", &[("host", "evil.example")]).await;
    assert_eq!(header.status, 403, "the header names another host");
    assert_eq!(open(&rig, "GET", "http://localhost:8081/api/v1/ledger", &[]).await.status, 200, "as over h2");
}

#[tokio::test]
async fn no_web_page_changes_anything_on_the_open_listener() {
    let rig = Rig::new(Auth::open());
    let json = ("content-type", "application/json");
    let host = ("host", "127.0.0.1:8081");
    for (headers, expected) in [
        (vec![host, json], 200),
        (vec![host, ("content-type", "Application/JSON; charset=utf-8")], 200),
        (vec![host, json, ("origin", "http://127.0.0.1:8081")], 200),
        (vec![host, json, ("origin", "https://127.0.0.1:8081"), ("sec-fetch-site", "same-origin")], 200),
        (vec![host], 415),
        (vec![host, ("content-type", "text/plain")], 415),
        (vec![host, ("content-type", "application/x-www-form-urlencoded")], 415),
        (vec![host, ("content-type", "multipart/form-data")], 415),
        (vec![host, ("content-type", "text/plain;application/json")], 415),
        (vec![host, ("content-type", "text/plain"), json], 415),
        (vec![host, json, ("origin", "null")], 403),
        (vec![host, json, ("origin", "https://evil.example")], 403),
        (vec![host, json, ("origin", "http://127.0.0.1:9999")], 403),
        (vec![host, json, ("origin", "http://127.0.0.1:8081.evil.example")], 403),
        (vec![host, json, ("origin", "http://127.0.0.1:8081"), ("origin", "http://evil.example")], 403),
        (vec![host, json, ("sec-fetch-site", "cross-site")], 403),
        (vec![host, json, ("sec-fetch-site", "same-site")], 403),
        (vec![("host", "evil.example"), json], 403),
    ] {
        let answer = open(&rig, "POST", "/api/v1/reload", &headers).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
    }
    let foreign = [host, ("origin", "https://evil.example")];
    assert_eq!(open(&rig, "GET", "/api/v1/events", &foreign).await.status, 403, "nor reads");
    let reloads = open(&rig, "GET", "/api/v1/audit", &[host]).await.items().len();
    assert_eq!(reloads, 4, "one for each that was let in");
    assert_eq!(open(&rig, "OPTIONS", "/api/v1/reload", &foreign).await.status, 405, "no preflight succeeds");
}

#[tokio::test]
async fn nothing_is_served_that_is_no_route() {
    let rig = Rig::new(Auth::open());
    for path in [
        "/",
        "/admin",
        "/debug/pprof",
        "/dashboard",
        "/.env",
        "/config",
        "/%61dmin",
        "//admin",
        "//api/v1/events",
        "/api/v1/events/",
        "/api/v1/../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%252e%252e/etc/passwd",
        "/assets/..%5c..%5cetc",
        "/assets//etc/passwd",
        "/assets/....//etc/passwd",
        "/login?next=//evil.test",
        "/api/v1/events/..%2f..%2fmetrics",
        "/api/v1/config/diff",
    ] {
        let answer = open(&rig, "GET", path, &[("host", "localhost")]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("location"), None);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn it_is_served_over_a_real_listener() {
    let rig = Rig::new(tokens());
    rig.accept(1, 3, &["app"]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = rig.router.clone();
    let service = move |request, peer: Peer| serve_request(router.clone(), request, peer);
    let task = tokio::spawn(serve(
        listener,
        ListenerSettings::default(),
        service,
        stop.clone(),
        Duration::from_secs(5),
    ));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = client.get(format!("http://{address}/api/v1/events?limit=2")).bearer_auth(VIEWER);
    let page: serde_json::Value =
        serde_json::from_str(&ask.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let redrive = client.post(format!("http://{address}/api/v1/dead/redrive")).bearer_auth(OPERATOR);
    let answer = redrive.body(r#"{"all":true}"#).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(client.get(format!("http://{address}/metrics")).send().await.unwrap().status(), 401);
    stop.cancel();
    task.await.unwrap();
}
