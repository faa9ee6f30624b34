//! The table: a request, the answer, and what was stored of it.

use http::StatusCode;
use serde_json::{Value, json};
use tenterhook::policy::route::Glob;
use tenterhook::source::{ResponsePolicy, Source, Unmatched};
use tenterhook::store::StoreErrorKind;

use super::support::{Gateway, Mood, Post, SECRET, WHSEC, github, source, standard, unsigned};
use super::wire::Answer;

/// What is said of an answer, but for what differs each time.
fn told(answer: &Answer) -> Value {
    let mut body: Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    for (member, placeholder) in [("id", "evt_"), ("correlation_id", "")] {
        if let Some(Value::String(text)) = body.get_mut(member) {
            assert!(text.starts_with(placeholder), "{text}");
            *text = "…".to_owned();
        }
    }
    body
}

#[tokio::test]
async fn a_new_event_is_answered_202_once_and_200_from_then_on() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let post = github(&gh, "d-1", r#"{"zen":"x"}"#);

    let first = gateway.ask(post.bytes()).await;
    assert_eq!((first.status, first.header("content-type")), (202, Some("application/json")));
    assert_eq!(told(&first), json!({"status": "accepted", "id": "…", "event_id": "d-1"}));
    let second = gateway.ask(post.bytes()).await;
    assert_eq!(second.status, 200);
    assert_eq!(
        told(&second),
        json!({"status": "duplicate", "id": "…", "event_id": "d-1", "state": "pending", "processed_at": null})
    );
    let id = |answer: &Answer| serde_json::from_str::<Value>(&answer.body).unwrap()["id"].clone();
    assert_eq!(id(&first), id(&second));

    let stored = gateway.stored();
    assert_eq!(stored.len(), 1);
    let event = &stored[0].admitted;
    assert_eq!((event.source.as_str(), event.provider.as_str()), ("gh", "github"));
    assert_eq!((event.event_type.as_str(), &event.body[..]), ("ping", &br#"{"zen":"x"}"#[..]));
    assert_eq!(event.original_url, "/webhooks/gh");
    assert_eq!(event.source_ip, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(Some(event.correlation_id.as_str()), first.header("tenterhook-correlation-id"));
    assert_eq!(stored[0].deliveries.len(), 1);
}

#[tokio::test]
async fn every_answer_names_its_own_correlation_id_and_is_never_sniffed() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let chosen = |post: Post| post.with("tenterhook-correlation-id", "chosen-by-the-sender").bytes();
    let mut seen = Vec::new();
    for (request, status) in [
        (chosen(github(&gh, "d-1", "{}")), 202),
        (chosen(github(&gh, "d-1", "{}")), 200),
        (chosen(Post::to("/webhooks/gh", "{}")), 401),
        (chosen(Post::to("/elsewhere", "{}")), 404),
        (b"GET /healthz HTTP/1.1\r\nhost: gw\r\n\r\n".to_vec(), 200),
    ] {
        let answer = gateway.ask(request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let id = answer.header("tenterhook-correlation-id").unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(!seen.contains(&id));
        seen.push(id);
    }
}

#[tokio::test]
async fn refusals_are_problem_documents_that_say_as_much_as_the_sender_may_know() {
    let gh = source("gh", "github", SECRET);
    let std = source("std", "standard-webhooks", WHSEC);
    let gateway = Gateway::start(vec![gh.clone(), std.clone()]).await;
    let cases = [
        (Post::to("/webhooks/gh", "{}").bytes(), 401, "Unauthorized", "the request is not authentic"),
        (
            standard(&std, "m", "{}").without("webhook-timestamp").bytes(),
            400,
            "Bad Request",
            "the timestamp is missing, malformed or outside the tolerance",
        ),
        (Post::to("/webhooks/none", "{}").bytes(), 404, "Not Found", "there is no source at this path"),
        (
            [github(&gh, "d", "").head("PUT"), b"content-length: 0\r\n\r\n".to_vec()].concat(),
            405,
            "Method Not Allowed",
            "only POST is allowed here",
        ),
    ];
    for (request, status, title, detail) in cases {
        let answer = gateway.ask(request).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json"))
        );
        assert_eq!(answer.header("allow"), if status == 405 { Some("POST") } else { None });
        assert_eq!(
            told(&answer),
            json!({"type": "about:blank", "title": title, "status": status, "detail": detail, "correlation_id": "…"})
        );
        assert!(answer.body.contains(answer.header("tenterhook-correlation-id").unwrap()));
    }
    assert_eq!(gateway.stored().len(), 0);
}

#[tokio::test]
async fn only_post_is_taken_whatever_the_method_looks_like() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "FOO"] {
        let head = github(&gh, "d", "").with("x-http-method-override", "POST").head(method);
        let answer = gateway.ask([head, b"content-length: 0\r\n\r\n".to_vec()].concat()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(gateway.stored().len(), 0);
}

#[tokio::test]
async fn no_other_spelling_of_a_path_is_the_path() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let post = github(&gh, "d", "{}");
    for target in [
        "/webhooks/gh/",
        "/webhooks//gh",
        "//webhooks/gh",
        "/webhooks/./gh",
        "/webhooks/x/../gh",
        "/webhooks/%67h",
        "/webhooks/x%2f..%2fgh",
        "/webhooks/%2e%2e/webhooks/gh",
        "/webhooks/GH",
        "/webhooks/gh;x",
        "/webhooks\\gh",
        "/webhooks/gh%00",
        "/",
        "*",
        "/api/v1/events",
        "/metrics",
        "/webhooks/..%2fmetrics",
    ] {
        let post = Post { target: target.to_owned(), ..post.clone() };
        let status = gateway.ask(post.bytes()).await.status;
        assert!(status == 404 || (status == 400 && target.contains('\\')), "{target}: {status}");
    }
    assert_eq!(gateway.stored().len(), 0);
    let with_query = Post { target: "/webhooks/gh?a=1&b".to_owned(), ..post };
    assert_eq!(gateway.ask(with_query.bytes()).await.status, 202);
    assert_eq!(gateway.stored()[0].admitted.original_url, "/webhooks/gh?a=1&b");
}

#[tokio::test]
async fn a_conflict_is_kept_and_said() {
    let std = source("std", "standard-webhooks", WHSEC);
    let strict = Source {
        response: ResponsePolicy { conflict_status: Some(StatusCode::CONFLICT), ..ResponsePolicy::default() },
        ..source("strict", "standard-webhooks", WHSEC)
    };
    let gateway = Gateway::start(vec![std.clone(), strict.clone()]).await;
    for (source, status) in [(&std, 200), (&strict, 409)] {
        assert_eq!(gateway.ask(standard(source, "msg_1", r#"{"v":1}"#).bytes()).await.status, 202);
        let answer = gateway.ask(standard(source, "msg_1", r#"{"v":2}"#).bytes()).await;
        assert_eq!(answer.status, status);
        let expected = json!({"status": "conflict", "id": "…", "event_id": "msg_1", "state": "pending", "processed_at": null});
        assert_eq!(told(&answer), expected);
    }
    let ledger = gateway.store.ledger().await;
    assert_eq!((ledger.events.accepted, ledger.events.conflicts, ledger.owed), (2, 2, 2));
}

#[tokio::test]
async fn an_override_changes_receipts_and_never_refusals() {
    let gh = Source {
        response: ResponsePolicy {
            status: Some(StatusCode::OK),
            body: Some(("[accepted]".to_owned(), "text/plain".to_owned())),
            ..ResponsePolicy::default()
        },
        ..source("gh", "github", SECRET)
    };
    let empty = Source {
        response: ResponsePolicy { status: Some(StatusCode::NO_CONTENT), ..ResponsePolicy::default() },
        ..source("empty", "github", SECRET)
    };
    let gateway = Gateway::start(vec![gh.clone(), empty.clone()]).await;
    for _ in 0..2 {
        let answer = gateway.ask(github(&gh, "d", "{}").bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[accepted]"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        let answer = gateway.ask(github(&empty, "d", "{}").bytes()).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.header("content-type")), (204, "", None));
    }
    assert_eq!(gateway.ask(Post::to("/webhooks/gh", "{}").bytes()).await.status, 401);
    gateway.store.set_mood(Mood::Failing(StoreErrorKind::Full));
    assert_eq!(gateway.ask(github(&gh, "new", "{}").bytes()).await.status, 503);
}

#[tokio::test]
async fn what_nobody_wants_is_recorded_as_ignored() {
    let picky = Source { events: vec![Glob::new("payment.*")], ..unsigned("picky") };
    let unrouted = Source { routes: vec![], ..unsigned("unrouted") };
    let elsewhere = Source {
        routes: vec![],
        unmatched: Unmatched::Deliver("rest".parse().unwrap()),
        ..unsigned("elsewhere")
    };
    let gateway = Gateway::start(vec![picky, unrouted, elsewhere]).await;
    for (path, id, kind, destinations) in [
        ("picky", "1", "payment.done", vec!["app"]),
        ("picky", "2", "refund.done", vec![]),
        ("picky", "3", "payments", vec![]),
        ("unrouted", "1", "any", vec![]),
        ("elsewhere", "1", "any", vec!["rest"]),
    ] {
        let body = json!({"id": id, "type": kind}).to_string();
        let answer = gateway.ask(Post::to(&format!("/webhooks/{path}"), body).bytes()).await;
        assert_eq!(answer.status, 202);
        let stored = gateway.stored();
        let last = &stored.last().unwrap().deliveries;
        let names: Vec<&str> = last.iter().map(|delivery| delivery.destination.as_str()).collect();
        assert_eq!(names, destinations, "{path} {kind}");
    }
    let ledger = gateway.store.ledger().await;
    assert_eq!((ledger.events.accepted, ledger.events.ignored, ledger.owed), (5, 3, 2));
}

#[tokio::test]
async fn slacks_signed_question_is_answered_and_nothing_is_stored() {
    let slack = source("slack", "slack", SECRET);
    let gateway = Gateway::start(vec![slack.clone()]).await;
    let question = r#"{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV","token":"x"}"#;
    let answer = gateway.ask(Post::signed(&slack, "", &[], question).bytes()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "3eZbrw1aBm2rZgRNFdxV"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let unsigned = gateway.ask(Post::to("/webhooks/slack", question).bytes()).await;
    assert!(matches!(unsigned.status, 400 | 401));
    let page = r#"{"type":"url_verification","challenge":"<b>3eZbrw1a</b>","token":"x"}"#;
    let markup = gateway.ask(Post::signed(&slack, "", &[], page).bytes()).await;
    assert_eq!(markup.status, 400, "no page is ever echoed: {}", markup.body);
    assert_eq!(gateway.stored().len(), 0);
    let event = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}"#;
    assert_eq!(gateway.ask(Post::signed(&slack, "", &[], event).bytes()).await.status, 202);
}
