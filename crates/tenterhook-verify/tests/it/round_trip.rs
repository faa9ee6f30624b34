//! `sign` is the mirror of `verify`: what one makes, the other takes, for every scheme of the grammar.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use tenterhook_verify::provider::catalog;
use tenterhook_verify::{Request, SchemeSpec, Secret, Verifier};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Signs and verifies; and refuses the same with one byte more.
fn mirrors(verifier: &Verifier, content_type: &'static str, url: &str, body: &[u8], now: SystemTime) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    for required in
        ["x-shopify-topic", "x-shopify-webhook-id", "x-shopify-shop-domain", "x-shopify-api-version"]
    {
        headers.insert(required, HeaderValue::from_static("x"));
    }
    headers.insert("x-extra", HeaderValue::from_static("signed too"));
    let request = Request { method: &Method::POST, url: Some(url), headers: &headers, body };
    let signature = verifier.sign(&request, Some("msg_1"), now).unwrap();
    headers.extend(signature);
    let request = Request { method: &Method::POST, url: Some(url), headers: &headers, body };
    verifier.screen(&headers, now).unwrap_or_else(|error| panic!("{error}: {}", error.detail));
    let verified = verifier.verify(&request, now).unwrap_or_else(|error| panic!("{error}: {}", error.detail));
    assert_eq!(verified.request().body, body);
}

#[test]
fn every_provider_that_signs_with_a_shared_secret_takes_what_it_signs() {
    let url = "https://hooks.example.com/in?a=1";
    for provider in catalog() {
        let schemes =
            std::iter::once(&provider.scheme).chain(provider.alternatives.iter().map(|(_, scheme)| scheme));
        for scheme in schemes.filter(|scheme| !scheme.is_asymmetric()) {
            let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
            let verifier = Verifier::new(scheme.clone(), vec![Secret::new(secret)]).unwrap();
            let (kind, body) = match provider.name.as_str() {
                "twilio" => ("application/x-www-form-urlencoded", &b"a=1&b=2&a=3"[..]),
                _ => ("application/json", &b"{\"id\":\"1\"}"[..]),
            };
            mirrors(&verifier, kind, url, body, at(1_790_000_000));
        }
    }
}

#[test]
fn a_private_key_signs_what_its_public_key_takes_and_a_public_key_signs_nothing() {
    let scheme = catalog()
        .iter()
        .find(|provider| provider.name == "standard-webhooks")
        .and_then(|provider| provider.scheme(Some("standard-webhooks-asymmetric")))
        .unwrap();
    let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    let verifier = Verifier::new(scheme.clone(), vec![Secret::new(public)]).unwrap();
    let headers = HeaderMap::new();
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: b"{}" };
    let refused = verifier.sign(&request, Some("msg_1"), at(1_790_000_000)).unwrap_err();
    assert!(refused.to_string().contains("private"), "{refused}");
}

/// Schemes as users write them, with the key that fits.
const SPECS: &[(&str, &str)] = &[
    ("header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"", "a-secret-of-the-round-trip-tests"),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha1\"\nencoding = \"base64\"\nprefix = \"sha1=\"",
        "a-secret-of-the-round-trip-tests",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha384\"\nencoding = \"base64url\"",
        "a-secret-of-the-round-trip-tests",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha512\"\nencoding = \"hex\"\nkey = \"hex\"",
        "00112233445566778899aabbccddeeff",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\nkey = \"base64\"",
        "AAECAwQFBgcICQoLDA0ODw==",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"v0:{t}:{body}\"\n\
         timestamp = { header = \"X-Time\", tolerance = \"5m\" }",
        "a-secret-of-the-round-trip-tests",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"\n\
         timestamp = { header = \"X-Time\", unit = \"ms\", tolerance = \"5m\" }",
        "a-secret-of-the-round-trip-tests",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\ncontent = \"{t}.{body}\"\n\
         timestamp = { header = \"X-Time\", unit = \"rfc3339\", tolerance = \"5m\" }",
        "a-secret-of-the-round-trip-tests",
    ),
    (
        "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\n\
         content = \"{method}\\n{url}\\n{header:X-Extra}\\n{body}\"",
        "a-secret-of-the-round-trip-tests",
    ),
    ("header = \"X-Token\"\nalgorithm = \"token\"", "a-secret-of-the-round-trip-tests"),
];

#[test]
fn every_way_to_write_a_scheme_takes_what_it_signs() {
    for (spec, secret) in SPECS {
        let parsed: SchemeSpec = toml::from_str(spec).unwrap_or_else(|error| panic!("{spec}\n{error}"));
        let scheme = parsed.compile().unwrap_or_else(|errors| panic!("{spec}\n{errors:?}"));
        let verifier = Verifier::new(scheme, vec![Secret::new(*secret)]).unwrap();
        mirrors(&verifier, "application/json", "https://a.example/in", b"{\"a\":1}", at(1_790_000_000));
    }
}

proptest! {
    #[test]
    fn any_body_at_any_time_is_taken_as_it_was_signed(
        body in proptest::collection::vec(any::<u8>(), 0..2_000),
        seconds in 1_000_000_000_u64..4_000_000_000,
    ) {
        for name in ["stripe", "github", "shopify", "svix", "slack"] {
            let provider = catalog().iter().find(|provider| provider.name == name).unwrap();
            let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
            let verifier = Verifier::new(provider.scheme.clone(), vec![secret]).unwrap();
            mirrors(&verifier, "application/octet-stream", "https://a.example/in", &body, at(seconds));
        }
    }
}
