//! `respond = "handler"`, seen from outside: the binary, a provider that waits for its answer, and a handler that takes as
//! long as a test wants.

mod desk;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::rig::sender::{SECRET, Sender};
use crate::rig::{Gateway, PATIENCE, Site};
use desk::{Asked, Desk, says};

/// Longer than any test: an answer that comes before was not waited for until the deadline.
const FOR_EVER: &str = "60s";

fn site(desk: &Desk, source: &str) -> Site {
    Site::new(&format!(
        "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\nrespond = \"handler\"\n{source}\n\
         [destinations.app]\ntype = \"http\"\nurl = \"{}\"\nretry = {{ base = \"10ms\" }}\n\
         [[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
        desk.url()
    ))
    .env("RIG_SECRET", SECRET)
}

fn waits(timeout: &str) -> String {
    format!("respond_timeout = \"{timeout}\"")
}

/// What the provider is answered.
#[derive(Debug)]
struct Said {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Said {
    /// Status, content type and body.
    fn plain(&self) -> (u16, Option<&str>, &str) {
        let content_type = self.headers.get("content-type").map(|value| value.to_str().unwrap());
        (self.status.as_u16(), content_type, &self.body)
    }
}

/// The fallback of a provider that does not act on answers.
const EMPTY: (u16, Option<&str>, &str) = (200, None, "");

/// Sends one event; `None` when the connection broke before an answer.
async fn send(gateway: &Gateway, id: &str) -> Option<Said> {
    sending(gateway, id).await.unwrap()
}

/// The same, while the test goes on.
fn sending(gateway: &Gateway, id: &str) -> JoinHandle<Option<Said>> {
    let url = format!("{}/webhooks/github", gateway.at.ingress);
    let request = Sender::new("github").request(&url, id, br#"{"n":1}"#);
    let request = request.header("x-github-event", "push").header("x-github-delivery", id);
    tokio::spawn(async move {
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        Some(Said { status, headers, body: response.text().await.ok()? })
    })
}

async fn counted(gateway: &Gateway, kind: &str) -> u64 {
    let metrics = gateway.admin_text("/metrics").await;
    let name = format!("tenterhook_handler_answers_total{{source=\"github\",kind=\"{kind}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no `{kind}` in\n{metrics}")).parse().unwrap()
}

/// Waits until the log has come that far.
async fn logged(gateway: &Gateway, text: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    while !gateway.log().contains(text) {
        pause.tick().await;
        assert!(tokio::time::Instant::now() < deadline, "no {text} in\n{}", gateway.log());
    }
}

async fn delivered(gateway: &Gateway, count: u64) {
    let ledger = gateway.ledger_when(|ledger| ledger["deliveries"]["delivered"] == count).await;
    assert_eq!(ledger["deliveries"]["owed"], count, "{ledger}");
}

#[tokio::test]
async fn the_provider_hears_what_its_handler_says_and_a_duplicate_asks_nobody() {
    let desk = Desk::open(async |asked: Asked| match asked.number {
        1 => Response::builder()
            .status(201)
            .header("content-type", "application/json; charset=utf-8")
            .header("x-slack-no-retry", "1")
            .header("set-cookie", "session=1")
            .header("x-internal-host", "app-7")
            .header("connection", "close")
            .body(Body::from("{\"text\": \"done\"}"))
            .unwrap(),
        _ => Response::builder()
            .header("content-type", "text/xml")
            .body(Body::from("<Response><Say>hello</Say></Response>"))
            .unwrap(),
    })
    .await;
    let site = site(&desk, &waits(FOR_EVER));
    let gateway = site.start().await;

    let said = send(&gateway, "one").await.unwrap();
    assert_eq!(said.plain(), (201, Some("application/json; charset=utf-8"), "{\"text\": \"done\"}"));
    assert_eq!(said.headers["x-slack-no-retry"], "1");
    for dropped in ["set-cookie", "x-internal-host", "connection"] {
        assert!(!said.headers.contains_key(dropped), "{said:?}");
    }
    assert!(said.headers.contains_key("tenterhook-correlation-id"), "{said:?}");
    let xml = send(&gateway, "two").await.unwrap();
    assert_eq!(xml.plain(), (200, Some("text/xml"), "<Response><Say>hello</Say></Response>"));

    // The first attempt is the delivery's first, and settled as such.
    delivered(&gateway, 2).await;
    let asked = desk.asked();
    assert_eq!(asked.iter().map(|asked| asked.attempt.as_str()).collect::<Vec<_>>(), ["1", "1"]);

    // What is stored of an answer is said again; what is not is replaced by what promises nothing.
    let again = send(&gateway, "one").await.unwrap();
    assert_eq!(again.plain(), (200, Some("application/json"), "{\"text\": \"done\"}"));
    assert_eq!(send(&gateway, "two").await.unwrap().plain(), EMPTY);
    assert_eq!(desk.asked().len(), 2);
    for (kind, count) in [("handler", 2), ("result", 1), ("known", 1), ("late", 0)] {
        assert_eq!(counted(&gateway, kind).await, count, "{kind}");
    }
    for answered in ["handler", "result", "known"] {
        logged(&gateway, &format!("\"answered\":\"{answered}\"")).await;
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_slow_handler_is_not_waited_for_longer_than_the_provider_waits_and_is_delivered_to_once() {
    let (desk, gate) = Desk::behind_a_gate().await;
    let site = site(&desk, &waits("300ms"));
    let gateway = site.start().await;
    assert_eq!(send(&gateway, "one").await.unwrap().plain(), EMPTY);
    assert_eq!(counted(&gateway, "late").await, 1);

    desk.asked_of(1).await;
    let ledger = gateway.admin("/api/v1/ledger").await;
    assert_eq!(ledger["deliveries"]["leased"], 1, "its attempt goes on: {ledger}");
    gate.add_permits(1);
    delivered(&gateway, 1).await;
    assert_eq!(desk.asked().len(), 1);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_handler_that_fails_is_answered_for_at_once_and_tried_again() {
    let desk = Desk::open(async |asked: Asked| match asked.number {
        1 => says(500, "a stack trace"),
        _ => says(200, "done"),
    })
    .await;
    let site = site(&desk, &waits(FOR_EVER));
    let gateway = site.start().await;
    assert_eq!(send(&gateway, "one").await.unwrap().plain(), EMPTY);
    assert_eq!(counted(&gateway, "failed").await, 1);
    delivered(&gateway, 1).await;
    let asked = desk.asked();
    assert_eq!((asked.len(), asked[1].attempt.as_str()), (2, "2"));
    assert_eq!(asked[0].event, asked[1].event);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_kill_between_store_and_answer_delivers_again_under_the_same_id_and_a_retry_of_the_provider_does_not()
 {
    let (desk, gate) = Desk::behind_a_gate().await;
    let site = site(&desk, &waits(FOR_EVER));
    let gateway = site.start().await;
    let waiting = sending(&gateway, "one");
    desk.asked_of(1).await;
    gateway.signal(rustix::process::Signal::KILL);
    gateway.ended().await;
    assert!(waiting.await.unwrap().is_none(), "nobody can have answered");

    let gateway = site.start().await;
    let asked = desk.asked_of(2).await;
    assert_eq!(asked[0].event, asked[1].event);
    assert_eq!((asked[0].attempt.as_str(), asked[1].attempt.as_str()), ("1", "2"));
    assert_eq!(send(&gateway, "one").await.unwrap().plain(), EMPTY);
    gate.add_permits(2);
    delivered(&gateway, 1).await;
    assert_eq!(desk.asked().len(), 2);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_passed_on_and_delivers_all_the_same() {
    let desk = Desk::open(async |asked: Asked| match asked.number {
        1 => says(200, "x".repeat(64 * 1024 + 1)),
        _ => says(200, "x".repeat(64 * 1024)),
    })
    .await;
    let site = site(&desk, &waits(FOR_EVER));
    let gateway = site.start().await;
    assert_eq!(send(&gateway, "one").await.unwrap().plain(), EMPTY);
    assert_eq!(counted(&gateway, "unfit").await, 1);
    assert_eq!(send(&gateway, "two").await.unwrap().body.len(), 64 * 1024);
    delivered(&gateway, 2).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_paused_destination_is_answered_for_at_once() {
    let desk = Desk::open(async |_: Asked| says(200, "done")).await;
    let site = site(&desk, &waits(FOR_EVER));
    let gateway = site.start().await;
    let order = async |verb: &str| {
        let url = format!("{}/api/v1/destinations/app/{verb}", gateway.at.admin);
        let request = reqwest::Client::new().post(url).header("content-type", "application/json");
        let status = request.body("{}").send().await.unwrap().status();
        assert!(status.is_success(), "{verb}: {status}");
    };
    order("pause").await;
    assert_eq!(send(&gateway, "one").await.unwrap().plain(), EMPTY);
    assert_eq!((counted(&gateway, "closed").await, desk.asked().len()), (1, 0));
    order("resume").await;
    delivered(&gateway, 1).await;
    assert_eq!(desk.asked().len(), 1);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn an_open_breaker_is_answered_for_at_once() {
    let desk = Desk::open(async |_: Asked| says(503, "")).await;
    let site = site(&desk, &waits(FOR_EVER));
    let gateway = site.start().await;
    let breaker = "tenterhook_breaker_state{destination=\"app\"} 0";
    // The first one's retries count, too: none of these waits for the deadline.
    for number in 0.. {
        assert_eq!(send(&gateway, &number.to_string()).await.unwrap().plain(), EMPTY);
        if !gateway.admin_text("/metrics").await.contains(breaker) {
            break;
        }
    }
    assert_eq!(send(&gateway, "last").await.unwrap().plain(), EMPTY);
    assert!(counted(&gateway, "closed").await >= 1);
    assert_eq!(counted(&gateway, "late").await, 0);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn no_more_wait_than_may_and_a_copy_of_one_that_waits_is_not_waited_for() {
    let (desk, gate) = Desk::behind_a_gate().await;
    let site = site(&desk, &format!("{}\nrespond_waiting_max = 1", waits(FOR_EVER)));
    let gateway = site.start().await;
    let first = sending(&gateway, "one");
    desk.asked_of(1).await;
    assert_eq!(send(&gateway, "two").await.unwrap().plain(), EMPTY);
    assert_eq!(counted(&gateway, "full").await, 1);
    assert_eq!(send(&gateway, "one").await.unwrap().plain(), EMPTY);
    assert_eq!(counted(&gateway, "known").await, 1);

    gate.add_permits(2);
    let said = tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap().unwrap();
    assert_eq!(said.plain(), (200, None, "late but fine"));
    delivered(&gateway, 2).await;
    assert_eq!(desk.asked().len(), 2);
    // The place is free again.
    gate.add_permits(1);
    assert_eq!(send(&gateway, "three").await.unwrap().body, "late but fine");
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_provider_that_hangs_up_frees_its_place_and_is_delivered_for() {
    let (desk, gate) = Desk::behind_a_gate().await;
    let site = site(&desk, &format!("{}\nrespond_waiting_max = 1", waits(FOR_EVER)));
    let gateway = site.start().await;
    let first = sending(&gateway, "one");
    desk.asked_of(1).await;
    first.abort();
    gate.add_permits(1);
    delivered(&gateway, 1).await;
    // Until the gateway has noticed, the place is taken.
    let mut number = 0;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    loop {
        pause.tick().await;
        number += 1;
        gate.add_permits(1);
        let said = send(&gateway, &format!("next-{number}")).await.unwrap();
        if said.body == "late but fine" {
            break;
        }
        assert_eq!(said.plain(), EMPTY);
        assert!(tokio::time::Instant::now() < deadline, "the place was never given back");
    }
    delivered(&gateway, 1 + number).await;
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn what_is_owed_nothing_is_answered_for_at_once() {
    let desk = Desk::open(async |_: Asked| says(200, "done")).await;
    let source = format!(
        "{}\nevents = [\"issues.*\"]\nresponse = {{ status = 202, body = \"{{}}\", content_type = \"application/json\" }}",
        waits(FOR_EVER)
    );
    let site = site(&desk, &source);
    let gateway = site.start().await;
    let said = send(&gateway, "one").await.unwrap();
    assert_eq!(said.plain(), (202, Some("application/json"), "{}"));
    assert_eq!(counted(&gateway, "ignored").await, 1);
    let ledger = gateway.admin("/api/v1/ledger").await;
    assert_eq!((&ledger["events"]["ignored"], desk.asked().len()), (&json!(1), 0));
    assert!(gateway.stop().await.success());
}
