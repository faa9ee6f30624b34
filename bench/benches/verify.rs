//! What one request costs before the store: verify, sign, and finding the event's id and type.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has to end")]

use std::time::SystemTime;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook::model::SystemClock;
use tenterhook_verify::{Provider, Request, Secret, Verifier, provider};

const PROVIDERS: [&str; 4] = ["github", "stripe", "standard-webhooks", "twilio"];
const BODY_BYTES: [usize; 3] = [1024, 10 * 1024, 100 * 1024];
const URL: &str = "https://hooks.example.com/webhooks/source";

fn main() {
    divan::main();
}

/// A sample event with its signature.
struct Signed {
    provider: &'static Provider,
    verifier: Verifier,
    headers: HeaderMap,
    body: Vec<u8>,
    now: SystemTime,
}

impl Signed {
    fn new(name: &str, bytes: usize) -> Self {
        let provider = provider::provider(name).expect("in the catalog");
        let secret = if name == "standard-webhooks" {
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        } else {
            "bench-secret-of-no-value-0123456789"
        };
        let verifier = Verifier::new(provider.scheme.clone(), vec![Secret::new(secret)]).expect("a verifier");
        let now = SystemClock::wall().to_system();
        let (named, body) = provider.samples[0].fill("0123456789abcdef0123456789abcdef", 1_800_000_000);
        let headers = named.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
        });
        let mut signed =
            Self { provider, verifier, headers: headers.collect(), body: filled(&body, bytes), now };
        signed.headers.extend(signed.sign());
        signed
    }

    fn request(&self) -> Request<'_> {
        Request { method: &Method::POST, url: Some(URL), headers: &self.headers, body: &self.body }
    }

    fn sign(&self) -> HeaderMap {
        self.verifier.sign(&self.request(), Some("msg_0123456789abcdef"), self.now).expect("signs")
    }
}

/// The sample, made longer by members whose keys repeat.
fn filled(sample: &str, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = sample.to_owned();
    match sample.strip_suffix('}') {
        Some(object) => {
            object.clone_into(&mut text);
            text += ",\"lines\":[0";
            while text.len() + 64 < bytes {
                text += &format!(",{{\"id\":\"li_{:016x}\",\"amount\":{}}}", random.u64(..), random.u16(..));
            }
            text += "]}";
        }
        None => {
            while text.len() + 64 < bytes {
                text += &format!("&Line{}={:016x}", text.len(), random.u64(..));
            }
        }
    }
    text.into_bytes()
}

#[divan::bench(args = PROVIDERS, consts = BODY_BYTES)]
fn verify<const BYTES: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let signed = Signed::new(name, BYTES);
    bencher
        .counter(BytesCount::new(signed.body.len()))
        .bench(|| signed.verifier.verify(black_box(&signed.request()), signed.now).is_ok());
}

#[divan::bench(args = PROVIDERS, consts = BODY_BYTES)]
fn sign<const BYTES: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let signed = Signed::new(name, BYTES);
    bencher.counter(BytesCount::new(signed.body.len())).bench(|| signed.sign());
}

#[divan::bench(args = PROVIDERS, consts = BODY_BYTES)]
fn locate_id_and_type<const BYTES: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let signed = Signed::new(name, BYTES);
    bencher.counter(BytesCount::new(signed.body.len())).bench(|| {
        let request = black_box(signed.request());
        (signed.provider.event_id.find(&request), signed.provider.event_type(&request))
    });
}
