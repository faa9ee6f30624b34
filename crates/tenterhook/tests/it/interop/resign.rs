//! `resign = "provider"`: the provider's own SDK accepts what a destination receives, however late the attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use tenterhook::destination::Destination;
use tenterhook::destination::http::{HttpDestination, HttpSettings};
use tenterhook::model::{Clock, EventId, ManualClock, Message, Outcome, SystemClock};
use tenterhook_verify::{Request, Secret, Verifier, provider};

use super::{CASES, ask, site};
use crate::rig::handler::{Handler, Received};

const HOUR: Duration = Duration::from_secs(3600);

fn stripe() -> Verifier {
    let entry = provider::provider("stripe").unwrap();
    Verifier::new(entry.scheme(None).unwrap().clone(), vec![Secret::new(CASES[0].secret)]).unwrap()
}

async fn stripe_sdk_accepts(received: &Received, now: u64) -> bool {
    let headers = json!({ "stripe-signature": received.header("stripe-signature") });
    ask(&CASES[0], json!({ "do": "verify", "headers": headers, "now": now })).await["ok"] == true
}

#[tokio::test]
async fn the_stripe_library_accepts_an_attempt_an_hour_later_only_when_it_is_signed_afresh() {
    let handler = Handler::start().await;
    let received_at = SystemClock::wall();
    let clock = Arc::new(ManualClock::at(received_at.plus(HOUR)));
    let later = u64::try_from(clock.now().millis() / 1000).unwrap();

    let body = CASES[0].body.as_bytes();
    let mut headers = HeaderMap::new();
    let request = Request { method: &Method::POST, url: None, headers: &headers, body };
    let signed = stripe().sign(&request, None, received_at.to_system()).unwrap();
    headers.extend(signed);
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let message = Message {
        id: EventId::floor_of(received_at),
        provider_event_id: Some("evt_1PqW".to_owned()),
        source: "stripe".parse().unwrap(),
        provider: "stripe".to_owned(),
        event_type: "invoice.paid".to_owned(),
        attempt: 13,
        first_received: received_at,
        correlation_id: "interop".to_owned(),
        original_url: "/webhooks/stripe".to_owned(),
        replay_suspect: false,
        headers,
        body: Bytes::from_static(body),
    };

    for (resigned, accepted) in [(false, false), (true, true)] {
        let mut resign = BTreeMap::new();
        if resigned {
            resign.insert("stripe".parse().unwrap(), Arc::new(stripe()));
        }
        let settings = HttpSettings {
            url: handler.url(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            signing_secret: None,
            headers: HeaderMap::new(),
            ca_file: None,
            client_certificate_file: None,
            proxy: None,
            allow_private: false,
            resign,
            dead_statuses: Vec::new(),
            batch: false,
        };
        let destination = HttpDestination::new(settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let reply = destination.deliver(std::slice::from_ref(&message)).await.remove(0);
        assert_eq!(reply.outcome, Outcome::Delivered);
        let received = handler.journal().pop().unwrap();
        assert_eq!(received.body, body);
        assert_eq!(stripe_sdk_accepts(&received, later).await, accepted, "signed afresh: {resigned}");
    }
}

#[tokio::test]
async fn a_configured_destination_signs_afresh_for_the_provider_and_for_standard_webhooks() {
    let handler = Handler::start().await;
    let site = site(&format!(
        "[destinations.app]\ntype = \"http\"\nurl = \"{}\"\nresign = \"provider\"\ntrusted = true\n\
         signing_secret = \"env:APP\"\n[[routes]]\nsource = \"stripe\"\ndestination = \"app\"\n\
         [[routes]]\nsource = \"standard\"\ndestination = \"app\"\n",
        handler.url()
    ));
    let gateway = site.start().await;
    for (number, case) in [&CASES[0], &CASES[4]].into_iter().enumerate() {
        let signed = ask(case, json!({ "do": "sign", "id": "msg_resign" })).await;
        let mut request =
            reqwest::Client::new().post(format!("{}/webhooks/{}", gateway.at.ingress, case.source));
        for (name, value) in signed["headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        assert_eq!(request.body(case.body).send().await.unwrap().status(), 202);
        let received = handler.journal_of(number + 1).await.pop().unwrap();
        // One list may carry the gateway's own signature and the source's: the library takes any that fits.
        let mut headers = json!({});
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers[name] = json!(received.header(name));
        }
        let verdict = ask(&CASES[4], json!({ "do": "verify", "headers": headers })).await;
        assert_eq!(verdict["ok"], true, "{}: {verdict}", case.source);
        if case.source == "stripe" {
            assert!(stripe_sdk_accepts(&received, super::now()).await);
        }
    }
    assert!(gateway.stop().await.success());
}
