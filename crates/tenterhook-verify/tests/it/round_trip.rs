//! `sign` is the mirror of `verify`: what one makes, the other takes.

use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use tenterhook_verify::provider::provider;
use tenterhook_verify::{Reason, Request, Secret, Verifier};

use super::support::{cases, check, compiled, now, post};

#[test]
fn every_scheme_takes_what_it_signs_and_says_what_it_found() {
    for case in &cases() {
        let signed = case.signed();
        let request = Request {
            method: &Method::POST,
            url: Some(&signed.url),
            headers: &signed.headers,
            body: &signed.body,
        };
        let verified = signed.verifier.verify(&request, now() + Duration::from_millis(700)).unwrap();
        assert_eq!(verified.secret_index(), Some(0), "{}", case.name);
        assert_eq!(verified.request().body, signed.body, "{}", case.name);
        // A nonce is no time.
        let timed = case.scheme.signs_time() && !case.name.starts_with("plivo");
        assert_eq!(verified.signed_at().is_some(), timed, "{}", case.name);
        assert!(
            verified.signed_at().is_none_or(|at| at == now()),
            "{}: {:?}",
            case.name,
            verified.signed_at()
        );
        let explained = signed.verifier.explain(&request, now());
        assert_eq!(explained.verdict, Ok(Some(0)), "{}: {explained:?}", case.name);
        // What is signed again, over what was signed before, is signed as well.
        let later = now() + Duration::from_secs(1);
        let again = signed.verifier.seal(&request, Some("msg_2"), later).unwrap();
        let mut headers = signed.headers.clone();
        headers.extend(again.headers);
        let url = again.url.unwrap_or_else(|| signed.url.clone());
        let body = again.body.unwrap_or_else(|| signed.body.clone());
        let again = signed.verifier.verify(&post(&url, &headers, &body), later);
        assert!(again.is_ok(), "{}: {again:?}", case.name);
    }
}

#[test]
fn any_body_at_any_time_is_taken_as_it_was_signed_and_no_other() {
    let cases: Vec<_> = cases().into_iter().filter(|case| !case.reads_body).collect();
    let inputs = (proptest::collection::vec(any::<u8>(), 0..300), 1_000_000_000_000_u64..4_000_000_000_000);
    check(48, inputs, |(body, millis)| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        for case in &cases {
            let signed = case.sign("msg_1", &body, now);
            prop_assert_eq!(signed.judge(&signed.headers, &body, now), Ok(()), "{}", case.name);
            let longer = [&body[..], b"\0"].concat();
            let verdict = signed.judge(&signed.headers, &longer, now);
            prop_assert_eq!(verdict.is_ok(), case.is_token() || case.body_is_free, "{}", case.name);
        }
        Ok(())
    });
}

/// Fields with every sort of character, and the form that they make.
fn forms() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec((any::<String>(), any::<String>()), 0..12)
}

#[test]
fn any_form_is_taken_as_twilio_signs_it_in_any_order_and_on_either_port() {
    let scheme = provider("twilio").unwrap().scheme.clone();
    let verifier = Verifier::new(scheme, vec![Secret::new("a-secret-of-the-verify-tests-0123")]).unwrap();
    let written = |pairs: &[(String, String)]| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
    };
    check(300, (forms(), forms(), any::<bool>()), |(fields, query, ported)| {
        let query = String::from_utf8(written(&query)).unwrap();
        let url = |port: &str| format!("https://hooks.example.com{port}/in?{query}");
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/x-www-form-urlencoded; charset=UTF-8"),
        );
        let (signed_url, configured_url) =
            if ported { (url(":443"), url("")) } else { (url(""), url(":443")) };
        let body = written(&fields);
        let signature = verifier.sign(&post(&signed_url, &headers, &body), None, now()).unwrap();
        headers.extend(signature);
        let mut turned = fields.clone();
        turned.reverse();
        let turned = written(&turned);
        for body in [&body, &turned] {
            for url in [&signed_url, &configured_url] {
                let verdict = verifier.verify(&post(url, &headers, body), now());
                prop_assert!(verdict.is_ok(), "{:?}", verdict.err());
            }
        }
        let mut longer = fields;
        longer.push(("Extra".to_owned(), "1".to_owned()));
        let longer = written(&longer);
        let refused = verifier.verify(&post(&signed_url, &headers, &longer), now());
        prop_assert_eq!(refused.map(drop).unwrap_err().reason, Reason::SignatureMismatch);
        Ok(())
    });
}

#[test]
fn json_for_twilio_is_signed_through_its_hash_in_the_url_or_not_at_all() {
    let scheme = provider("twilio").unwrap().scheme.clone();
    let verifier = Verifier::new(scheme, vec![Secret::new("a-secret-of-the-verify-tests-0123")]).unwrap();
    check(100, proptest::collection::vec(any::<u8>(), 1..200), |body| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let bare = "https://hooks.example.com/in";
        let request = Request { method: &Method::POST, url: Some(bare), headers: &headers, body: &body };
        let hint = verifier.sign(&request, None, now()).unwrap_err().to_string();
        let hash = HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body).as_ref());
        prop_assert!(hint.contains(&format!("`bodySHA256={hash}`")), "{}", hint);
        for url in
            [format!("{bare}?bodySHA256={hash}"), format!("{bare}?a=1&bodySHA256={}", hash.to_uppercase())]
        {
            let request = Request { url: Some(&url), ..request };
            let mut signed = headers.clone();
            signed.extend(verifier.sign(&request, None, now()).unwrap());
            let request = Request { headers: &signed, ..request };
            prop_assert!(verifier.verify(&request, now()).is_ok());
            let other = [&body[..], b" "].concat();
            let refused = verifier.verify(&Request { body: &other, ..request }, now());
            prop_assert_eq!(refused.map(drop).unwrap_err().reason, Reason::BodyHashMismatch);
        }
        Ok(())
    });
}

#[test]
fn a_token_stands_where_the_scheme_says_and_credentials_are_encoded() {
    let made = |written: &str, secret: &str| {
        let verifier = Verifier::new(compiled(written), vec![Secret::new(secret)]).unwrap();
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: b"{}" };
        let made = verifier.sign(&request, None, now()).unwrap();
        assert!(made.values().all(HeaderValue::is_sensitive), "{made:?}");
        let verdict = verifier.verify(&Request { headers: &made, ..request }, now());
        assert!(verdict.is_ok(), "{written}: {verdict:?}");
        let (name, value) = made.iter().next().unwrap();
        format!("{name}: {}", value.to_str().unwrap())
    };
    let token = "header = \"X-Token\"\nalgorithm = \"token\"";
    assert_eq!(made(token, "abc"), "x-token: abc");
    let bearer = "header = \"Authorization\"\nalgorithm = \"token\"\nprefix = \"Bearer \"";
    assert_eq!(made(bearer, "abc"), "authorization: Bearer abc");
    assert_eq!(
        made("algorithm = \"basic\"", "Aladdin:open sesame"),
        "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
    let in_body = Verifier::new(
        compiled("signature = \"json:/token\"\nalgorithm = \"token\""),
        vec![Secret::new("abc")],
    );
    let (in_body, headers) = (in_body.unwrap(), HeaderMap::new());
    for (body, verdict) in [
        (r#"{"token":"abc"}"#, Ok(())),
        (r#"{"token":"abd"}"#, Err(Reason::TokenMismatch)),
        (r#"{"token":"abcd"}"#, Err(Reason::TokenMismatch)),
        (r#"{"token":""}"#, Err(Reason::MissingSignature)),
        (r#"{"other":"abc"}"#, Err(Reason::MissingSignature)),
    ] {
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: body.as_bytes() };
        let got = in_body.verify(&request, now()).map(drop).map_err(|error| error.reason);
        assert_eq!(got, verdict, "{body}");
        assert!(in_body.sign(&request, None, now()).is_err(), "nothing can be written into a body");
    }
}

#[test]
fn a_public_key_signs_nothing() {
    for name in ["svix", "standard-webhooks"] {
        let scheme = provider(name).unwrap().scheme(Some(&format!("{name}-asymmetric"))).unwrap();
        let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        let verifier = Verifier::new(scheme.clone(), vec![Secret::new(public)]).unwrap();
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url: None, headers: &headers, body: b"{}" };
        let refused = verifier.sign(&request, Some("msg_1"), now()).unwrap_err();
        assert!(refused.to_string().contains("private"), "{refused}");
    }
}

#[test]
fn what_cannot_be_signed_says_what_it_lacks() {
    let lacks = |written: &str, secrets: Vec<Secret>, url: Option<&str>| {
        let verifier = Verifier::new(compiled(written), secrets).unwrap();
        let headers = HeaderMap::new();
        let request = Request { method: &Method::POST, url, headers: &headers, body: b"{}" };
        verifier.sign(&request, None, now()).unwrap_err().to_string()
    };
    let mac = "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"";
    let secret = || vec![Secret::new("a-secret-of-the-verify-tests-0123")];
    for (written, secrets, word) in [
        (format!("{mac}\ncontent = \"{{header:X-Id}}.{{body}}\""), secret(), "give an id"),
        (format!("{mac}\ncontent = \"{{url}}{{body}}\""), secret(), "public URL"),
        (format!("{mac}\ncontent = \"{{json:/id}}{{body}}\""), secret(), "`json:/id`"),
        ("scheme = \"twilio\"".to_owned(), secret(), "public URL"),
        (mac.to_owned(), Vec::new(), "no secret"),
        ("header = \"X-Token\"\nalgorithm = \"token\"".to_owned(), Vec::new(), "no secret"),
        (mac.replace("header = \"X-Sig\"", "signature = \"json:/sig\""), secret(), "inside the request"),
    ] {
        let said = lacks(&written, secrets, None);
        assert!(said.contains(word), "{written}: {said}");
    }
}
