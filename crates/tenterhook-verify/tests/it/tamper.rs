//! Requests that somebody touched: whatever is changed, cut, swapped or confused, nothing is taken.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::provider::provider;
use tenterhook_verify::{Reason, Request, Secret, Verifier};

use super::support::{Case, Signed, cases, compiled, now};

fn verifier(name: &str, secret: &str) -> Verifier {
    let provider = provider(name).unwrap();
    Verifier::new(provider.scheme.clone(), vec![Secret::new(secret)]).unwrap()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

#[test]
fn no_byte_of_the_body_can_be_changed_added_or_taken() {
    for case in cases().iter().filter(|case| !case.is_token() && case.signs_body) {
        let signed = case.signed();
        for place in 0..signed.body.len() {
            for bit in 0..8 {
                let mut body = signed.body.clone();
                body[place] ^= 1 << bit;
                assert!(signed.verify(&signed.headers, &body).is_err(), "{} byte {place}", case.name);
            }
            let (head, tail) = signed.body.split_at(place);
            let taken = [head, &tail[1..]].concat();
            let added = [head, &b"1"[..], tail].concat();
            for body in [taken, added, head.to_vec()] {
                assert!(signed.verify(&signed.headers, &body).is_err(), "{} at {place}", case.name);
            }
        }
        for more in [&b"\n"[..], b" ", b"\0", b"1", b"&a=1", &signed.body] {
            let body = [&signed.body[..], more].concat();
            assert!(signed.verify(&signed.headers, &body).is_err(), "{} with {more:?} behind it", case.name);
        }
    }
}

/// A form that says the same in other bytes is the same form, and no other is.
#[test]
fn a_form_is_taken_if_it_says_what_was_signed() {
    let case = case("twilio");
    let signed = case.signed();
    for place in 0..signed.body.len() {
        for byte in [b'&', b'=', b'+', b'%', b'1', b'\0'] {
            let (head, tail) = signed.body.split_at(place);
            for body in [[head, &[byte], tail].concat(), [head, &[byte], &tail[1..]].concat()] {
                let same = form(&body) == form(&signed.body);
                assert_eq!(signed.verify(&signed.headers, &body).is_ok(), same, "{place}");
            }
        }
    }
}

/// What Twilio signs of a form: its sorted names and values, one behind the other.
fn form(body: &[u8]) -> String {
    let mut pairs: Vec<_> = form_urlencoded::parse(body).into_owned().collect();
    pairs.sort();
    pairs.dedup();
    pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()
}

#[test]
fn no_byte_of_a_signature_time_or_id_can_be_changed_and_none_may_be_cut_or_added() {
    for case in &cases() {
        let signed = case.signed();
        for name in &signed.names {
            let value = signed.headers[name].as_bytes();
            let refused = |headers: Option<HeaderMap>, what: &str| {
                let taken = headers.is_some_and(|headers| signed.verify(&headers, &signed.body).is_ok());
                assert!(!taken, "{}: {name} {what}", case.name);
            };
            for place in 0..value.len() {
                for bit in 0..8 {
                    let mut changed = value.to_vec();
                    changed[place] ^= 1 << bit;
                    // Upper and lower case are the same hexadecimal digit, and the same `Bearer`.
                    let same_case = changed.eq_ignore_ascii_case(value)
                        && (value.iter().rev().take(40).all(u8::is_ascii_hexdigit) || place < 6);
                    if !same_case {
                        refused(signed.with(name, &changed), &format!("byte {place} bit {bit}"));
                    }
                }
                refused(signed.with(name, &value[..place]), &format!("cut at {place}"));
                let bare = case.prefix_optional && value[place] == b'=';
                refused(
                    signed.with(name, &value[place + 1..]).filter(|_| !bare),
                    &format!("without its first {place} and one"),
                );
            }
            for more in [&b"0"[..], b"00", b"=", b"A", b"\xc2\xa0", b"a b"] {
                if case.padding_optional && more == b"=" {
                    continue;
                }
                refused(signed.with(name, &[value, more].concat()), &format!("with {more:?} behind it"));
            }
            for odd in
                [&b"\xff\xfe"[..], b"", b" ", b"\t", b"=", b",", b"v1,", b"t=,v1=", b"sha256=", b"null", b"0"]
            {
                refused(signed.with(name, odd), &format!("{odd:?}"));
            }
            let mut missing = signed.headers.clone();
            missing.remove(name);
            refused(Some(missing), "missing");
        }
    }
}

#[test]
fn a_header_that_is_sent_twice_is_not_chosen_from() {
    for case in &cases() {
        let signed = case.signed();
        for name in &signed.names {
            let good = signed.headers[name].clone();
            let bad = HeaderValue::from_static("0000");
            for [first, second] in [[&good, &good], [&good, &bad], [&bad, &good]] {
                let mut headers = signed.headers.clone();
                headers.remove(name);
                headers.append(name, first.clone());
                headers.append(name, second.clone());
                assert!(signed.verify(&headers, &signed.body).is_err(), "{} {name}", case.name);
                assert!(
                    signed.verifier.screen(&headers, now()).is_err(),
                    "{} {name}: not at the head",
                    case.name
                );
            }
        }
    }
}

/// Two requests of one sender: every way of putting parts of both together is refused.
#[test]
fn pieces_of_two_good_requests_make_no_third() {
    // Plivo's second version signs neither.
    let whole = |case: &&Case| {
        !case.is_token()
            && !case.body_is_free
            && !case.name.contains("hash of the body")
            && case.name != "plivo v2"
    };
    for case in cases().iter().filter(whole) {
        let body = String::from_utf8(case.body.clone())
            .unwrap()
            .replace("1", "3")
            .replace("3790000000", "1790000002");
        let one = case.sign("msg_1", &case.body, now());
        let two = case.sign("msg_2", body.as_bytes(), now() + Duration::from_secs(2));
        assert_eq!(one.verify(&two.headers, &two.body), Ok(()), "{}", case.name);
        let differing: Vec<_> =
            one.names.iter().filter(|name| one.headers[*name] != two.headers[*name]).collect();
        // Each bit says from which of the two a piece is: the lowest is the body's.
        for choice in 1..(1_u32 << (differing.len() + 1)) - 1 {
            let body = if choice & 1 == 0 { &one.body } else { &two.body };
            let mut headers = one.headers.clone();
            for (index, name) in differing.iter().enumerate() {
                let from = if choice >> (index + 1) & 1 == 0 { &one } else { &two };
                headers.insert(*name, from.headers[*name].clone());
            }
            assert!(one.verify(&headers, body).is_err(), "{} mixed as {choice:b}", case.name);
        }
    }
}

#[test]
fn another_nobodys_or_a_former_secret_opens_nothing() {
    for case in &cases() {
        let signed = case.signed();
        let request = Request {
            method: &Method::POST,
            url: Some(&signed.url),
            headers: &signed.headers,
            body: &signed.body,
        };
        let verdict = |secrets: Vec<Secret>| {
            let verifier = case.verifier_with(secrets).unwrap();
            verifier
                .verify(&request, now())
                .map(|verified| verified.secret_index())
                .map_err(|error| error.reason)
        };
        let mismatch = if case.is_token() { Reason::TokenMismatch } else { Reason::SignatureMismatch };
        assert_eq!(verdict(vec![case.other.clone()]), Err(mismatch), "{}", case.name);
        assert_eq!(verdict(vec![case.other.clone(), case.secret.clone()]), Ok(Some(1)), "{}", case.name);
        let second = Duration::from_secs(1);
        let ended = case.secret.clone().during(None, Some(now()));
        let future = case.secret.clone().during(Some(now() + second), None);
        let none = Err(Reason::NoLiveSecret);
        assert_eq!(verdict(vec![ended.clone(), future]), none, "{}", case.name);
        assert_eq!(verdict(vec![ended, case.other.clone()]), Err(mismatch), "{}", case.name);
        let nobody = if case.scheme.fetches_keys() { Reason::KeyNotAtHand } else { Reason::NoLiveSecret };
        assert_eq!(verdict(Vec::new()), Err(nobody), "{} without any secret", case.name);
        let last = case.secret.clone().during(Some(now()), Some(now() + second));
        assert_eq!(verdict(vec![last]), Ok(Some(0)), "{}", case.name);
        let empty = case.verifier_with(vec![case.secret.clone(), Secret::new("")]).unwrap_err();
        assert_eq!(
            (empty.len(), empty[0].key.as_str()),
            (1, "secrets"),
            "{} with an empty secret",
            case.name
        );
    }
}

#[test]
fn a_key_of_no_bytes_is_no_key() {
    for (name, text) in [("svix", "whsec_"), ("standard-webhooks", "whsec_"), ("svix", "whsec_==")] {
        let scheme = provider(name).unwrap().scheme.clone();
        assert!(Verifier::new(scheme, vec![Secret::new(text)]).is_err(), "{name} {text}");
    }
    for key in ["hex", "base64"] {
        let scheme = compiled(&format!(
            "header = \"X-Sig\"\nmac = \"hmac-sha256\"\nencoding = \"hex\"\nkey = \"{key}\""
        ));
        for text in ["", " ", "zz!", "\n"] {
            assert!(Verifier::new(scheme.clone(), vec![Secret::new(text)]).is_err(), "{key} {text:?}");
        }
    }
}

#[test]
fn a_request_cannot_buy_thousands_of_macs() {
    let flooded = |name: &str, header: &'static str, value: String| {
        let case = case(name);
        let signed = case.signed();
        let good = signed.headers[header].to_str().unwrap().to_owned();
        for value in [value.clone(), format!("{good}{value}"), format!("{value}{good}")] {
            let headers = signed.with(&named(header), value.as_bytes()).unwrap();
            assert_eq!(signed.verify(&headers, &signed.body), Err(Reason::TooManyCandidates), "{name}");
            let screened = signed.verifier.screen(&headers, now()).unwrap_err();
            assert_eq!(screened.reason, Reason::TooManyCandidates, "{name}: seen by the head already");
        }
    };
    let hex = "0".repeat(64);
    let base64 = format!("{}=", "A".repeat(43));
    flooded(
        "stripe",
        "stripe-signature",
        format!(",t=1790000000{},", format!(",v1={hex}").repeat(2_000)).replacen(",t=1790000000", "", 1),
    );
    flooded("svix", "svix-signature", format!(" v1,{base64}").repeat(2_000) + " ");
    flooded("standard-webhooks", "webhook-signature", format!(" v1,{base64}").repeat(2_000) + " ");
    flooded(
        "standard-webhooks-asymmetric",
        "webhook-signature",
        format!(" v1a,{base64}").repeat(2_000) + " ",
    );
}

#[test]
fn headers_without_end_are_counted_before_anything_is_tried() {
    let case = case("header = \"X-Sig-*\"\nmac = \"hmac-sha256\"\nencoding = \"base64\"");
    let signed = case.signed();
    let mut headers = signed.headers.clone();
    for index in 0..2_000 {
        let name = HeaderName::from_bytes(format!("x-sig-{}", index + 2).as_bytes()).unwrap();
        headers.insert(name, signed.headers["x-sig-1"].clone());
    }
    assert_eq!(signed.verify(&headers, &signed.body), Err(Reason::TooManyCandidates));
    assert_eq!(signed.verifier.screen(&headers, now()).unwrap_err().reason, Reason::TooManyCandidates);
}

#[test]
fn sixteen_signatures_are_taken_and_the_seventeenth_is_too_many() {
    let stripe = case("stripe");
    let signed = stripe.signed();
    let good = signed.headers["stripe-signature"].to_str().unwrap().to_owned();
    let others = |count: usize| format!(",v1={}", "0".repeat(64)).repeat(count);
    for (count, verdict) in [(15, Ok(())), (16, Err(Reason::TooManyCandidates))] {
        let (time, signature) = good.split_once(',').unwrap();
        let value = format!("{time}{},{signature}", others(count));
        let headers = signed.with(&named("stripe-signature"), value.as_bytes()).unwrap();
        assert_eq!(signed.verify(&headers, &signed.body), verdict, "{count}");
    }
}

#[test]
fn a_mac_keyed_with_a_public_key_is_not_a_signature() {
    let public = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    for (name, header, chosen) in [
        ("standard-webhooks", "webhook-signature", "standard-webhooks-asymmetric"),
        ("svix", "svix-signature", "svix-asymmetric"),
    ] {
        let case = case(name);
        let scheme = provider(name).unwrap().scheme(Some(chosen)).unwrap().clone();
        let asymmetric = Verifier::new(scheme, vec![Secret::new(format!("whpk_{public}"))]).unwrap();
        let forger = Case { secret: Secret::new(format!("whsec_{public}")), ..case };
        let forged = forger.signed();
        let verdict = |headers: &HeaderMap| {
            let request = Request { method: &Method::POST, url: None, headers, body: &forged.body };
            asymmetric.verify(&request, now()).unwrap_err().reason
        };
        assert_eq!(verdict(&forged.headers), Reason::NoSupportedScheme, "{name}");
        let as_v1a = forged.headers[header].to_str().unwrap().replacen("v1,", "v1a,", 1);
        let renamed = forged.with(&named(header), as_v1a.as_bytes()).unwrap();
        assert_eq!(
            verdict(&renamed),
            Reason::MalformedSignature,
            "{name}: a MAC is not as long as a signature"
        );
    }
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
    for case in cases().iter().filter(|case| !case.is_token() && !case.scheme.is_asymmetric()) {
        for text in texts {
            let refused = Verifier::new(case.scheme.clone(), vec![Secret::new(text)]).unwrap_err();
            assert_eq!(refused[0].key, "secrets", "{} {text}", case.name);
            assert!(refused[0].message.contains("public key"), "{} {text}: {refused:?}", case.name);
            assert!(!format!("{refused:?}").contains("AQID"), "{refused:?}");
        }
    }
}

#[test]
fn a_scheme_takes_no_signature_of_another_scheme_with_the_same_secret() {
    let cases = cases();
    let all: Vec<_> = cases.iter().map(|case| (case, case.signed())).collect();
    for ((one, signed), (other, theirs)) in
        all.iter().flat_map(|one| all.iter().map(move |other| (one, other)))
    {
        if one.name == other.name
            || one.name.contains("twilio") && other.name.contains("twilio")
            || one.is_token()
            || one.scheme.signature_headers().is_empty()
        {
            continue;
        }
        let value =
            signed.names.iter().filter_map(|name| signed.headers[name].to_str().ok()).max_by_key(|v| v.len());
        for name in &theirs.names {
            let headers = theirs.with(name, value.unwrap().as_bytes()).unwrap();
            let taken = theirs.verify(&headers, &theirs.body).is_ok();
            // The very same MAC in another dress, such as without its prefix, is not another scheme's.
            let same = other.mac_by_prefix || other.prefix_optional && headers[name].as_bytes().len() == 64;
            assert!(
                !taken || same || headers == theirs.headers,
                "{} takes what {} made",
                other.name,
                one.name
            );
        }
    }
}

#[test]
fn another_spelling_of_an_url_is_no_other_transmission() {
    let twilio = verifier("twilio", "a-secret-of-the-verify-tests-0123");
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

/// Neither the secret nor what would have been right, whole or a good part of it, however it is printed.
#[test]
fn what_is_said_about_a_refusal_tells_neither_the_secret_nor_the_signature_that_was_expected() {
    for case in &cases() {
        let signed = case.signed();
        for (headers, body) in touched(&signed) {
            let request =
                Request { method: &Method::POST, url: Some(&signed.url), headers: &headers, body: &body };
            let refused = signed.verifier.verify(&request, now());
            let mut said = format!("{:?} {:?}", signed.verifier.explain(&request, now()), signed.verifier);
            if let Err(error) = &refused {
                said.push_str(&format!("{error} {error:?}"));
            }
            let elsewhere = case.scheme.signature_headers().is_empty();
            let expected = match elsewhere || case.name.contains("hash of the body") {
                true => signed.headers.clone(),
                false => case.sign("msg_1", &body, now()).headers,
            };
            let arrived: Vec<_> =
                headers.values().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            // A media type is nothing that anybody has to guess.
            let names = signed.names.iter().filter(|name| *name != "content-type");
            for value in names.filter_map(|name| expected.get(name)?.to_str().ok()) {
                for part in value.split([',', '=', ' ', ';']).filter(|part| part.len() >= 12) {
                    let known = arrived.iter().any(|value| value.contains(part))
                        || signed.names.iter().any(|name| name.as_str() == part);
                    assert!(known || !said.contains(&part[..12]), "{}: {said}", case.name);
                }
            }
            let secret = String::from_utf8_lossy(case.secret.expose()).into_owned();
            for part in secret.split(['_', '\n', ':']).filter(|part| part.len() >= 12) {
                assert!(!said.contains(&part[..12]), "{}: {said}", case.name);
            }
        }
    }
}

/// The request as it is, and touched in a few ways.
fn touched(signed: &Signed) -> Vec<(HeaderMap, Vec<u8>)> {
    let mut touched = vec![
        (signed.headers.clone(), signed.body.clone()),
        (
            signed.headers.clone(),
            signed.body.iter().map(|byte| if *byte == b'1' { b'2' } else { *byte }).collect(),
        ),
    ];
    for name in &signed.names {
        for value in [&b"0"[..], b"t=1,v1=00", b"\xff"] {
            touched.extend(signed.with(name, value).map(|headers| (headers, signed.body.clone())));
        }
    }
    touched
}
