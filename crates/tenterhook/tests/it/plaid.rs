//! Plaid's keys, asked for in the account's name: a server stands in for Plaid, and the binary asks it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use data_encoding::BASE64URL_NOPAD;
use rcgen::KeyPair;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tenterhook::model::SystemClock;
use tenterhook_verify::{Request, Secret, Verifier, provider};

use crate::rig::{Gateway, Site};

const CLIENT: &str = "5bf3e3e1e2d1f20011aabbcc";
const SECRET: &str = "the-api-secret-of-plaid-0123456789";
const KID: &str = "6c5516e1-92dc-479e-a8ff-5a51992e0001";
const ENDED: &str = "6c5516e1-92dc-479e-a8ff-5a51992e0002";

/// Plaid's `/webhook_verification_key/get`, with what it was asked.
#[derive(Default)]
struct Plaid {
    keys: Mutex<BTreeMap<String, Value>>,
    asked: Mutex<Vec<Value>>,
}

impl Plaid {
    async fn start() -> (Arc<Self>, String) {
        let plaid = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/webhook_verification_key/get", post(answer));
        let router = router.with_state(Arc::clone(&plaid));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (plaid, url)
    }

    /// Makes a key under an id that ends at `expired_at`, for a signer of its own.
    fn key(&self, kid: &str, expired_at: Option<i64>) -> Verifier {
        let pair = KeyPair::generate().unwrap();
        let point = pair.public_key_raw();
        let part = |at: usize| BASE64URL_NOPAD.encode(&point[at..at + 32]);
        let jwk = json!({
            "alg": "ES256", "crv": "P-256", "kid": kid, "kty": "EC", "use": "sig", "x": part(1), "y": part(33),
            "created_at": 1_560_466_150, "expired_at": expired_at,
        });
        self.keys.lock().unwrap().insert(kid.to_owned(), jwk);
        let scheme = provider::provider("plaid").unwrap().scheme.clone();
        Verifier::new(scheme, vec![Secret::new(pair.serialize_pem()).with_id(kid)]).unwrap()
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(plaid): State<Arc<Plaid>>, body: String) -> (StatusCode, String) {
    let question: Value = serde_json::from_str(&body).unwrap();
    plaid.asked.lock().unwrap().push(question.clone());
    tokio::task::yield_now().await;
    if question["client_id"] != CLIENT || question["secret"] != SECRET {
        return (StatusCode::BAD_REQUEST, json!({"error_code": "INVALID_API_KEYS"}).to_string());
    }
    let keys = plaid.keys.lock().unwrap();
    match question["key_id"].as_str().and_then(|kid| keys.get(kid)) {
        Some(jwk) => (StatusCode::OK, json!({"key": jwk, "request_id": "r"}).to_string()),
        None => (
            StatusCode::BAD_REQUEST,
            json!({"error_code": "INVALID_WEBHOOK_VERIFICATION_KEY_ID"}).to_string(),
        ),
    }
}

async fn gateway(stand_in: &str, secret: &str) -> (Site, Gateway) {
    let source = format!(
        "[sources.plaid]\nprovider = \"plaid\"\nsettings = {{ client_id = \"{CLIENT}\", secret = \"env:PLAID_SECRET\" }}\n"
    );
    let site = Site::new(&source).env("PLAID_SECRET", secret).env("TENTERHOOK__SERVER__KEY_SERVER", stand_in);
    let gateway = site.start().await;
    (site, gateway)
}

/// What Plaid signed `age` ago.
fn signed(signer: &Verifier, number: u32, age: Duration) -> (HeaderMap, String) {
    let body = format!("{{\"webhook_type\":\"ITEM\",\"webhook_code\":\"ERROR\",\"item_id\":\"{number}\"}}");
    let (headers, method) = (HeaderMap::new(), reqwest::Method::POST);
    let request = Request { method: &method, url: None, headers: &headers, body: body.as_bytes() };
    let at = SystemClock::wall().minus(age).to_system();
    (signer.sign(&request, None, at).unwrap(), body)
}

async fn send(gateway: &Gateway, (headers, body): (HeaderMap, String)) -> u16 {
    let url = format!("{}/webhooks/plaid", gateway.at.ingress);
    let sent = reqwest::Client::new().post(url).headers(headers).body(body).send().await.unwrap();
    sent.status().as_u16()
}

#[tokio::test]
async fn a_key_is_asked_for_once_in_the_accounts_name_and_kept() {
    let (plaid, stand_in) = Plaid::start().await;
    let signer = plaid.key(KID, None);
    let (_site, gateway) = gateway(&stand_in, SECRET).await;
    let all = (0..6).map(|number| send(&gateway, signed(&signer, number, Duration::ZERO)));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers, [202; 6], "{}", gateway.log());
    assert_eq!(plaid.asked(), [json!({"client_id": CLIENT, "secret": SECRET, "key_id": KID})]);

    let six_minutes = Duration::from_secs(360);
    assert_eq!(send(&gateway, signed(&signer, 7, six_minutes)).await, 400, "`iat` is too old");
    let (headers, body) = signed(&signer, 8, Duration::ZERO);
    assert_eq!(send(&gateway, (headers, body.replace('8', "9"))).await, 401, "another body");
    assert_eq!(send(&gateway, signed(&signer, 10, Duration::from_secs(60))).await, 202);
    assert_eq!(plaid.asked().len(), 1);

    let mut said = gateway.log();
    for path in ["/metrics", "/api/v1/config", "/api/v1/sources", "/api/v1/rejections"] {
        said.push_str(&gateway.admin_text(path).await);
    }
    assert!(said.contains("stands in for the providers' own") && !said.contains(SECRET), "{said}");
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_key_that_has_ended_and_one_that_nobody_knows_are_asked_for_once_and_refused() {
    let (plaid, stand_in) = Plaid::start().await;
    let ended = plaid.key(ENDED, Some(SystemClock::wall().millis() / 1000 - 60));
    let (_site, gateway) = gateway(&stand_in, SECRET).await;
    let forger = Plaid::default().key("6c5516e1-92dc-479e-a8ff-5a51992e0003", None);
    for (signer, known) in [(&ended, "the key has ended"), (&forger, "answered 400")] {
        let before = plaid.asked().len();
        for number in 0..3 {
            assert_eq!(send(&gateway, signed(signer, number, Duration::ZERO)).await, 503, "{known}");
        }
        assert_eq!(plaid.asked().len(), before + 1, "{known}");
        assert!(gateway.admin_text("/api/v1/rejections").await.contains(known), "{}", gateway.log());
    }
    // An id that is none is not asked for at all.
    let strange = Plaid::default().key("../../etc/passwd", None);
    let before = plaid.asked().len();
    assert_eq!(send(&gateway, signed(&strange, 9, Duration::ZERO)).await, 401);
    assert_eq!(plaid.asked().len(), before);
    let ledger = gateway.admin("/api/v1/ledger").await;
    assert_eq!(ledger["events"]["accepted"], 0);
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn wrong_credentials_are_told_to_the_operator_and_to_nobody_else() {
    let (plaid, stand_in) = Plaid::start().await;
    let signer = plaid.key(KID, None);
    let (_site, gateway) = gateway(&stand_in, "another-api-secret-0123456789").await;
    assert_eq!(send(&gateway, signed(&signer, 1, Duration::ZERO)).await, 503);
    let rejections = gateway.admin_text("/api/v1/rejections").await;
    assert!(rejections.contains("answered 400") && rejections.contains("settings.secret"), "{rejections}");
    assert!(!gateway.log().contains("another-api-secret"), "{}", gateway.log());
    assert!(gateway.stop().await.success());
}

#[tokio::test]
async fn a_source_of_plaid_says_what_it_lacks() {
    for (settings, told) in [
        ("", "`client_id` and `secret` are missing"),
        ("settings = { client_id = \"x\" }\n", "`client_id` and `secret` are missing"),
        ("settings = { client_id = \"x\", secret = \"hunter2hunter2hunter2\" }\n", "literally"),
    ] {
        let site = Site::new(&format!("[sources.plaid]\nprovider = \"plaid\"\n{settings}"));
        let output = site.command(&["check"]).output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
    }
}
