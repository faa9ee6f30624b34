//! `tenterhook load`: what it counts is true, and a gateway that loses events does not pass.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::rig::sender::SECRET;
use crate::rig::{Gateway, Site};

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An address that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string()
}

fn source(provider: &str, secret: &str) -> String {
    format!("[sources.{provider}]\nprovider = \"{provider}\"\nsecrets = [\"env:{secret}\"]\n")
}

/// Runs a load; its exit code, its JSON, and what it said besides.
async fn load(site: &Site, gateway: &Gateway, url: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = site.command(&["load", "--json", "--url", url, "--admin-url", &gateway.at.admin]);
    let output = command.args(more).output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null), err)
}

#[tokio::test]
async fn every_event_of_a_load_is_found_stored_and_delivered_once() {
    let handler = free_address();
    let config = source("github", "RIG_SECRET")
        + &format!(
            "[destinations.app]\ntype = \"http\"\nurl = \"http://{handler}/\"\n\
             [[routes]]\nsource = \"github\"\ndestination = \"app\"\n"
        );
    let site = Site::new(&config).env("RIG_SECRET", SECRET);
    let gateway = site.start().await;
    let url = format!("{}/webhooks/github", gateway.at.ingress);
    let more = [
        "--provider",
        "github",
        "--secret",
        "env:RIG_SECRET",
        "--count",
        "600",
        "--connections",
        "8",
        "--duplicates",
        "0.2",
        "--handler",
        &handler,
        "--body-bytes",
        "3000",
    ];
    let (code, report, err) = load(&site, &gateway, &url, &more).await;
    assert_eq!(code, Some(0), "{err}{report}");
    let (ledger, duplicates) = (&report["ledger"], report["duplicates_sent"].as_u64().unwrap());
    let events = 600 - duplicates;
    assert!((40..250).contains(&duplicates), "{report}");
    assert_eq!((&report["sent"], &report["body_bytes"]), (&600.into(), &3000.into()), "{report}");
    assert_eq!(report["statuses"], serde_json::json!({ "200": duplicates, "202": events }), "{report}");
    assert_eq!(ledger["by"], "ids");
    for figure in ["acked", "stored", "delivered", "delivered_once"] {
        assert_eq!(ledger[figure], events, "{figure}: {report}");
    }
    assert_eq!((&ledger["delivered_twice"], &ledger["lost"]), (&0.into(), &0.into()), "{report}");
    let own = gateway.admin("/api/v1/ledger").await;
    assert_eq!(own["events"]["accepted"], events, "{own}");
    assert!(gateway.stop().await.success());
}

/// Acknowledges everything, and gives only every other request to the gateway behind it.
async fn forgetful(
    State(state): State<Arc<(String, AtomicU64)>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let (url, seen) = &*state;
    if seen.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
        return StatusCode::ACCEPTED;
    }
    let mut headers = headers;
    headers.remove("host");
    let sent = reqwest::Client::new().post(url).headers(headers).body(body).send().await.unwrap();
    sent.status()
}

#[tokio::test]
async fn events_that_were_acknowledged_and_not_kept_are_lost() {
    let site = Site::new(&source("github", "RIG_SECRET")).env("RIG_SECRET", SECRET);
    let gateway = site.start().await;
    let behind = format!("{}/webhooks/github", gateway.at.ingress);
    let router = Router::new().fallback(forgetful).with_state(Arc::new((behind, AtomicU64::new(0))));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let liar = tokio::spawn(async move { axum::serve(listener, router).await });
    let more = ["--provider", "github", "--secret", "env:RIG_SECRET", "--count", "100", "--connections", "4"];
    let (code, report, err) = load(&site, &gateway, &url, &more).await;
    liar.abort();
    assert_eq!(code, Some(1), "{err}{report}");
    assert_eq!(report["ledger"]["by"], "ids", "{report}");
    for (figure, count) in [("acked", 100), ("stored", 50), ("lost", 50)] {
        assert_eq!(report["ledger"][figure], count, "{figure}: {report}");
    }
    assert!(err.contains("50 acknowledged events are lost"), "{err}");
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn any_provider_that_signs_with_a_secret_can_be_sent_in_a_closed_and_in_an_open_loop() {
    const PROVIDERS: [&str; 7] =
        ["github", "stripe", "shopify", "slack", "standard-webhooks", "svix", "twilio"];
    let secret = |provider: &str| match provider {
        "standard-webhooks" | "svix" => "RIG_WHSEC",
        _ => "RIG_SECRET",
    };
    let mut config: String = PROVIDERS.iter().map(|provider| source(provider, secret(provider))).collect();
    config += "public_url = \"https://hooks.example.com/webhooks/twilio\"\n";
    let site = Site::new(&config).env("RIG_SECRET", SECRET).env("RIG_WHSEC", WHSEC);
    let gateway = site.start().await;
    for provider in PROVIDERS {
        let url = format!("{}/webhooks/{provider}", gateway.at.ingress);
        let secret = format!("env:{}", secret(provider));
        let mut more = vec!["--provider", provider, "--secret", &secret, "--connections", "4"];
        more.extend(["--public-url", "https://hooks.example.com/webhooks/twilio", "--count", "40"]);
        if provider == "stripe" {
            more.extend(["--rate", "400"]);
        }
        let (code, report, err) = load(&site, &gateway, &url, &more).await;
        assert_eq!(code, Some(0), "{provider}: {err}{report}");
        let ledger = &report["ledger"];
        assert_eq!((&ledger["acked"], &ledger["stored"]), (&40.into(), &40.into()), "{provider}: {report}");
        assert_eq!((&report["sent"], &report["unsent"]), (&40.into(), &0.into()), "{provider}: {report}");
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_load_stays_on_this_machine_and_says_when_nothing_was_taken() {
    let site = Site::new(&source("github", "RIG_SECRET")).env("RIG_SECRET", SECRET).env("OTHER", WHSEC);
    let gateway = site.start().await;
    let github = ["--provider", "github", "--count", "5", "--secret"];
    let more = [&github[..], &["env:RIG_SECRET"]].concat();
    let (code, _, err) = load(&site, &gateway, "http://192.0.2.1:80/webhooks/github", &more).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("`192.0.2.1:80` is not this machine") && err.contains("--yes-really"), "{err}");
    let (code, _, err) = load(&site, &gateway, "https://127.0.0.1:80/", &more).await;
    assert!(code == Some(2) && err.contains("it is plain HTTP"), "{code:?} {err}");
    let nobody = format!("http://{}/", free_address());
    assert_eq!(load(&site, &gateway, &nobody, &more).await.0, Some(3));
    let url = format!("{}/webhooks/github", gateway.at.ingress);
    let (code, report, err) = load(&site, &gateway, &url, &[&github[..], &["env:OTHER"]].concat()).await;
    assert_eq!(code, Some(1), "{err}{report}");
    assert_eq!((&report["statuses"]["401"], &report["ledger"]["acked"]), (&5.into(), &0.into()), "{report}");
    assert!(err.contains("no event was acknowledged"), "{err}");
    assert!(gateway.stop().await.success());
}
