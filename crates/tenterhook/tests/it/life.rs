//! Whole lives, seen from outside: the binary, its commands, its API, a handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use serde_json::Value;

use crate::rig::handler::Handler;
use crate::rig::sender::{SECRET, Sender};
use crate::rig::{Gateway, Site};

/// Runs a command of the binary against a running gateway; its stdout.
async fn tenterhook(site: &Site, gateway: &Gateway, arguments: &[&str]) -> String {
    let output = site.command(arguments).args(["--admin-url", &gateway.at.admin]).output().await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{arguments:?}: {out}{err}\n{}", gateway.log());
    out
}

async fn json(site: &Site, gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let text = tenterhook(site, gateway, arguments).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_whole_life_of_an_event_is_seen_from_outside() {
    let works = Arc::new(AtomicBool::new(false));
    let now_works = Arc::clone(&works);
    let handler = Handler::answering(move |_| match now_works.load(Ordering::SeqCst) {
        true => StatusCode::OK,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    })
    .await;
    let site = Site::new(&format!(
        "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
         [destinations.app]\ntype = \"http\"\nurl = \"{}\"\n\
         retry = {{ base = \"10ms\", attempts_max = 3 }}\n\
         [[routes]]\nsource = \"github\"\ndestination = \"app\"\n",
        handler.url()
    ))
    .env("RIG_SECRET", SECRET);
    let gateway = site.start().await;
    let url = format!("{}/webhooks/github", gateway.at.ingress);

    // Sent, and sent again.
    let send = [
        "send",
        "--provider",
        "github",
        "--secret",
        "env:RIG_SECRET",
        "--url",
        &url,
        "--json",
        "--id",
        "one",
    ];
    let sent = json(&site, &gateway, &send).await.remove(0);
    assert_eq!(
        (sent["status"].as_u64(), sent["body"]["status"].as_str()),
        (Some(202), Some("accepted")),
        "{sent}"
    );
    let id = sent["body"]["id"].as_str().unwrap().to_owned();

    // Dead-lettered after its three attempts, listed, shown with them.
    gateway.ledger_when(|ledger| ledger["deliveries"]["dead"] == 1).await;
    let listed = json(&site, &gateway, &["events", "list", "--json"]).await;
    assert_eq!(
        (listed.len(), &listed[0]["id"], &listed[0]["state"]),
        (1, &id.clone().into(), &"dead".into())
    );
    let shown = json(&site, &gateway, &["events", "show", &id, "--json"]).await.remove(0);
    let attempts = shown["deliveries"][0]["attempt_log"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{shown}");
    assert!(attempts.iter().all(|attempt| attempt["status"] == 500), "{shown}");
    let dead = json(&site, &gateway, &["dead", "list", "--json"]).await;
    assert_eq!(dead[0]["dead_reason"], "attempts_exhausted", "{dead:?}");
    assert!(tenterhook(&site, &gateway, &["events", "show", &id]).await.contains("attempts_exhausted"));

    // Redriven once the handler works, and delivered.
    works.store(true, Ordering::SeqCst);
    tenterhook(&site, &gateway, &["dead", "retry", "--all"]).await;
    let ledger = gateway.ledger_when(|ledger| ledger["deliveries"]["delivered"] == 1).await;
    assert_eq!(
        (&ledger["events"]["accepted"], &ledger["deliveries"]["owed"]),
        (&1.into(), &1.into()),
        "{ledger}"
    );
    let again = json(&site, &gateway, &send).await.remove(0);
    assert_eq!((again["status"].as_u64(), again["body"]["state"].as_str()), (Some(200), Some("delivered")));
    let last = handler.journal().pop().unwrap();
    assert_eq!((last.header("webhook-id"), last.header("tenterhook-attempt")), (id.as_str(), "4"));

    // Counted.
    let metrics = gateway.admin_text("/metrics").await;
    for line in [
        "webhook_received_total{source=\"github\"} 2",
        "webhook_processed_total{source=\"github\",destination=\"app\"} 1",
        "webhook_failed_total{destination=\"app\",kind=\"server\"} 3",
        "webhook_dlq_size{destination=\"app\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!gateway.log().contains(SECRET));
    assert!(gateway.stop().await.success());

    // A stopped gateway's store answers the same commands.
    let offline = site.command(&["ledger", "--json", "--verify"]).output().await.unwrap();
    assert!(offline.status.success(), "{}", String::from_utf8_lossy(&offline.stderr));
    let ledger: Value = serde_json::from_slice(&offline.stdout).unwrap();
    assert_eq!(
        (&ledger["deliveries"]["delivered"], &ledger["balanced"]),
        (&1.into(), &true.into()),
        "{ledger}"
    );
}

const WAITING: usize = 10_000;
const KEYS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_down_costs_no_attempts_and_gets_ten_thousand_events_in_order_when_it_is_back() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let ordered = Handler::answering(move |_| match is_up.load(Ordering::SeqCst) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    })
    .await;
    let healthy = Handler::start().await;
    let site = Site::new(&format!(
        "[sources.github]\nprovider = \"github\"\nsecrets = [\"env:RIG_SECRET\"]\n\
         [destinations.down]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 32\n\
         [destinations.healthy]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 32\n\
         [[routes]]\nsource = \"github\"\ndestination = \"down\"\nordering_key = \"json:/customer\"\n\
         [[routes]]\nsource = \"github\"\ndestination = \"healthy\"\n",
        ordered.url(),
        healthy.url()
    ))
    .env("RIG_SECRET", SECRET);
    let gateway = site.start().await;

    send_all(&gateway).await;
    healthy.journal_of(WAITING).await;
    let metrics = gateway.admin_text("/metrics").await;
    // Open, or half open while the one probe of the second is under way.
    let breaker =
        metrics.lines().find(|line| line.starts_with("tenterhook_breaker_state{destination=\"down\"}"));
    assert!(breaker.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    let tried = ordered.journal().len();
    // Ten failures open the breaker (each of the lane's attempts under way may add one), then one probe a second.
    assert!(tried < 200, "{tried} attempts were spent on a handler that was down");

    up.store(true, Ordering::SeqCst);
    let wanted = 2 * WAITING as u64;
    let ledger = gateway.ledger_when(|ledger| ledger["deliveries"]["delivered"] == wanted).await;
    assert_eq!(ledger["deliveries"]["dead"], 0, "{ledger}");
    let mut last = vec![None; KEYS];
    for received in ordered.journal().iter().filter(|received| received.status.is_success()) {
        let event: Value = serde_json::from_slice(&received.body).unwrap();
        let customer = usize::try_from(event["customer"].as_u64().unwrap()).unwrap();
        let number = event["number"].as_u64();
        assert!(number > last[customer], "customer {customer}: {number:?} after {:?}", last[customer]);
        last[customer] = number;
    }
    assert!(gateway.stop().await.success());
}

/// Sends the events of every key in order, the keys side by side.
async fn send_all(gateway: &Gateway) {
    let url = format!("{}/webhooks/github", gateway.at.ingress);
    let senders = (0..KEYS).map(|customer| {
        let url = url.clone();
        tokio::spawn(async move {
            let sender = Sender::new("github");
            for number in 0..WAITING / KEYS {
                let body = format!("{{\"customer\":{customer},\"number\":{number}}}");
                let id = format!("{customer}-{number}");
                let (status, answer) = sender.github(&url, &id, body.as_bytes()).await.unwrap();
                assert_eq!(status, 202, "{answer}");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
}
