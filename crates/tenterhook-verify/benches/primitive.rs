//! What verification costs beside the bare primitive, what it allocates, and what a hostile request buys.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has to end")]

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use divan::{AllocProfiler, Bencher, black_box};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::{Provider, Request, Secret, Verifier, provider};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SECRET: &str = "bench-secret-of-no-value-0123456789";
const PRIVATE: &str = "whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn main() {
    divan::main();
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A body of `bytes`, as a provider writes one: short members, some nesting, an id and a type.
fn body(bytes: usize) -> Vec<u8> {
    let mut text = String::from(
        r#"{"id":"evt_0123456789abcdef","object":"event","type":"invoice.paid","created":1800000000,"data":{"object":{"lines":[0"#,
    );
    let mut line = 0_u64;
    while text.len() + 120 < bytes {
        line += 1;
        text += &format!(
            r#",{{"id":"il_{:016x}","amount":{},"description":"One of several lines, with a comma","live":true}}"#,
            line.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            line * 17
        );
    }
    text += "]}}}";
    text.into_bytes()
}

/// A request that a provider signed.
struct Signed {
    provider: &'static Provider,
    verifier: Verifier,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Signed {
    fn new(name: &str, scheme: Option<&str>, secret: &str, bytes: usize) -> Self {
        let provider = provider::provider(name).expect("in the catalog");
        let scheme = provider.scheme(scheme).expect("a scheme").clone();
        let verifier = Verifier::new(scheme, vec![Secret::new(secret)]).expect("a verifier");
        let mut signed = Self { provider, verifier, headers: HeaderMap::new(), body: body(bytes) };
        signed.headers = signed.sign();
        signed.headers.insert("x-github-event", HeaderValue::from_static("push"));
        signed.headers.insert("x-github-delivery", HeaderValue::from_static("72d3162e-cc78-11e3-81ab"));
        signed
    }

    fn request(&self) -> Request<'_> {
        Request { method: &Method::POST, url: None, headers: &self.headers, body: &self.body }
    }

    fn sign(&self) -> HeaderMap {
        self.verifier.sign(&self.request(), Some("msg_0123456789abcdef"), now()).expect("signs")
    }

    fn verify(&self, bencher: Bencher<'_, '_>) {
        assert!(self.verifier.verify(&self.request(), now()).is_ok());
        bencher.bench(|| self.verifier.verify(black_box(&self.request()), now()).is_ok());
    }
}

#[divan::bench]
fn hmac_sha256_bare_1_kib(bencher: Bencher<'_, '_>) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let body = body(1024);
    let tag = hmac::sign(&key, &body);
    bencher.bench(|| hmac::verify(black_box(&key), black_box(&body), tag.as_ref()).is_ok());
}

#[divan::bench]
fn hmac_sha256_github_1_kib(bencher: Bencher<'_, '_>) {
    Signed::new("github", None, SECRET, 1024).verify(bencher);
}

#[divan::bench]
fn hmac_sha256_stripe_1_kib(bencher: Bencher<'_, '_>) {
    Signed::new("stripe", None, SECRET, 1024).verify(bencher);
}

#[divan::bench]
fn hmac_sha256_standard_webhooks_1_kib(bencher: Bencher<'_, '_>) {
    Signed::new("standard-webhooks", None, WHSEC, 1024).verify(bencher);
}

/// The same with the digest by which a gateway knows the content again.
#[divan::bench]
fn hmac_sha256_github_1_kib_and_digest(bencher: Bencher<'_, '_>) {
    let signed = Signed::new("github", None, SECRET, 1024);
    bencher.bench(|| {
        let verified = signed.verifier.verify(black_box(&signed.request()), now());
        verified.map(|verified| verified.content_sha256())
    });
}

#[divan::bench]
fn ed25519_bare_1_kib(bencher: Bencher<'_, '_>) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let key = ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()).expect("a key");
    let body = body(1024);
    let signature = pair.sign(&body);
    bencher.bench(|| key.verify_sig(black_box(&body), signature.as_ref()).is_ok());
}

#[divan::bench]
fn ed25519_standard_webhooks_1_kib(bencher: Bencher<'_, '_>) {
    Signed::new("standard-webhooks", Some("standard-webhooks-asymmetric"), PRIVATE, 1024).verify(bencher);
}

#[divan::bench]
fn sign_github_1_kib(bencher: Bencher<'_, '_>) {
    let signed = Signed::new("github", None, SECRET, 1024);
    bencher.bench(|| black_box(&signed).sign());
}

#[divan::bench(args = [1024, 10 * 1024, 100 * 1024])]
fn locate_id_and_type_stripe(bencher: Bencher<'_, '_>, bytes: usize) {
    let signed = Signed::new("stripe", None, SECRET, bytes);
    assert!(signed.provider.event_id.find(&signed.request()).is_some());
    bencher.bench(|| {
        let request = black_box(signed.request());
        signed.provider.locate(&request)
    });
}

/// 16 signatures of which none is right, and the 2,000 of which not even the form is read to the end.
#[divan::bench(args = [1, 16, 2_000])]
fn wrong_signatures_stripe_1_kib(bencher: Bencher<'_, '_>, count: usize) {
    let mut signed = Signed::new("stripe", None, SECRET, 1024);
    let list = format!("t=1800000000{}", format!(",v1={}", "0".repeat(64)).repeat(count));
    let value = HeaderValue::from_str(&list).expect("a header");
    signed.headers.insert(HeaderName::from_static("stripe-signature"), value);
    assert!(signed.verifier.verify(&signed.request(), now()).is_err());
    bencher.bench(|| signed.verifier.verify(black_box(&signed.request()), now()).is_err());
}
