//! What is kept of a verified request: its bytes exactly, its headers with care, and never a reason to refuse it.

use http::header::{AUTHORIZATION, HeaderName};
use tenterhook::source::{IdRule, Source};
use tenterhook_verify::{SchemeSpec, Secret, Verifier};

use super::support::{Gateway, Post, SECRET, WHSEC, custom, github, locators, source, standard, unsigned};

#[tokio::test]
async fn authentic_bytes_are_kept_as_they_are_whatever_they_are() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\xff\xfe\x00\x01".to_vec(),
        br#"{"id":"e1","s":"a\u0000b","e":"\ud83d\ude00"}"#.to_vec(),
        br#"{"a":"\ud800"}"#.to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"NaN".to_vec(),
        b"[1e400]".to_vec(),
        b"{\"a\":1,}".to_vec(),
        b"{} {}".to_vec(),
        b"null".to_vec(),
        br#"{"repository":{"links":{"clone":"x"}},"action":[]}"#.to_vec(),
        br#"{"action":{"deep":null},"commits":[{"repo":null}]}"#.to_vec(),
        format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)).into_bytes(),
        "{\"action\":".repeat(100_000).into_bytes(),
        b"--x\r\ncontent-disposition: form-data\r\n\r\n".repeat(1000),
    ];
    for (n, body) in bodies.iter().enumerate() {
        let answer = gateway.ask(github(&gh, &format!("d{n}"), body).bytes()).await;
        assert_eq!(answer.status, 202, "{:.60}", String::from_utf8_lossy(body));
    }
    let stored = gateway.stored();
    assert_eq!(stored.len(), bodies.len());
    for (submission, body) in stored.iter().zip(&bodies) {
        assert!(submission.admitted.body == body[..], "{:.60}", String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn a_content_type_switches_nothing() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let long = format!("text/plain; x={}", "y".repeat(8192));
    for (n, kind) in [
        "application/json; charset=utf-16",
        "text/plain",
        "",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/json, text/html",
        &long,
    ]
    .iter()
    .enumerate()
    {
        let post = github(&gh, &format!("d{n}"), "{}").setting("content-type", kind);
        assert_eq!(gateway.ask(post.bytes()).await.status, 202, "{kind:.40}");
    }
    let twice = github(&gh, "twice", "{}").with("content-type", "text/html");
    assert_eq!(gateway.ask(twice.bytes()).await.status, 202);
}

#[tokio::test]
async fn credentials_connection_headers_and_our_own_names_are_not_kept() {
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![std.clone()]).await;
    let post = standard(&std, "msg_1", "{}")
        .with("Connection", "keep-alive, X-Custom, webhook-id")
        .with("X-Custom", "1")
        .with("Keep-Alive", "timeout=1")
        .with("TE", "trailers")
        .with("Upgrade", "foo")
        .with("Proxy-Authorization", "x")
        .with("Cookie", "s=1")
        .with("Authorization", "Bearer sender")
        .with("Tenterhook-Verified", "true")
        .with("tenterhook_event_id", "evil")
        .with("X-Forwarded-User", "admin")
        .with("X-Forwarded-For", "192.0.2.1")
        .with("Forwarded", "for=192.0.2.1")
        .with("X-Kept", "one")
        .with("x-kept", "two");
    assert_eq!(
        gateway.ask(post.bytes()).await.status,
        202,
        "FWD-01: `Connection` took the id from the verifier"
    );
    let stored = gateway.stored();
    let headers = &stored[0].admitted.headers;
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "webhook-signature", "webhook-timestamp", "x-kept"]);
    let kept: Vec<_> = headers.get_all("x-kept").iter().collect();
    assert_eq!(kept, ["one", "two"]);
    assert_eq!(stored[0].admitted.provider_event_id.as_deref(), Some("msg_1"));
}

#[tokio::test]
async fn forward_headers_keeps_what_it_names_but_never_what_is_ours_or_the_connections() {
    let names = ["authorization", "x-forwarded-for", "tenterhook-attempt", "te"];
    let forward_headers = names.iter().map(|name| name.parse::<HeaderName>().unwrap()).collect();
    let any = Source { forward_headers, ..unsigned("any") };
    let gateway = Gateway::start(vec![any]).await;
    let post = names.iter().fold(Post::to("/webhooks/any", "{}"), |post, name| post.with(name, "x"));
    assert_eq!(gateway.ask(post.with("cookie", "s=1").bytes()).await.status, 202);
    let stored = gateway.stored();
    let mut kept: Vec<&str> = stored[0].admitted.headers.keys().map(HeaderName::as_str).collect();
    kept.sort_unstable();
    assert_eq!(kept, [AUTHORIZATION.as_str(), "x-forwarded-for"]);
}

#[tokio::test]
async fn types_come_from_the_catalogs_rule_or_the_sources_own_and_else_are_unknown() {
    let gh = source("gh", "github", SECRET);
    let own = Source { event_type: Some(locators(&[&["json:/kind"]])), ..source("own", "github", SECRET) };
    let gateway = Gateway::start(vec![gh.clone(), own.clone(), unsigned("any")]).await;
    let event = |source: &Source, id: &str, kind: &str, body: &str| {
        github(source, id, body).setting("x-github-event", kind)
    };
    let long = "k".repeat(5000);
    let cases = [
        (event(&gh, "1", "pull_request", r#"{"action":"opened"}"#), "pull_request.opened"),
        (event(&gh, "2", "push", "{}"), "push"),
        (event(&gh, "3", "push", "{}").without("x-github-event"), "unknown"),
        (event(&own, "4", "push", r#"{"kind":"mine"}"#), "mine"),
        (event(&own, "5", "push", r#"{"kind":""}"#), "unknown"),
        (event(&own, "6", "push", "no json"), "unknown"),
        (Post::to("/webhooks/any", r#"{"type":"a\nb"}"#), "a\nb"),
        (Post::to("/webhooks/any", format!(r#"{{"type":"{long}"}}"#)), &format!("{}…", &long[..253])),
    ];
    for (post, expected) in cases {
        assert_eq!(gateway.ask(post.bytes()).await.status, 202);
        assert_eq!(gateway.stored().last().unwrap().admitted.event_type, expected);
    }
}

#[tokio::test]
async fn an_url_is_signed_as_configured_and_never_as_the_request_says() {
    let secret = "twilio-auth-token-of-32-bytes-xx";
    let public_url = Some("https://hooks.example.com/webhooks/tw".to_owned());
    let tw = Source { public_url, ..source("tw", "twilio", secret) };
    let gateway = Gateway::start(vec![tw.clone()]).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "MessageSid=SM1&MessageStatus=sent";
    let good = Post::signed(&tw, "", &form, body);
    assert_eq!(gateway.ask(good.clone().setting("host", "127.0.0.1:9").bytes()).await.status, 202);
    let elsewhere = Source { public_url: Some("https://evil.test/webhooks/tw".to_owned()), ..tw.clone() };
    let forged = Post::signed(&elsewhere, "", &form, body).setting("host", "evil.test");
    assert_eq!(gateway.ask(forged.with("x-forwarded-host", "evil.test").bytes()).await.status, 401);
    let with_query = Source {
        public_url: Some("https://hooks.example.com/webhooks/tw?tenant=7".to_owned()),
        ..tw.clone()
    };
    let queried = Post {
        target: "/webhooks/tw?tenant=7".to_owned(),
        ..Post::signed(&with_query, "", &form, "MessageSid=SM2&MessageStatus=sent")
    };
    assert_eq!(gateway.ask(queried.bytes()).await.status, 202);
}

#[tokio::test]
async fn a_token_in_the_query_lets_in_and_is_not_kept() {
    let spec = SchemeSpec {
        signature: Some("query:code".to_owned()),
        algorithm: Some("token".to_owned()),
        ..SchemeSpec::default()
    };
    let verifier = Verifier::new(spec.compile().unwrap(), vec![Secret::new(SECRET)]).unwrap();
    let event_id = IdRule::Located(locators(&[&["query:id"]]));
    let azure = Source { event_id, ..custom("azure", verifier) };
    let behind_a_proxy = Source {
        public_url: Some("https://hooks.example.com/in/azure".to_owned()),
        path: "/in/azure".to_owned(),
        ..azure.clone()
    };
    for source in [azure, behind_a_proxy] {
        let path = source.path.clone();
        let gateway = Gateway::start(vec![source]).await;
        let post = |query: &str| Post::to(&format!("{path}?{query}"), "{}").bytes();
        let wrong = ["id=1", "code=", "id=1&code=wrong", &format!("id=1&code={SECRET}x")].map(post);
        for post in wrong {
            assert_eq!(gateway.ask(post).await.status, 401);
        }
        assert_eq!(gateway.ask(post(&format!("id=e1&code={SECRET}&b=%20"))).await.status, 202);
        let stored = gateway.stored();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].admitted.original_url, format!("{path}?id=e1&code=***&b=%20"));
        assert_eq!(stored[0].admitted.provider_event_id.as_deref(), Some("e1"), "ids are found in the query");
        assert!(!format!("{:?}", gateway.rejections.recent(100)).contains(SECRET));
    }
}
