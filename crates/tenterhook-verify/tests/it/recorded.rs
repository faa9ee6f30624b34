//! Recorded requests that somebody touched: the vectors of every provider with a bit turned, or worse. What can only be
//! verified here, because nobody but the provider signs it, is covered by these.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::BASE64;
use proptest::prelude::*;
use serde_json::Value;
use tenterhook_verify::provider::catalog;
use tenterhook_verify::vectors::{Vector, VectorResult};

use super::support::{cases, check};

/// The schemes that nothing here can sign with, be it for want of a private key in the form that they take.
const VERIFY_ONLY: [&str; 3] = ["discord", "paddle-classic", "travis-ci"];

/// The vectors of a provider, as written.
fn vectors(provider: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{provider}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn run(vector: &Value) -> VectorResult {
    serde_json::from_value::<Vector>(vector.clone()).unwrap().run()
}

fn body(vector: &Value) -> Vec<u8> {
    BASE64.decode(vector["body_b64"].as_str().unwrap().as_bytes()).unwrap()
}

fn with_body(vector: &Value, body: &[u8]) -> Value {
    let mut changed = vector.clone();
    changed["body_b64"] = BASE64.encode(body).into();
    changed
}

/// The tamper tests begin with a signed request of every scheme there is, or of all but those that are listed here.
#[test]
fn every_scheme_of_the_catalog_that_signs_is_tampered_with() {
    let known: BTreeSet<String> = cases().into_iter().map(|case| case.name).collect();
    let mut missing = BTreeSet::new();
    for provider in catalog() {
        let alternatives = provider.alternatives.iter().map(|(name, scheme)| {
            let full = if name.contains('-') { name.clone() } else { format!("{} {name}", provider.name) };
            (full, scheme)
        });
        for (name, scheme) in std::iter::once((provider.name.clone(), &provider.scheme)).chain(alternatives) {
            if !scheme.is_unsigned() && !scheme.is_token() && !known.contains(&name) {
                missing.insert(name);
            }
        }
    }
    assert_eq!(missing, VERIFY_ONLY.map(str::to_owned).into());
}

/// One bit of each byte; which one, changes from byte to byte.
fn turned(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).map(|place| {
        let mut turned = bytes.to_vec();
        turned[place] ^= 1 << (place % 8);
        (place, turned)
    })
}

#[test]
fn no_recorded_body_that_is_signed_as_it_stands_can_have_a_bit_turned() {
    let (mut judged, mut providers) = (0, BTreeSet::new());
    for provider in catalog() {
        for vector in vectors(&provider.name) {
            let chosen = vector["scheme"].as_str();
            let spec = match chosen.filter(|name| provider.scheme_name.as_deref() != Some(name)) {
                Some(name) => provider.alternative_spec(name).unwrap(),
                None => &provider.spec,
            };
            let scheme = provider.scheme(chosen).unwrap();
            let whole = spec.content.as_deref().is_none_or(|content| content.contains("{body}"));
            let declared = spec.scheme.is_none() && !spec.header.is_empty();
            if vector["expect"] != "valid" || scheme.is_token() || scheme.is_unsigned() || !whole || !declared
            {
                continue;
            }
            for (place, body) in turned(&body(&vector)) {
                let result = run(&with_body(&vector, &body));
                assert!(result.got.starts_with("invalid:"), "{} byte {place}: {result:?}", provider.name);
                judged += 1;
            }
            providers.insert(provider.name.as_str());
        }
    }
    assert!(providers.len() >= 60 && judged > 5_000, "{judged} bits of {}", providers.len());
}

/// Of a form: everything but the field in which the signature stands, which may be spelled in more than one way.
#[test]
fn no_bit_of_what_only_a_provider_can_sign_can_be_turned() {
    for (provider, scheme) in [("travis-ci", None), ("discord", None), ("paddle", Some("paddle-classic"))] {
        let mut judged = 0;
        for vector in vectors(provider) {
            if vector["expect"] != "valid" || vector["scheme"].as_str() != scheme {
                continue;
            }
            let good = body(&vector);
            let signed = |(name, _): &(String, String)| match provider {
                "travis-ci" => name == "payload",
                _ => name != "p_signature",
            };
            let fields = |body: &[u8]| -> BTreeSet<(String, String)> {
                form_urlencoded::parse(body).into_owned().filter(signed).collect()
            };
            for (place, body) in turned(&good) {
                let result = run(&with_body(&vector, &body));
                let same = fields(&body) == fields(&good);
                assert!(result.got.starts_with("invalid:") || same, "{provider} byte {place}: {result:?}");
                judged += usize::from(!same);
            }
            for (name, value) in vector["headers"].as_object().unwrap() {
                let value = value.as_str().unwrap();
                if !["signature", "x-signature-ed25519"].contains(&name.to_lowercase().as_str()) {
                    continue;
                }
                for (place, turned) in turned(value.as_bytes()) {
                    let Ok(text) = String::from_utf8(turned) else { continue };
                    // Upper and lower case are the same hexadecimal digit.
                    if provider == "discord" && text.eq_ignore_ascii_case(value) {
                        continue;
                    }
                    let mut changed = vector.clone();
                    changed["headers"][name] = text.into();
                    assert!(run(&changed).got != "valid", "{provider} {name} byte {place}");
                    judged += 1;
                }
            }
        }
        assert!(judged > 100, "{provider}: only {judged} bits");
    }
}

/// Any recorded request, of any provider, damaged in any part: a verdict with a name, and no panic.
#[test]
fn every_recorded_request_can_be_damaged_and_still_comes_to_a_verdict() {
    let all: Vec<Value> = catalog().iter().flat_map(|provider| vectors(&provider.name)).collect();
    let damage =
        (any::<u16>(), 0..8_u8, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..20), 0..5_u8);
    check(6, damage, |(place, bit, cut, noise, how)| {
        for vector in &all {
            let damaged = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                let place = usize::from(place) % (bytes.len() + 1);
                match how {
                    0 => bytes.truncate(place),
                    1 => drop(bytes.splice(place..place, noise.iter().copied())),
                    2 => bytes = noise.clone(),
                    3 => bytes = bytes.repeat(1 + usize::from(cut) % 40),
                    _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << bit),
                }
                bytes
            };
            let mut changed = with_body(vector, &damaged(&body(vector)));
            let results = [run(&changed), {
                for (_, value) in changed["headers"].as_object_mut().unwrap() {
                    let text =
                        String::from_utf8_lossy(&damaged(value.as_str().unwrap().as_bytes())).into_owned();
                    *value = text.chars().filter(|c| !c.is_control()).collect::<String>().into();
                }
                run(&changed)
            }];
            for result in results {
                let named =
                    ["valid", "invalid:", "challenge:"].iter().any(|word| result.got.starts_with(word));
                prop_assert!(named, "{:?}", result);
            }
        }
        Ok(())
    });
}
