//! Keys that are fetched: which one is asked for, what is taken for it, and that nothing in a message chooses it.

use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, SanType};
use tenterhook_verify::provider::provider;
use tenterhook_verify::remote::{KeyFile, Roots};
use tenterhook_verify::{KeyNeed, KeyRing, Reason, Request, Secret, Settings, Verifier};

use crate::support::now;

const DAY: Duration = Duration::from_secs(86_400);

/// A provider with a key of its own, of which the verifier knows nothing yet.
struct Provider {
    verifier: Verifier,
    headers: HeaderMap,
    body: Vec<u8>,
    key: KeyPair,
}

/// What `name` sends, signed with a fresh key.
fn sends(
    name: &str,
    settings: &Settings,
    headers: &[(&str, &str)],
    body: &str,
    kid: Option<&str>,
) -> Provider {
    let scheme = provider(name).unwrap().scheme.clone();
    let key =
        if name == "plaid" { KeyPair::generate() } else { KeyPair::generate_for(&PKCS_RSA_SHA256) }.unwrap();
    let private = Secret::new(key.serialize_pem());
    let private = match kid {
        Some(kid) => private.with_id(kid),
        None => private,
    };
    let signer =
        Verifier::new(scheme.clone(), vec![private]).unwrap().with_settings(settings.clone()).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let request = Request { method: &Method::POST, url: Some(URL), headers: &map, body: body.as_bytes() };
    let sealed = signer.seal(&request, Some("id-1"), now()).unwrap();
    map.extend(sealed.headers);
    let body = sealed.body.unwrap_or_else(|| body.as_bytes().to_vec());
    let verifier = Verifier::new(scheme, vec![]).unwrap().with_settings(settings.clone()).unwrap();
    Provider { verifier, headers: map, body, key }
}

const URL: &str = "https://hooks.example.com/in";
const KID: &str = "6c5516e1-92dc-479e-a8ff-5a51992e0001";

impl Provider {
    fn verify(&self, ring: &KeyRing, at: SystemTime) -> Result<(), (Reason, Option<KeyNeed>)> {
        let request =
            Request { method: &Method::POST, url: Some(URL), headers: &self.headers, body: &self.body };
        let verified = self.verifier.verify_with(&request, ring, at);
        verified.map(drop).map_err(|error| (error.reason, error.needs.map(|need| *need)))
    }

    /// The key that it asks for.
    fn need(&self) -> KeyNeed {
        let (reason, need) = self.verify(&KeyRing::default(), now()).unwrap_err();
        assert_eq!(reason, Reason::KeyNotAtHand);
        need.unwrap()
    }
}

fn paypal() -> Provider {
    let settings = Settings::default().with("webhook_id", "WH-1");
    let url = "https://api.paypal.com/v1/notifications/certs/CERT-1";
    sends("paypal", &settings, &[("paypal-cert-url", url)], "{}", None)
}

fn sns() -> Provider {
    let body = r#"{"Type":"Notification","MessageId":"m","TopicArn":"arn","Message":"x","Timestamp":"2026-09-21T14:13:20.000Z",
        "SigningCertURL":"https://sns.eu-west-1.amazonaws.com/a.pem"}"#;
    sends("aws-sns", &Settings::default(), &[], body, None)
}

fn plaid() -> Provider {
    sends("plaid", &Settings::default(), &[], "{}", Some(KID))
}

fn pubsub() -> Provider {
    let settings = Settings::default().with("expected_email", "push@project.iam.gserviceaccount.com");
    sends("google-pubsub", &settings, &[], "{}", Some("k-1"))
}

/// A root, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = (now() - 100 * DAY).into();
    params.not_after = (now() + 1000 * DAY).into();
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Authority { issuer: Issuer::new(params, key), der }
}

impl Authority {
    /// A certificate for `name` and `key`, as PEM.
    fn certify(&self, name: &str, key: &KeyPair, from: SystemTime, until: SystemTime) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.not_before = from.into();
        params.not_after = until.into();
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    fn pem(&self) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(&self.der))
    }

    fn roots(&self) -> Roots {
        Roots::new([self.der.as_slice()])
    }
}

#[test]
fn paypals_certificate_counts_with_its_name_its_time_and_its_chain() {
    let paypal = paypal();
    let (root, stranger) = (authority("a root"), authority("a stranger"));
    let need = paypal.need();
    assert_eq!(
        (need.kind(), need.url()),
        (KeyFile::PayPalCertificate, "https://api.paypal.com/v1/notifications/certs/CERT-1")
    );
    let name = "messageverificationcerts.paypal.com";
    let (from, until) = (now() - DAY, now() + DAY);
    let good = root.certify(name, &paypal.key, from, until) + &root.pem();
    let fetched = need.accept(good.as_bytes(), &root.roots(), now()).unwrap();
    let ring = KeyRing::default().with(fetched, now());
    assert_eq!(paypal.verify(&ring, now()), Ok(()));
    assert_eq!(paypal.verify(&ring, until).unwrap_err().0, Reason::KeyNotAtHand, "it has ended");
    for (file, problem) in [
        (stranger.certify(name, &paypal.key, from, until) + &stranger.pem(), "no root"),
        (root.certify(name, &paypal.key, from, until).replace("MII", "MIJ"), ""),
        (root.certify("paypal.com.evil.example", &paypal.key, from, until) + &root.pem(), "for none of"),
        (root.certify("evilpaypal.com", &paypal.key, from, until) + &root.pem(), "for none of"),
        (root.certify(name, &paypal.key, from - DAY, from) + &root.pem(), "not valid"),
        (root.certify(name, &paypal.key, until, until + DAY) + &root.pem(), "not valid"),
        (paypal.key.public_key_pem(), "no certificate"),
        (String::new(), "no certificate"),
        ("x".repeat(300 * 1024), "more than"),
        (good.repeat(5), "more than"),
        (good[..good.len() / 3].to_owned(), ""),
    ] {
        let refused = need.accept(file.as_bytes(), &root.roots(), now()).unwrap_err();
        assert!(refused.contains(problem), "{problem}: {refused}");
    }
    let nobody = need.accept(good.as_bytes(), &Roots::default(), now()).unwrap_err();
    assert!(nobody.contains("no root"), "{nobody}");
}

#[test]
fn a_key_that_another_request_had_fetched_is_not_taken_for_this_ones() {
    let (one, other) = (paypal(), paypal());
    let root = authority("a root");
    let certificate = root.certify("x.paypal.com", &other.key, now() - DAY, now() + DAY) + &root.pem();
    let fetched = one.need().accept(certificate.as_bytes(), &root.roots(), now()).unwrap();
    let ring = KeyRing::default().with(fetched, now());
    assert_eq!(one.verify(&ring, now()).unwrap_err().0, Reason::SignatureMismatch);
    assert_eq!(sns().verify(&ring, now()).unwrap_err().0, Reason::KeyNotAtHand);
}

#[test]
fn amazons_certificate_may_come_alone_but_not_under_another_name() {
    let sns = sns();
    let root = authority("a root");
    let need = sns.need();
    assert_eq!(
        (need.kind(), need.url()),
        (KeyFile::SnsCertificate, "https://sns.eu-west-1.amazonaws.com/a.pem")
    );
    let certify = |name| root.certify(name, &sns.key, now() - DAY, now() + DAY);
    for name in ["sns.amazonaws.com", "sns.eu-west-1.amazonaws.com", "sns-signing.eu-south-1.amazonaws.com"] {
        let fetched = need.accept(certify(name).as_bytes(), &Roots::default(), now()).unwrap();
        assert_eq!(sns.verify(&KeyRing::default().with(fetched, now()), now()), Ok(()), "{name}");
    }
    for name in [
        "s3.amazonaws.com",
        "evil.example",
        "sns.amazonaws.com.evil.example",
        "bucket.s3.eu-west-1.amazonaws.com",
    ] {
        assert!(need.accept(certify(name).as_bytes(), &Roots::default(), now()).is_err(), "{name}");
    }
    let chained = certify("sns.amazonaws.com") + &root.pem();
    let accept = |roots: &Roots| need.accept(chained.as_bytes(), roots, now());
    assert!(accept(&root.roots()).is_ok());
    assert!(accept(&Roots::default()).is_err(), "a chain that comes along has to hold");
}

/// The JWK of a P-256 key.
fn ec(key: &KeyPair, kid: &str) -> String {
    let point = key.public_key_raw();
    let part = |at: usize| BASE64URL_NOPAD.encode(&point[at..at + 32]);
    format!(r#"{{"kty":"EC","crv":"P-256","use":"sig","kid":"{kid}","x":"{}","y":"{}"}}"#, part(1), part(33))
}

/// The JWK of an RSA key of 2048 bits: its numbers stand at known places of its DER.
fn rsa(key: &KeyPair, kid: &str) -> String {
    let numbers = key.public_key_raw();
    let n = BASE64URL_NOPAD.encode(&numbers[9..9 + 256]);
    format!(r#"{{"kty":"RSA","alg":"RS256","use":"sig","kid":"{kid}","n":"{n}","e":"AQAB"}}"#)
}

#[test]
fn plaids_key_is_asked_for_by_its_id_and_ends_when_plaid_says_so() {
    let plaid = plaid();
    let need = plaid.need();
    assert_eq!((need.kind(), need.key_id()), (KeyFile::PlaidKey, Some(KID)));
    assert_eq!(need.url(), "https://production.plaid.com/webhook_verification_key/get");
    let answer = |jwk: &str| format!(r#"{{"key":{jwk},"request_id":"r"}}"#);
    let good = answer(&ec(&plaid.key, KID));
    let accept = |text: &str| need.accept(text.as_bytes(), &Roots::default(), now());
    let ring = KeyRing::default().with(accept(&good).unwrap(), now());
    assert_eq!(plaid.verify(&ring, now()), Ok(()));
    let ended = good.replace("\"use\"", &format!("\"expired_at\":{},\"use\"", 1_790_000_000 - 1));
    let ring = KeyRing::default().with(accept(&ended).unwrap(), now());
    assert_eq!(plaid.verify(&ring, now()).unwrap_err().0, Reason::KeyNotAtHand);
    for wrong in [
        "{}",
        "[]",
        "",
        &answer(&ec(&plaid.key, "another")),
        &answer(r#"{"kty":"oct","k":"AA"}"#),
        &good.replace("sig", "enc"),
    ] {
        assert!(accept(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_set_is_asked_for_at_googles_own_place_and_its_keys_are_told_apart() {
    let pubsub = pubsub();
    let need = pubsub.need();
    assert_eq!((need.kind(), need.url()), (KeyFile::Jwks, "https://www.googleapis.com/oauth2/v3/certs"));
    let set = |keys: &[String]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let accept = |keys: &[String]| need.accept(set(keys).as_bytes(), &Roots::default(), now());
    let ours = rsa(&pubsub.key, "k-1");
    let other = rsa(&KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), "k-2");
    let unknown = r#"{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"k-3"}"#.to_owned();
    let ring =
        KeyRing::default().with(accept(&[other.clone(), unknown.clone(), ours.clone()]).unwrap(), now());
    assert_eq!(pubsub.verify(&ring, now()), Ok(()));
    let day_after = now() + DAY;
    assert!(pubsub.verify(&ring, day_after).is_err(), "a set does not count for ever");
    let ring = ring.with(accept(std::slice::from_ref(&other)).unwrap(), now());
    let (reason, needs) = pubsub.verify(&ring, now()).unwrap_err();
    assert_eq!(
        (reason, needs.is_some(), ring.len()),
        (Reason::UnknownKey, true, 1),
        "the set was withdrawn, and may be asked for again"
    );
    let swapped = other.replace("k-2", "k-1");
    let ring = ring.with(accept(&[swapped]).unwrap(), now());
    assert_eq!(pubsub.verify(&ring, now()).unwrap_err().0, Reason::SignatureMismatch);
    assert!(accept(&[unknown]).is_err() && accept(&[]).is_err());
    let elliptic = ec(&KeyPair::generate().unwrap(), "k-1");
    let ring = KeyRing::default().with(accept(&[elliptic]).unwrap(), now());
    assert_eq!(
        pubsub.verify(&ring, now()).unwrap_err().0,
        Reason::SignatureMismatch,
        "a key of another type"
    );
}

#[test]
fn a_head_that_names_places_of_its_own_is_asked_for_at_the_providers() {
    let mut pubsub = pubsub();
    let need = pubsub.need();
    let token = pubsub.headers["authorization"].to_str().unwrap().to_owned();
    let (_, rest) = token.split_once('.').unwrap();
    for more in [
        r#""jku":"https://evil.example/jwks""#,
        r#""x5u":"https://evil.example/x5u""#,
        r#""jwk":{"kty":"RSA","n":"AA","e":"AQAB"}"#,
        r#""x5c":["AA=="]"#,
        r#""kid2":"x""#,
    ] {
        let head = BASE64URL_NOPAD.encode(format!(r#"{{"alg":"RS256","kid":"k-1",{more}}}"#).as_bytes());
        pubsub.headers.insert("authorization", format!("Bearer {head}.{rest}").parse().unwrap());
        assert_eq!(pubsub.need(), need, "{more}");
    }
    for kid in ["../../dev/null", "' UNION SELECT 'a'--", "http://127.0.0.1/", "a b", ""] {
        let head = BASE64URL_NOPAD.encode(format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#).as_bytes());
        pubsub.headers.insert("authorization", format!("Bearer {head}.{rest}").parse().unwrap());
        let (reason, need) = pubsub.verify(&KeyRing::default(), now()).unwrap_err();
        assert_eq!((reason, need), (Reason::UnknownKey, None), "{kid}");
    }
}

#[test]
fn traviss_key_stands_in_its_configuration() {
    let travis = provider("travis-ci").unwrap().scheme.clone();
    let verifier = Verifier::new(travis, vec![]).unwrap();
    let headers =
        HeaderMap::from_iter([(HeaderName::from_static("signature"), HeaderValue::from_static("AAAA"))]);
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: b"payload=%7B%7D" };
    let need = *verifier.verify(&request, now()).unwrap_err().needs.unwrap();
    assert_eq!((need.kind(), need.url()), (KeyFile::TravisConfig, "https://api.travis-ci.com/config"));
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap().public_key_pem().replace('\n', "\\n");
    let config =
        format!(r#"{{"config":{{"host":"x","notifications":{{"webhook":{{"public_key":"{key}"}}}}}}}}"#);
    let fetched = need.accept(config.as_bytes(), &Roots::default(), now()).unwrap();
    let ring = KeyRing::default().with(fetched, now());
    assert_eq!(verifier.verify_with(&request, &ring, now()).unwrap_err().reason, Reason::SignatureMismatch);
    assert!(need.accept(b"{}", &Roots::default(), now()).is_err());
}

#[test]
fn a_ring_stays_small_whatever_is_asked_for() {
    let mut ring = KeyRing::default();
    let key = KeyPair::generate().unwrap();
    for number in 0..200 {
        let kid = format!("key-{number}");
        let plaid = sends("plaid", &Settings::default(), &[], "{}", Some(&kid));
        let answer = format!(r#"{{"key":{}}}"#, ec(&key, &kid));
        ring = ring.with(plaid.need().accept(answer.as_bytes(), &Roots::default(), now()).unwrap(), now());
    }
    assert_eq!(ring.len(), 64);
    assert_eq!(ring.with(pinned_set(), now() + 2 * DAY).len(), 1, "what has ended makes room first");
}

fn pinned_set() -> tenterhook_verify::remote::Fetched {
    let pubsub = pubsub();
    let set = format!(r#"{{"keys":[{}]}}"#, rsa(&pubsub.key, "k-1"));
    pubsub.need().accept(set.as_bytes(), &Roots::default(), now() + 2 * DAY).unwrap()
}
