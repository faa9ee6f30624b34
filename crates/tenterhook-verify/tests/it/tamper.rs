//! Requests that somebody touched: whatever is changed, cut, swapped or confused, nothing is taken.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::provider::provider;
use tenterhook_verify::{Reason, Request, Secret, Verifier};

const BODY: &[u8] = b"{\"id\":\"evt_1\",\"type\":\"invoice.paid\"}";
const FORM: &[u8] = b"MessageSid=SM1&MessageStatus=sent&To=%2B15558675310";
const URL: &str = "https://hooks.example.com/twilio?a=1";
const SECRET: &str = "a-secret-of-the-tamper-tests-0123";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_1";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// A signed request of one provider, and who verifies it.
struct Signed {
    name: &'static str,
    verifier: Verifier,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Signed {
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Reason> {
        let request = Request { method: &Method::POST, url: Some(URL), headers, body };
        self.verifier.verify(&request, now()).map(drop).map_err(|error| error.reason)
    }

    /// With one header set to other bytes.
    fn with(&self, name: &HeaderName, value: &[u8]) -> Option<HeaderMap> {
        let mut headers = self.headers.clone();
        headers.insert(name, HeaderValue::from_bytes(value).ok()?);
        Some(headers)
    }
}

fn verifier(name: &str, secret: &str) -> Verifier {
    let scheme = provider(name).unwrap().scheme(None).unwrap().clone();
    Verifier::new(scheme, vec![Secret::new(secret)]).unwrap()
}

/// Every provider whose scheme can sign.
fn signed() -> Vec<Signed> {
    ["stripe", "github", "shopify", "twilio", "svix", "standard-webhooks", "slack"]
        .into_iter()
        .map(|name| {
            let verifier =
                verifier(name, if matches!(name, "svix" | "standard-webhooks") { WHSEC } else { SECRET });
            let mut headers = HeaderMap::new();
            let (body, kind) = match name {
                "twilio" => (FORM, "application/x-www-form-urlencoded"),
                _ => (BODY, "application/json"),
            };
            headers.insert("content-type", HeaderValue::from_static(kind));
            for required in
                ["x-shopify-topic", "x-shopify-webhook-id", "x-shopify-shop-domain", "x-shopify-api-version"]
            {
                headers.insert(required, HeaderValue::from_static("x"));
            }
            let request = Request { method: &Method::POST, url: Some(URL), headers: &headers, body };
            let signature = verifier.sign(&request, Some(ID), now()).unwrap();
            headers.extend(signature);
            let signed = Signed { name, verifier, headers, body: body.to_vec() };
            assert_eq!(signed.verify(&signed.headers, &signed.body), Ok(()), "{name} verifies what it signs");
            signed
        })
        .collect()
}

#[test]
fn no_byte_of_the_body_can_be_changed_added_or_taken() {
    for signed in signed() {
        for place in 0..signed.body.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut body = signed.body.clone();
                body[place] ^= flip;
                // A form that says the same in other bytes is the same form: Twilio signs its parameters.
                let same = signed.name == "twilio" && same_form(&body, &signed.body);
                assert_eq!(
                    signed.verify(&signed.headers, &body).is_ok(),
                    same,
                    "{} byte {place}",
                    signed.name
                );
            }
        }
        let (shorter, longer) = (&signed.body[..signed.body.len() - 1], [&signed.body[..], b"1"].concat());
        assert!(signed.verify(&signed.headers, shorter).is_err(), "{}", signed.name);
        assert!(signed.verify(&signed.headers, &longer).is_err(), "{}", signed.name);
        assert!(signed.verify(&signed.headers, b"").is_err(), "{}", signed.name);
    }
}

fn same_form(one: &[u8], other: &[u8]) -> bool {
    let pairs = |bytes| {
        let mut pairs: Vec<_> = form_urlencoded::parse(bytes).into_owned().collect();
        pairs.sort();
        pairs
    };
    pairs(one) == pairs(other)
}

#[test]
fn no_byte_of_a_signature_time_or_id_can_be_changed_and_none_may_be_cut_or_added() {
    for signed in signed() {
        for name in signed.verifier.scheme().signature_headers() {
            let Some(value) = signed.headers.get(&name).map(|value| value.as_bytes().to_vec()) else {
                continue;
            };
            for place in 0..value.len() {
                for flip in [0x01, 0x02, 0x10] {
                    let mut changed = value.clone();
                    changed[place] ^= flip;
                    let Some(headers) = signed.with(&name, &changed) else { continue };
                    assert!(
                        signed.verify(&headers, &signed.body).is_err(),
                        "{} {name} byte {place}",
                        signed.name
                    );
                }
                // Upper and lower case are the same hexadecimal digit; anything else that is cut is another value.
                let cut = signed.with(&name, &value[..place]).unwrap();
                assert!(signed.verify(&cut, &signed.body).is_err(), "{} {name} cut at {place}", signed.name);
            }
            let longer = signed.with(&name, &[&value[..], b"0"].concat()).unwrap();
            assert!(signed.verify(&longer, &signed.body).is_err(), "{} {name} longer", signed.name);
            let mut twice = signed.headers.clone();
            twice.append(&name, HeaderValue::from_bytes(&value).unwrap());
            assert!(signed.verify(&twice, &signed.body).is_err(), "{} {name} twice", signed.name);
            let mut missing = signed.headers.clone();
            missing.remove(&name);
            assert!(signed.verify(&missing, &signed.body).is_err(), "{} without {name}", signed.name);
            for odd in [&b"\xff\xfe"[..], b"", b" ", b"\t", b"=", b",", b"v1,", b"t=,v1=", b"sha256="] {
                let headers = signed.with(&name, odd).unwrap();
                assert!(signed.verify(&headers, &signed.body).is_err(), "{} {name} {odd:?}", signed.name);
            }
        }
    }
}

#[test]
fn another_providers_or_nobodys_secret_opens_nothing() {
    for signed in signed() {
        let other = if SECRET.len() > 3 && matches!(signed.name, "svix" | "standard-webhooks") {
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        } else {
            "a-secret-of-somebody-else-altogether"
        };
        let verifier = verifier(signed.name, other);
        let request =
            Request { method: &Method::POST, url: Some(URL), headers: &signed.headers, body: &signed.body };
        assert_eq!(
            verifier.verify(&request, now()).unwrap_err().reason,
            Reason::SignatureMismatch,
            "{}",
            signed.name
        );
        let ended = Secret::new(SECRET).during(None, Some(now() - Duration::from_secs(1)));
        let scheme = signed.verifier.scheme().clone();
        if let Ok(verifier) = Verifier::new(scheme.clone(), vec![ended]) {
            let refused = verifier.verify(&request, now()).unwrap_err();
            assert_eq!(refused.reason, Reason::NoLiveSecret, "{}", signed.name);
        }
        let refused = match Verifier::new(scheme.clone(), Vec::new()) {
            Ok(verifier) => verifier.verify(&request, now()).is_err(),
            Err(_) => true,
        };
        assert!(refused, "{} without any secret", signed.name);
        assert!(
            Verifier::new(scheme, vec![Secret::new("")]).is_err(),
            "{} with an empty secret",
            signed.name
        );
    }
}

#[test]
fn a_request_cannot_buy_thousands_of_macs() {
    let stripe = &signed()[0];
    let many = format!("t=1790000000{}", format!(",v1={}", "0".repeat(64)).repeat(2_000));
    let headers = stripe.with(&HeaderName::from_static("stripe-signature"), many.as_bytes()).unwrap();
    assert_eq!(stripe.verify(&headers, BODY), Err(Reason::TooManyCandidates));
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: BODY };
    assert!(stripe.verifier.screen(request.headers, now()).is_err(), "seen by the head already");
}

#[test]
fn a_mac_keyed_with_a_public_key_is_not_a_signature() {
    let scheme =
        provider("standard-webhooks").unwrap().scheme(Some("standard-webhooks-asymmetric")).unwrap().clone();
    let public = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    let verifier = Verifier::new(scheme, vec![Secret::new(format!("whpk_{public}"))]).unwrap();
    let forger = self::verifier("standard-webhooks", &format!("whsec_{public}"));
    let mut headers = HeaderMap::new();
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: BODY };
    let forged = forger.sign(&request, Some(ID), now()).unwrap();
    headers.extend(forged);
    let as_v1a = headers["webhook-signature"].to_str().unwrap().replacen("v1,", "v1a,", 1);
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: BODY };
    assert_eq!(verifier.verify(&request, now()).unwrap_err().reason, Reason::NoSupportedScheme);
    headers.insert("webhook-signature", HeaderValue::from_str(&as_v1a).unwrap());
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: BODY };
    assert!(verifier.verify(&request, now()).is_err());
}

#[test]
fn a_public_key_is_no_secret_of_a_scheme_with_shared_secrets() {
    let pem = "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----";
    let texts = [
        "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
        "whpk_AAAAAAAAAAAAAAAA",
        pem,
        &format!("\n {pem}"),
        "-----BEGIN RSA PUBLIC KEY-----\nAQID\n-----END RSA PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----",
    ];
    for signed in signed() {
        for text in texts {
            let refused =
                Verifier::new(signed.verifier.scheme().clone(), vec![Secret::new(text)]).unwrap_err();
            assert_eq!(refused[0].key, "secrets", "{} {text}", signed.name);
            assert!(refused[0].message.contains("public key"), "{} {text}: {refused:?}", signed.name);
            assert!(!format!("{refused:?}").contains("AQID"), "{refused:?}");
        }
    }
}

#[test]
fn another_spelling_of_an_url_is_no_other_transmission() {
    let twilio = verifier("twilio", SECRET);
    let headers = HeaderMap::new();
    let url = "https://hooks.example.com/in?a=it's&b=~";
    let request = Request { method: &Method::POST, url: Some(url), headers: &headers, body: b"" };
    let signature = twilio.sign(&request, None, now()).unwrap();
    let digest = |url| {
        let request = Request { method: &Method::POST, url: Some(url), headers: &signature, body: b"" };
        twilio.verify(&request, now()).map(|verified| verified.content_sha256())
    };
    let first = digest(url).unwrap();
    for same in [
        "https://hooks.example.com:443/in?a=it's&b=~",
        "https://hooks.example.com/in?a=it's&b=%7e",
        "https://hooks.example.com/in?a=%69t%27s&b=%7E",
    ] {
        assert_eq!(digest(same), Ok(first), "{same}");
    }
    for other in ["https://hooks.example.com/in?a=its&b=~", "https://hooks.example.com/in?b=~&a=it's"] {
        assert!(digest(other).is_err(), "{other}");
    }
}

#[test]
fn what_is_explained_tells_neither_the_secret_nor_the_signature_that_was_expected() {
    for signed in signed() {
        let mut body = signed.body.clone();
        body.push(b'1');
        let request =
            Request { method: &Method::POST, url: Some(URL), headers: &signed.headers, body: &body };
        let explained = format!("{:?}", signed.verifier.explain(&request, now()));
        let expected = signed.verifier.sign(&request, Some(ID), now()).unwrap();
        for name in signed.verifier.scheme().signature_headers() {
            let Some(value) = expected.get(&name).and_then(|value| value.to_str().ok()) else { continue };
            for part in value.split([',', '=', ' ']).filter(|part| part.len() >= 20) {
                assert!(!explained.contains(part), "{}: {explained}", signed.name);
            }
        }
        assert!(
            !explained.contains(SECRET) && !explained.contains(&WHSEC[6..]),
            "{}: {explained}",
            signed.name
        );
    }
}
