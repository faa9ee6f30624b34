//! The schemes that are code: a request that each of them can sign, and what of it is signed. Whatever bit of that is
//! turned, the request is refused.

use http::HeaderValue;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tenterhook_verify::provider::provider;
use tenterhook_verify::{Settings, Verifier};

use super::support::{Case, FORM, cases, check, keys, now, post};

/// A request for one scheme.
struct Sample {
    kind: &'static str,
    body: &'static str,
    /// Texts that are signed, of the body or of the URL; after signing, each is there.
    signed: &'static [&'static str],
}

const JSON: &str = "application/json";
const ADYEN: &str = r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"pspReference":"7914073381342284","originalReference":"8535296650153317","merchantAccountCode":"SampleMerchant","merchantReference":"order","amount":{"currency":"EUR","value":1130},"eventCode":"CAPTURE","success":"true"}}]}"#;

const SNS: &str = r#"{"Type":"Notification","MessageId":"message-1","TopicArn":"arn:aws:sns:eu-west-1:123456789012:sample","Message":"Hello","Timestamp":"2026-09-21T14:13:20.000Z","SigningCertURL":"https://sns.eu-west-1.amazonaws.com/sample.pem"}"#;

/// What is known about the scheme of that name; `None` for one that signs its body as it is.
fn sample(scheme: &str) -> Option<Sample> {
    let (kind, body, signed): (_, _, &[&str]) = match scheme {
        "adyen" => (
            JSON,
            ADYEN,
            &[
                "7914073381342284",
                "8535296650153317",
                "SampleMerchant",
                "order",
                "EUR",
                "1130",
                "CAPTURE",
                "\"true\"",
            ],
        ),
        "aws-sns" => (
            JSON,
            SNS,
            &[
                "Hello",
                "message-1",
                "arn:aws:sns:eu-west-1:123456789012:sample",
                "2026-09-21T14:13:20.000Z",
                "Notification\"",
            ],
        ),
        "braintree" => {
            (FORM, "bt_payload=PG5vdGlmaWNhdGlvbj48dGltZXN0YW1w1", &["PG5vdGlmaWNhdGlvbj48dGltZXN0YW1w1"])
        }
        "dropbox-sign" => (
            JSON,
            r#"{"event":{"event_type":"signature_request_signed"},"n":1}"#,
            &["1790000000", "signature_request_signed"],
        ),
        "mailgun" => (JSON, r#"{"event-data":{"id":"1"}}"#, &["1790000000"]),
        "mailgun-legacy" => (FORM, "event=delivered1", &["1790000000"]),
        "mandrill" => (FORM, "mandrill_events=abc1&b=x", &["mandrill_events", "abc1", "b=", "=x"]),
        "plivo-v1" | "plivo-v3" => {
            (FORM, "To=141&From=142", &["To", "141", "From", "142", "hooks.example.com/in"])
        }
        "plivo-v2" => (FORM, "To=141", &["https://hooks.example.com/in"]),
        "twilio" => (
            FORM,
            "MessageSid=SM1&MessageStatus=sent&To=%2B15558675310&Empty=",
            &["MessageSid", "SM1", "sent", "15558675310", "Empty", "hooks.example.com/in?a=1"],
        ),
        name if name.starts_with("vonage-sms-") => {
            (FORM, "msisdn=447700900001&text=Hello", &["447700900001", "Hello", "1790000000", "msisdn"])
        }
        _ => return None,
    };
    Some(Sample { kind, body, signed })
}

/// Makes a case one that its scheme can sign; `None` for a scheme that can only be verified.
pub(crate) fn prepared(mut case: Case, scheme: &str) -> Option<Case> {
    let settings = Settings::default();
    case.settings = match scheme {
        "paddle-classic" | "travis-ci" => return None,
        "braintree" => settings.with("public_key", "our_key"),
        "event-grid-entra" => {
            settings.with("expected_audience", "api://hooks").with("tenant", "11111111-2222")
        }
        "google-pubsub" => settings.with("expected_email", "push@project.iam.gserviceaccount.com"),
        "paypal" => settings.with("webhook_id", "WH-1"),
        _ => settings,
    };
    if ["aws-sns", "event-grid-entra", "google-pubsub", "paypal"].contains(&scheme) {
        [case.secret, case.other] = keys("rsa").map(|key| key.with_id("k1"));
    }
    case.body_is_free = ["event-grid-entra", "google-pubsub", "jira-connect", "monday"].contains(&scheme);
    case.signs_body &= !case.body_is_free;
    if let Some(Sample { kind, body, .. }) = sample(scheme) {
        case.headers.insert("content-type", HeaderValue::from_static(kind));
        case.body = body.as_bytes().to_vec();
        case.signs_body = false;
        case.reads_body = true;
    }
    case.coded = Some(scheme.to_owned());
    Some(case)
}

#[test]
fn no_bit_of_what_is_signed_can_be_turned() {
    let mut judged = 0;
    for case in cases() {
        let Some(Sample { signed: texts, .. }) = case.coded.as_deref().and_then(sample) else { continue };
        let signed = case.signed();
        let url = signed.url.clone().into_bytes();
        for text in texts {
            let in_url = !contains(&signed.body, text.as_bytes());
            let whole = if in_url { &url } else { &signed.body };
            let start = place(whole, text.as_bytes()).unwrap_or_else(|| panic!("{}: {text}", case.name));
            for bit in 0..text.len() * 8 {
                let mut turned = whole.clone();
                turned[start + bit / 8] ^= 1 << (bit % 8);
                let taken = if in_url {
                    let Ok(url) = String::from_utf8(turned) else { continue };
                    signed.verifier.verify(&post(&url, &signed.headers, &signed.body), now()).is_ok()
                } else {
                    signed.verify(&signed.headers, &turned).is_ok()
                };
                assert!(!taken, "{}: bit {bit} of `{text}`", case.name);
                judged += 1;
            }
        }
    }
    assert!(judged > 3_500, "only {judged} bits");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    place(text, part).is_some()
}

fn place(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Where the signature stands inside the body it is no safer than in a header.
#[test]
fn no_digit_of_a_signature_in_the_body_can_be_changed() {
    let mut judged = 0;
    for case in cases().iter().filter(|case| case.coded.is_some()) {
        let signed = case.signed();
        if case.scheme.signature_headers().is_empty() {
            for at in 0..signed.body.len() {
                let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
                let run = signed.body[at..].iter().take_while(|byte| token(byte)).count();
                let begins = at == 0 || !token(&signed.body[at - 1]);
                // Signatures are the only words of the samples that are as long and that signing puts there.
                if !begins || run < 28 || contains(&case.body, &signed.body[at..at + run]) {
                    continue;
                }
                for place in at..at + run {
                    let mut changed = signed.body.clone();
                    changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
                    assert!(signed.verify(&signed.headers, &changed).is_err(), "{} at {place}", case.name);
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 300, "only {judged} digits");
}

/// Bodies of no sense, and pieces of good ones put together anew.
#[test]
fn whatever_arrives_is_refused_unless_it_says_what_was_signed() {
    let cases: Vec<_> =
        cases().into_iter().filter(|case| case.coded.is_some() && !case.body_is_free).collect();
    let signed: Vec<_> = cases.iter().map(Case::signed).collect();
    let kinds = [JSON, FORM, "multipart/form-data; boundary=b", "multipart/form-data", "text/plain", ""];
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    check(200, (body, 0..kinds.len(), any::<u16>(), any::<u16>()), |(body, kind, from, to)| {
        for (case, signed) in cases.iter().zip(&signed) {
            let size = signed.body.len();
            let (from, to) = (usize::from(from) % (size + 1), usize::from(to) % (size + 1));
            let (head, tail) = (&signed.body[..from], &signed.body[to..]);
            let mut headers = signed.headers.clone();
            headers.insert("content-type", HeaderValue::from_static(kinds[kind]));
            let good = signed.verifier.verify(&post(&signed.url, &signed.headers, &signed.body), now());
            let good = good.map_err(|error| TestCaseError::fail(format!("{}: {error}", case.name)))?;
            for other in [body.clone(), [head, &body, tail].concat(), [head, tail].concat()] {
                for headers in [&headers, &signed.headers] {
                    let request = post(&signed.url, headers, &other);
                    if let Ok(verified) = signed.verifier.verify(&request, now()) {
                        let same = verified.content_sha256() == good.content_sha256();
                        // Of this scheme the digest tells bodies apart, of which most is not signed.
                        prop_assert!(same || case.name == "dropbox-sign", "{}: {:?}", case.name, other);
                    }
                }
            }
        }
        Ok(())
    });
}

#[test]
fn without_its_settings_a_scheme_verifies_nothing_and_signs_nothing() {
    let case = cases().into_iter().find(|case| case.coded.as_deref() == Some("braintree")).unwrap();
    let signed = case.signed();
    let bare = Verifier::new(case.scheme.clone(), vec![case.secret.clone()]).unwrap();
    let request = post(&signed.url, &signed.headers, &signed.body);
    assert_eq!(bare.verify(&request, now()).unwrap_err().reason.code(), "missing_setting");
    let nobody = case.verifier_with(vec![]).unwrap();
    assert_eq!(nobody.verify(&request, now()).unwrap_err().reason.code(), "no_live_secret");
    let unknown = bare.clone().with_settings(Settings::default().with("pubic_key", "x")).unwrap_err();
    let keys: Vec<_> = unknown.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["public_key", "pubic_key"]);
}

#[test]
fn a_scheme_says_whether_it_signs_inside_the_request() {
    for (name, inside) in [("github", false), ("docusign", false), ("microsoft-graph", true), ("adyen", true)]
    {
        assert_eq!(provider(name).unwrap().scheme.signs_inside(), inside, "{name}");
    }
}

#[test]
fn headers_alone_do_not_sign_what_is_signed_in_the_body() {
    for case in cases().iter().filter(|case| case.coded.is_some()) {
        let verifier = case.verifier();
        let request = post(&case.url, &case.headers, &case.body);
        let sealed = verifier.seal(&request, Some("msg_1"), now()).unwrap();
        let inside = sealed.body.is_some() || sealed.url.is_some();
        assert_eq!(inside, case.scheme.signs_inside(), "{}", case.name);
        match verifier.sign(&request, Some("msg_1"), now()) {
            // Not every signature comes out the same twice.
            Ok(headers) => assert!(!inside && headers.keys().eq(sealed.headers.keys()), "{}", case.name),
            Err(error) => {
                assert!(inside && error.to_string().contains("inside the request"), "{}", case.name);
            }
        }
    }
}
