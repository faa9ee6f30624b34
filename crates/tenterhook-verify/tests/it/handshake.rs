//! Handshakes: what is answered, and that nobody can have anything signed or learnt by asking.

use std::time::SystemTime;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::any;
use tenterhook_verify::handshake::HandshakeSpec;
use tenterhook_verify::{
    Handshake, HandshakeError, HandshakeReason, HandshakeSettings, Handshakes, Reason, Request, Secret,
    Verifier,
};

use crate::support::{SECRET, check, compiled, now};

const SIGNED: &str = "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"";

/// A source with one scheme and one handshake.
struct Source {
    handshakes: Handshakes,
    verifier: Verifier,
    settings: HandshakeSettings,
}

/// What came out: status and body, a reason, or an event.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    Event,
    Answer(u16, String),
    Learn(Vec<u8>),
    Confirm(String),
    Refused(HandshakeReason, u16),
    Unverified(Reason),
}

fn answer(body: &str) -> Out {
    Out::Answer(200, body.to_owned())
}

fn written(handshake: &str) -> Result<Handshakes, String> {
    let spec: HandshakeSpec = toml::from_str(handshake).map_err(|error| error.to_string())?;
    HandshakeSpec::compile(&[spec]).map_err(|errors| format!("{errors:?}"))
}

impl Source {
    fn new(handshake: &str) -> Self {
        let handshakes = written(handshake).unwrap();
        let verifier = Verifier::new(compiled(SIGNED), vec![Secret::new(SECRET)]).unwrap();
        let settings = HandshakeSettings {
            verify_token: Some(Secret::new("meatyhamhock")),
            topics: vec!["https://example.com/feed".to_owned()],
            allowed_origins: vec!["sender.example.com".to_owned()],
            ..HandshakeSettings::default()
        };
        Self { handshakes, verifier, settings }
    }

    fn get(&self, target: &str) -> Out {
        self.ask(&Method::GET, target, &[], b"")
    }

    fn post(&self, headers: &[(&str, &str)], body: &str) -> Out {
        self.ask(&Method::POST, "/in", headers, body.as_bytes())
    }

    /// A POST that is signed.
    fn signed(&self, headers: &[(&str, &str)], body: &str) -> Out {
        let signature = mac(body.as_bytes());
        let headers: Vec<_> = headers.iter().copied().chain([("x-sig", signature.as_str())]).collect();
        self.post(&headers, body)
    }

    /// The way of a request through a gateway.
    fn ask(&self, method: &Method, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Out {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let request = Request { method, url: Some(target), headers: &map, body };
        let Self { handshakes, verifier, settings } = self;
        let out = match handshakes.before(&request, verifier, settings, now()) {
            Ok(None) => match verifier.verify(&request, now()) {
                Ok(verified) => handshakes.after(&verified, verifier, settings, now()),
                Err(error) => return Out::Unverified(error.reason),
            },
            out => out,
        };
        match out {
            Ok(None) => Out::Event,
            Ok(Some(Handshake::Answer(answer))) => {
                let nosniff = answer
                    .headers
                    .iter()
                    .any(|(name, value)| name == "x-content-type-options" && value == "nosniff");
                assert!(nosniff, "{answer:?}");
                let kind =
                    answer.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value);
                let plain = kind
                    .is_some_and(|kind| kind == "text/plain; charset=utf-8" || kind == "application/json");
                assert!(answer.body.is_empty() || plain, "{answer:?}");
                Out::Answer(answer.status, answer.body)
            }
            Ok(Some(Handshake::Learn { secret, .. })) => Out::Learn(secret.expose().to_vec()),
            Ok(Some(Handshake::Confirm { url, .. })) => Out::Confirm(url),
            Ok(Some(other)) => panic!("{other:?}"),
            Err(HandshakeError::Unverified(error)) => Out::Unverified(error.reason),
            Err(HandshakeError::Refused { reason, status, .. }) => Out::Refused(reason, status),
        }
    }
}

fn mac(content: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    HEXLOWER.encode(hmac::sign(&key, content).as_ref())
}

const HUB: &str = r#"
method = "GET"
when = { "query:hub.mode" = "subscribe" }
verify = "none"
expect = { "query:hub.verify_token" = "verify_token" }
challenge = "query:hub.challenge"
characters = "digits"
answer = { text = "{challenge}" }
"#;

#[test]
fn a_hub_challenge_is_echoed_to_whoever_knows_the_verify_token_and_to_nobody_else() {
    let source = Source::new(HUB);
    let token = "hub.verify_token=meatyhamhock";
    assert_eq!(
        source.get(&format!("/in?hub.mode=subscribe&{token}&hub.challenge=1158201444")),
        answer("1158201444")
    );
    let refused = Out::Refused(HandshakeReason::TokenMismatch, 403);
    assert_eq!(source.get("/in?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1"), refused);
    assert_eq!(source.get("/in?hub.mode=subscribe&hub.challenge=1"), refused);
    let mut unset = Source::new(HUB);
    for token in [None, Some(Secret::new(""))] {
        unset.settings.verify_token = token;
        assert_eq!(unset.get("/in?hub.mode=subscribe&hub.verify_token=&hub.challenge=1"), refused);
    }
    let repeated = Out::Refused(HandshakeReason::RepeatedParameter, 400);
    assert_eq!(source.get(&format!("/in?hub.mode=subscribe&{token}&{token}&hub.challenge=1")), repeated);
    assert_eq!(
        source.get(&format!("/in?hub.mode=subscribe&{token}&hub.challenge=1&hub.challenge=2")),
        repeated
    );
    assert_eq!(source.get("/in?hub.mode=unsubscribe"), Out::Unverified(Reason::MissingSignature));
}

#[test]
fn a_challenge_with_markup_or_of_another_length_is_not_echoed() {
    let malformed = Out::Refused(HandshakeReason::MalformedChallenge, 400);
    let digits = Source::new(HUB);
    for challenge in [
        "",
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "1%0d%0aSet-Cookie:a=b",
        "%00",
        "%ff",
        "١",
        &"1".repeat(129),
    ] {
        let target =
            format!("/in?hub.mode=subscribe&hub.verify_token=meatyhamhock&hub.challenge={challenge}");
        assert_eq!(digits.get(&target), malformed, "{challenge}");
    }
    for (characters, taken, refused) in [
        ("hex", "0aF".to_lowercase(), "0aF"),
        ("token", "aZ_9-".to_owned(), "a.b"),
        ("word", "a.b~c%2Bd/e=:".to_owned(), "a%20b"),
        ("line", "Validation: a (b)".replace(' ', "+"), "a%26b"),
    ] {
        let source = Source::new(&format!(
            "method = \"GET\"\nwhen = {{ \"query:c\" = \"*\" }}\nverify = \"none\"\nchallenge = \"query:c\"\n\
             characters = \"{characters}\"\nanswer = {{ text = \"{{challenge}}\" }}"
        ));
        assert!(
            matches!(source.get(&format!("/in?c={taken}")), Out::Answer(200, _)),
            "{characters}: {taken}"
        );
        assert_eq!(source.get(&format!("/in?c={refused}")), malformed, "{characters}: {refused}");
    }
}

const SIGNED_ECHO: &str = r#"
when = { "json:/type" = "url_verification" }
challenge = "json:/challenge"
answer = { text = "{challenge}" }
"#;

#[test]
fn a_handshake_that_is_signed_is_verified_before_anything_is_answered() {
    let source = Source::new(SIGNED_ECHO);
    let body = r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#;
    assert_eq!(source.signed(&[], body), answer("3eZbrw1a"));
    assert_eq!(source.post(&[], body), Out::Unverified(Reason::MissingSignature));
    assert_eq!(source.post(&[("x-sig", &mac(b"another"))], body), Out::Unverified(Reason::SignatureMismatch));
    assert_eq!(source.signed(&[], r#"{"type":"event"}"#), Out::Event);
}

const CRC: &str = r#"
method = "GET"
when = { "query:crc_token" = "*" }
verify = "query"
challenge = "query:crc_token"
characters = "token"
length = [1, 128]
answer = { json = { response_token = "sha256={mac:hex}" } }
"#;

#[test]
fn a_mac_of_a_challenge_is_given_but_never_one_that_passes_for_an_event() {
    let source = Source::new(CRC);
    let token = "challenge-token-123";
    let expected = format!(r#"{{"response_token":"sha256={}"}}"#, mac(token.as_bytes()));
    assert_eq!(source.get(&format!("/in?crc_token={token}&nonce=abc")), answer(&expected));
    let malformed = Out::Refused(HandshakeReason::MalformedChallenge, 400);
    for event in [r#"{"id":1}"#, "[1]", "\"a\"", "a=b", "v0:1:b", "1.2", "a|b", "a b"] {
        let encoded: String = event.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(source.get(&format!("/in?crc_token={encoded}")), malformed, "{event}");
    }
    // What could be had by asking is no event, though its signature is right: bare words and numbers are JSON to some.
    for body in ["challenge-token-123", "12345", "true", "null"] {
        assert_eq!(
            source.signed(&[], body),
            Out::Refused(HandshakeReason::ContentIsChallenge, 401),
            "{body}"
        );
    }
    assert_eq!(source.signed(&[], r#"{"id":1}"#), Out::Event);
}

#[test]
fn whatever_a_stranger_asks_a_source_to_sign_is_refused_as_an_event() {
    let source = Source::new(CRC);
    check(2_000, any::<String>(), |text| {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        if let Out::Answer(..) = source.get(&format!("/in?crc_token={encoded}")) {
            proptest::prop_assert!(!matches!(source.signed(&[], &text), Out::Event));
        }
        Ok(())
    });
}

#[test]
fn a_signature_over_the_query_is_judged_where_one_is_there() {
    let source = Source::new(CRC);
    let (query, target) = ("crc_token=abc&nonce=1", "/in?crc_token=abc&nonce=1");
    let ask = |signature: &str| source.ask(&Method::GET, target, &[("x-sig", signature)], b"");
    assert!(matches!(ask(&mac(query.as_bytes())), Out::Answer(200, _)));
    assert_eq!(ask(&mac(b"crc_token=abd&nonce=1")), Out::Unverified(Reason::SignatureMismatch));
    assert_eq!(ask(""), Out::Unverified(Reason::MissingSignature));
}

#[test]
fn an_event_may_sign_something_else_than_its_body() {
    let source = Source::new(&format!("{CRC}\ncontent = \"form:payload\""));
    assert_eq!(source.signed(&[], "payload=abc"), Out::Refused(HandshakeReason::ContentIsChallenge, 401));
    assert_eq!(source.signed(&[], "payload=a.b"), Out::Event);
}

const LEARN: &str = r#"
when = { "header:X-Hook-Secret" = "*" }
verify = "learnt"
learn = "header:X-Hook-Secret"
challenge = "header:X-Hook-Secret"
length = [16, 128]
answer = { headers = { "X-Hook-Secret" = "{challenge}" } }
"#;

#[test]
fn a_key_is_learnt_only_while_a_registration_is_pending() {
    let mut source = Source::new(LEARN);
    let key = "a-key-of-the-provider-0123";
    assert_eq!(
        source.post(&[("x-hook-secret", key)], ""),
        Out::Refused(HandshakeReason::UnexpectedHandshake, 401)
    );
    assert_eq!(
        source.signed(&[("x-hook-secret", key)], "{}"),
        Out::Answer(200, String::new()),
        "our own key proves itself"
    );
    source.settings.pending = true;
    assert_eq!(source.post(&[("x-hook-secret", key)], ""), Out::Learn(key.as_bytes().to_vec()));
    assert_eq!(
        source.post(&[("x-hook-secret", "short")], ""),
        Out::Refused(HandshakeReason::MalformedKey, 400)
    );
    let twice = [("x-hook-secret", key), ("x-hook-secret", "another-key-0123456789")];
    assert!(matches!(source.post(&twice, ""), Out::Refused(..) | Out::Unverified(_)));
    let foreign = [("x-hook-secret", key), ("x-sig", &*mac(b""))];
    assert_eq!(
        source.post(&foreign, ""),
        Out::Unverified(Reason::SignatureMismatch),
        "signed, but not with that key"
    );
}

const CONFIRM: &str = r#"
when = { "json:/Type" = "SubscriptionConfirmation" }
expect = { "json:/TopicArn" = "topics" }
confirm = "json:/SubscribeURL"
hosts = ["sns.*.amazonaws.com"]
"#;

#[test]
fn a_url_is_confirmed_only_for_a_pinned_topic_on_a_host_of_the_provider_and_when_it_is_signed() {
    let mut source = Source::new(CONFIRM);
    let body = |topic: &str, url: &str| {
        format!(r#"{{"Type":"SubscriptionConfirmation","TopicArn":"{topic}","SubscribeURL":"{url}"}}"#)
    };
    let url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1";
    let ours = body("https://example.com/feed", url);
    assert_eq!(source.signed(&[], &ours), Out::Confirm(url.to_owned()));
    assert_eq!(source.post(&[], &ours), Out::Unverified(Reason::MissingSignature));
    assert_eq!(source.signed(&[], &body("arn:other", url)), Out::Refused(HandshakeReason::UnknownTopic, 403));
    for url in [
        "http://127.0.0.1/latest/meta-data/",
        "https://sns.us-east-1.amazonaws.com.evil.example/",
        "https://evil.example/",
        "",
    ] {
        let out = source.signed(&[], &body("https://example.com/feed", url));
        assert_eq!(out, Out::Refused(HandshakeReason::UrlNotAllowed, 403), "{url}");
    }
    let event = |topic: &str| format!(r#"{{"Type":"Notification","TopicArn":"{topic}"}}"#);
    assert_eq!(source.signed(&[], &event("https://example.com/feed")), Out::Event);
    let foreign = source.signed(&[], &event("arn:other"));
    assert_eq!(
        foreign,
        Out::Refused(HandshakeReason::UnknownTopic, 403),
        "signed, but of somebody else's topic"
    );
    source.settings.topics.clear();
    assert_eq!(source.signed(&[], &event("arn:other")), Out::Event);
    assert_eq!(source.signed(&[], &ours), Out::Event, "where no topic is pinned nothing is ever fetched");
}

#[test]
fn an_origin_is_granted_if_it_is_allowed() {
    let mut source = Source::new(
        r#"
        method = "OPTIONS"
        when = { "header:WebHook-Request-Origin" = "*" }
        verify = "none"
        expect = { "header:WebHook-Request-Origin" = "allowed_origins" }
        challenge = "header:WebHook-Request-Origin"
        characters = "word"
        answer = { headers = { "WebHook-Allowed-Origin" = "{challenge}", Allow = "POST" } }
        "#,
    );
    let ask = |source: &Source, origin| {
        source.ask(&Method::OPTIONS, "/in", &[("webhook-request-origin", origin)], b"")
    };
    assert_eq!(ask(&source, "sender.example.com"), answer(""));
    assert_eq!(ask(&source, "evil.example"), Out::Refused(HandshakeReason::UnknownOrigin, 405));
    source.settings.allowed_origins.clear();
    assert_eq!(ask(&source, "sender.example.com"), Out::Refused(HandshakeReason::UnknownOrigin, 405));
}

#[test]
fn a_rule_that_could_become_an_oracle_is_refused_when_it_is_read() {
    for (rule, what) in [
        (CRC.replace("\"token\"", "\"line\""), "too much is signed"),
        (CRC.replace("\"token\"", "\"word\""), "too much is signed"),
        (CRC.replace("128", "129"), "too much is signed"),
        (CONFIRM.replace("hosts = [\"sns.*.amazonaws.com\"]", "hosts = [\"*.com\"]"), "no list of hosts"),
        (CONFIRM.replace("hosts = [\"sns.*.amazonaws.com\"]", ""), "no host"),
        (format!("{CONFIRM}\nverify = \"none\""), "fetched for anybody"),
        (LEARN.replace("verify = \"learnt\"", ""), "belong together"),
        (SIGNED_ECHO.replace("challenge = \"json:/challenge\"", ""), "no `challenge`"),
        (SIGNED_ECHO.replace("when = { \"json:/type\" = \"url_verification\" }", ""), "every POST"),
        (HUB.replace("\"GET\"", "\"PUT\""), "no method"),
        (HUB.replace("{challenge}", "{secret}"), "cannot be filled in"),
        (HUB.replace("verify_token\" }", "secret\" }"), "no setting"),
        (format!("{HUB}length = [0, 5]"), "shortest"),
        (format!("{HUB}length = [1, 5000]"), "shortest"),
    ] {
        let problem = written(&rule).unwrap_err();
        assert!(problem.contains(what), "{rule}\n{problem}");
    }
}

#[test]
fn a_source_whose_secrets_have_all_ended_signs_no_challenge() {
    let mut source = Source::new(CRC);
    let ended = Secret::new(SECRET).during(None, Some(SystemTime::UNIX_EPOCH));
    source.verifier = Verifier::new(compiled(SIGNED), vec![ended]).unwrap();
    assert_eq!(source.get("/in?crc_token=abc"), Out::Unverified(Reason::NoLiveSecret));
}
