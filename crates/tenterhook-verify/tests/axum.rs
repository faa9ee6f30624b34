//! The extractor and the layer, through a real router.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use tenterhook_verify::axum::{Event, Rejection, Source, Verified};
use tenterhook_verify::{Reason, Secret, SpecError, Verifier, provider};
use tower::ServiceExt;

const OLD: &str = "an-old-secret-of-the-axum-tests-01";
const NEW: &str = "the-new-secret-of-the-axum-tests-02";
const BODY: &[u8] = br#"{"id":"evt_1","type":"invoice.paid","amount":4200}"#;

fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn stripe(secrets: &[&str]) -> Source {
    Source::provider("stripe", secrets.iter().map(|secret| Secret::new(*secret)).collect(), clock).unwrap()
}

/// The headers that a provider sends with `body` at `at`.
fn signed(name: &str, secret: &str, url: Option<&str>, body: &[u8], at: SystemTime) -> HeaderMap {
    let scheme = provider::provider(name).unwrap().scheme.clone();
    let verifier = Verifier::new(scheme, vec![Secret::new(secret)]).unwrap();
    let headers = HeaderMap::new();
    let request = tenterhook_verify::Request { method: &Method::POST, url, headers: &headers, body };
    verifier.sign(&request, Some("msg_1"), at).unwrap()
}

fn request(headers: &HeaderMap, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post("/hook").body(body.into()).unwrap();
    request.headers_mut().extend(headers.clone());
    request
}

/// What a handler saw, and how often it was reached.
#[derive(Clone, Default)]
struct Seen {
    count: Arc<AtomicUsize>,
    body: Arc<Mutex<Bytes>>,
}

/// A router with the extractor under `/hook`, and one with the layer.
fn routers(source: &Source) -> [(Router, Seen); 2] {
    let (extracted, layered) = (Seen::default(), Seen::default());
    let seen = extracted.clone();
    let handler = async move |event: Verified<Event>| {
        seen.count.fetch_add(1, Ordering::Relaxed);
        *seen.body.lock().unwrap() = event.body.clone();
        said(&event)
    };
    let by_extractor = Router::new().route("/hook", post(handler)).with_state(source.clone());
    let seen = layered.clone();
    let handler = async move |Extension(event): Extension<Verified<Event>>, body: Bytes| {
        seen.count.fetch_add(1, Ordering::Relaxed);
        *seen.body.lock().unwrap() = body;
        said(&event)
    };
    let by_layer = Router::new().route("/hook", post(handler)).layer(source.layer());
    [(by_extractor, extracted), (by_layer, layered)]
}

fn said(event: &Verified<Event>) -> String {
    let secret = event.secret_index().map_or_else(|| "none".to_owned(), |index| index.to_string());
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    format!("{} {} {secret}", or_none(&event.event_id), or_none(&event.event_type))
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap()
}

/// Refused with `status` for `reason` by the extractor and by the layer, without the handler.
async fn refused(source: &Source, request: impl Fn() -> Request<Body>, status: u16, reason: Option<Reason>) {
    for (router, seen) in routers(source) {
        let response = router.oneshot(request()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{reason:?}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let rejection = response.extensions().get::<Rejection>().unwrap().clone();
        assert_eq!(rejection.reason(), reason, "{rejection:?}");
        let problem = text(response).await;
        let parsed: serde_json::Value = serde_json::from_str(&problem).unwrap();
        assert_eq!(parsed["status"], status);
        let code = reason.map_or("no reason", Reason::code);
        assert!(!problem.contains(code), "a forger is not told why: {problem}");
        assert_eq!(seen.count.load(Ordering::Relaxed), 0, "{reason:?}: the handler was reached");
    }
}

async fn taken(source: &Source, request: impl Fn() -> Request<Body>, body: &[u8], expected: &str) {
    for (router, seen) in routers(source) {
        let response = router.oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, expected);
        assert_eq!(seen.count.load(Ordering::Relaxed), 1);
        assert_eq!(*seen.body.lock().unwrap(), body, "the exact bytes");
    }
}

#[tokio::test]
async fn a_verified_event_reaches_its_handler_with_its_id_its_type_and_its_bytes() {
    let headers = signed("stripe", NEW, None, BODY, clock());
    taken(&stripe(&[NEW]), || request(&headers, BODY), BODY, "evt_1 invoice.paid 0").await;
}

#[tokio::test]
async fn every_secret_counts_and_which_one_matched_is_told() {
    let headers = signed("stripe", OLD, None, BODY, clock());
    taken(&stripe(&[NEW, OLD]), || request(&headers, BODY), BODY, "evt_1 invoice.paid 1").await;
    refused(&stripe(&[NEW]), || request(&headers, BODY), 401, Some(Reason::SignatureMismatch)).await;
}

#[tokio::test]
async fn a_body_that_somebody_touched_reaches_nobody() {
    let headers = signed("stripe", NEW, None, BODY, clock());
    for place in [0, BODY.len() / 2, BODY.len() - 1] {
        let mut body = BODY.to_vec();
        body[place] ^= 1;
        refused(&stripe(&[NEW]), || request(&headers, body.clone()), 401, Some(Reason::SignatureMismatch))
            .await;
    }
    let spaced = String::from_utf8_lossy(BODY).replace(',', ", ");
    refused(&stripe(&[NEW]), || request(&headers, spaced.clone()), 401, Some(Reason::SignatureMismatch))
        .await;
}

/// A body that fails the test if anybody reads it.
fn untouchable() -> Body {
    Body::from_stream(Unread)
}

struct Unread;

impl futures_core::Stream for Unread {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        panic!("the body was read although the head had shown enough")
    }
}

#[tokio::test]
async fn what_the_head_disproves_is_refused_before_the_body_is_read() {
    let source = stripe(&[NEW]);
    refused(&source, || request(&HeaderMap::new(), untouchable()), 401, Some(Reason::MissingSignature)).await;
    let stale = signed("stripe", NEW, None, BODY, clock() - Duration::from_secs(301));
    refused(&source, || request(&stale, untouchable()), 400, Some(Reason::TimestampTooOld)).await;
    let early = signed("stripe", NEW, None, BODY, clock() + Duration::from_secs(301));
    refused(&source, || request(&early, untouchable()), 400, Some(Reason::TimestampInFuture)).await;
    let mut long = signed("stripe", NEW, None, BODY, clock());
    long.insert("content-length", "5242881".parse().unwrap());
    refused(&source, || request(&long, untouchable()), 413, None).await;
}

#[tokio::test]
async fn a_body_is_read_to_its_bound_and_not_beyond() {
    let source = stripe(&[NEW]).with_body_bytes_max(BODY.len());
    let headers = signed("stripe", NEW, None, BODY, clock());
    taken(&source, || request(&headers, BODY), BODY, "evt_1 invoice.paid 0").await;
    let longer = [BODY, b" "].concat();
    let headers = signed("stripe", NEW, None, &longer, clock());
    refused(&source, || request(&headers, longer.clone()), 413, None).await;
    // Nobody says how long a stream will be.
    let chunks = || Body::from_stream(Chunks(vec![Ok(BODY.into()), Ok(" ".into())]));
    refused(&source, || request(&headers, chunks()), 413, None).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_shorter_body() {
    let source = stripe(&[NEW]);
    let headers = signed("stripe", NEW, None, BODY, clock());
    let broken =
        || Body::from_stream(Chunks(vec![Ok(BODY.into()), Err(std::io::Error::other("the peer is gone"))]));
    refused(&source, || request(&headers, broken()), 400, None).await;
}

/// Chunks, in order.
struct Chunks(Vec<Result<Bytes, std::io::Error>>);

impl futures_core::Stream for Chunks {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let next = if self.0.is_empty() { None } else { Some(self.0.remove(0)) };
        std::task::Poll::Ready(next)
    }
}

#[tokio::test]
async fn refusals_of_one_status_cannot_be_told_apart() {
    let source = stripe(&[NEW]);
    let mut answers = Vec::new();
    let wrong = signed("stripe", OLD, None, BODY, clock());
    let mut malformed = HeaderMap::new();
    malformed.insert("stripe-signature", "nonsense".parse().unwrap());
    for headers in [HeaderMap::new(), wrong, malformed] {
        let [(router, _), _] = routers(&source);
        let response = router.oneshot(request(&headers, BODY)).await.unwrap();
        assert_eq!(response.status(), 401);
        answers.push((response.headers().clone(), text(response).await));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn a_key_that_has_to_be_fetched_is_asked_for_and_the_sender_asked_to_come_again() {
    let file = include_str!("vectors/aws-sns.json");
    let recorded: Vec<serde_json::Value> = serde_json::from_str(file).unwrap();
    let body = data_encoding::BASE64.decode(recorded[0]["body_b64"].as_str().unwrap().as_bytes()).unwrap();
    let topic: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let wanted = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&wanted);
    let source = Source::provider("aws-sns", Vec::new(), clock)
        .unwrap()
        .with_key_wanted(move |need| noted.lock().unwrap().push(need.url().to_owned()));
    let headers: HeaderMap =
        [("x-amz-sns-message-type".parse().unwrap(), "Notification".parse().unwrap())].into_iter().collect();
    refused(&source, || request(&headers, body.clone()), 503, Some(Reason::KeyNotAtHand)).await;
    let wanted = wanted.lock().unwrap();
    assert_eq!(wanted.len(), 2);
    assert_eq!(wanted[0], topic["SigningCertURL"].as_str().unwrap());
}

#[tokio::test]
async fn the_signed_url_is_the_configured_one_with_the_query_that_arrived() {
    let url = "https://hooks.example.com/twilio?a=1";
    let form = b"MessageSid=SM1&MessageStatus=sent";
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let verifier =
        Verifier::new(provider::provider("twilio").unwrap().scheme.clone(), vec![Secret::new(NEW)]).unwrap();
    let to_sign =
        tenterhook_verify::Request { method: &Method::POST, url: Some(url), headers: &headers, body: form };
    let signature = verifier.sign(&to_sign, None, clock()).unwrap();
    headers.extend(signature);
    headers.insert("host", "evil.example.com".parse().unwrap());
    let source = Source::provider("twilio", vec![Secret::new(NEW)], clock).unwrap();
    let arrived = |query: &str| {
        let mut request = request(&headers, &form[..]);
        *request.uri_mut() = format!("/hook{query}").parse().unwrap();
        request
    };
    let configured = source.clone().with_public_url("https://hooks.example.com/twilio");
    taken(&configured, || arrived("?a=1"), form, "SM1:sent sent 0").await;
    refused(&configured, || arrived("?a=2"), 401, Some(Reason::SignatureMismatch)).await;
    refused(&configured, || arrived(""), 401, Some(Reason::SignatureMismatch)).await;
    refused(&source, || arrived("?a=1"), 401, Some(Reason::MissingUrl)).await;
}

#[tokio::test]
async fn a_layer_lets_handlers_take_what_was_verified_in_any_form_and_leaves_other_routes_alone() {
    #[derive(serde::Deserialize)]
    struct Payment {
        amount: u64,
    }
    let handler = async |Json(payment): Json<Payment>| payment.amount.to_string();
    let guarded = Router::new().route("/hook", post(handler)).layer(stripe(&[NEW]).layer());
    let router = guarded.route("/health", get(async || "fine"));
    let mut headers = signed("stripe", NEW, None, BODY, clock());
    headers.insert("content-type", "application/json".parse().unwrap());
    let response = router.clone().oneshot(request(&headers, BODY)).await.unwrap();
    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, "4200"));
    let health = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(health).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn neither_a_token_nor_a_body_is_printed() {
    let token = "glpat-a-token-of-the-axum-tests";
    let headers = signed("gitlab", token, None, b"", clock());
    let source = Source::provider("gitlab", vec![Secret::new(token)], clock).unwrap();
    let printed = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&printed);
    let handler = async move |event: Verified<Event>| {
        *noted.lock().unwrap() = format!("{event:?} {:?}", event.headers);
    };
    let router = Router::new().route("/hook", post(handler)).with_state(source);
    let body = r#"{"object_kind":"push","private":"a-customer"}"#;
    assert_eq!(router.oneshot(request(&headers, body)).await.unwrap().status(), StatusCode::OK);
    let printed = printed.lock().unwrap();
    assert!(printed.contains("Sensitive") && printed.contains("x-gitlab-token"), "{printed}");
    assert!(!printed.contains(token) && !printed.contains("a-customer"), "{printed}");
}

#[test]
fn what_cannot_verify_is_no_source() {
    let keys = |made: Result<Source, Vec<SpecError>>| -> Vec<String> {
        made.err().unwrap_or_default().into_iter().map(|error| error.key).collect()
    };
    assert_eq!(keys(Source::provider("nobody", vec![Secret::new(NEW)], clock)), ["provider"]);
    assert_eq!(keys(Source::provider("stripe", Vec::new(), clock)), ["secrets"]);
    assert_eq!(keys(Source::provider("stripe", vec![Secret::new("")], clock)), ["secrets"]);
    assert!(keys(Source::provider("aws-sns", Vec::new(), clock)).is_empty(), "its keys are fetched");
}
