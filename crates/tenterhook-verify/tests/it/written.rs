//! Every scheme that can be written in the grammar, not only those that somebody thought of.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tenterhook_verify::spec::{ListSpec, OneOrMany, TimestampSpec};
use tenterhook_verify::{Reason, SchemeSpec, Secret, Verifier};

use super::support::{check, now, post};

const URL: &str = "https://hooks.example.com/in?a=1";

/// What a scheme of the grammar may be made of; every combination of these is one.
#[derive(Clone, Debug)]
struct Made {
    mac: Option<usize>,
    encoding: usize,
    prefix: usize,
    before: Vec<usize>,
    after: Vec<usize>,
    key: usize,
    key_bytes: Vec<u8>,
    time: usize,
    unit: usize,
    list: usize,
    require: bool,
    key_id: bool,
    aliased: bool,
}

const PARTS: [&str; 11] = [
    "{method}",
    "{url}",
    "{header:X-Id}",
    "{header:X-Extra}",
    "{json:/id}",
    "{query:a}",
    ".",
    "{{",
    "}}",
    "ü",
    "\n",
];

fn made() -> impl Strategy<Value = Made> {
    let parts = || proptest::collection::vec(0..PARTS.len(), 0..4);
    let what = (proptest::option::weighted(0.8, 0..4_usize), 0..3_usize, 0..4_usize, parts(), parts());
    let key = (0..3_usize, proptest::collection::vec(1..=127_u8, 16..80));
    let rest = (0..4_usize, 0..3_usize, 0..4_usize, any::<bool>(), any::<bool>(), any::<bool>());
    (what, key, rest).prop_map(|(what, key, rest)| {
        let ((mac, encoding, prefix, before, after), (key, key_bytes)) = (what, key);
        let (time, unit, list, require, key_id, aliased) = rest;
        Made {
            mac,
            encoding,
            prefix,
            before,
            after,
            key,
            key_bytes,
            time,
            unit,
            list,
            require,
            key_id,
            aliased,
        }
    })
}

impl Made {
    /// As a user would write it.
    fn spec(&self) -> SchemeSpec {
        let some = |text: &str| Some(text.to_owned());
        let list = |groups, kv: Option<&str>, timestamp: Option<&str>| ListSpec {
            groups,
            items: some(","),
            kv: kv.map(str::to_owned),
            signature: kv.and(some("v1")),
            timestamp: timestamp.map(str::to_owned),
        };
        let in_list = self.time == 2 && self.list > 0;
        let list = match self.list {
            0 => None,
            1 => Some(list(None, Some("="), in_list.then_some("t"))),
            2 => Some(list(some(" "), Some("="), in_list.then_some("t"))),
            _ => Some(list(None, None, in_list.then_some("0"))),
        };
        let unit = some(["s", "ms", "rfc3339"][self.unit]);
        let timestamp = match self.time {
            1 => Some(TimestampSpec { header: some("X-Time"), unit, ..TimestampSpec::default() }),
            2 if in_list => None,
            3 => Some(TimestampSpec {
                json: some("/created"),
                tolerance: some("1h"),
                ..TimestampSpec::default()
            }),
            _ => None,
        };
        let time = if timestamp.is_some() || in_list { "{t}" } else { "" };
        let parts = |indexes: &[usize]| indexes.iter().map(|index| PARTS[*index]).collect::<String>();
        SchemeSpec {
            header: OneOrMany::Many(vec!["X-Sig".to_owned(), "X-Sig-Former".to_owned()]),
            mac: self
                .mac
                .and_then(|mac| some(["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"][mac])),
            algorithm: if self.mac.is_none() { some("ed25519") } else { None },
            encoding: some(["hex", "base64", "base64url"][self.encoding]),
            prefix: some(["", "sha256=", "v0=", "Signature:"][self.prefix]),
            content: Some(format!("{}{time}{{body}}{}", parts(&self.before), parts(&self.after))),
            key: self.mac.and_then(|_| some(["utf8", "hex", "base64"][self.key])),
            timestamp,
            list,
            require: if self.require {
                [("X-Version".to_owned(), "2".to_owned())].into()
            } else {
                BTreeMap::new()
            },
            key_id: if self.key_id { some("X-Key") } else { None },
            aliases: if self.aliased {
                [("X-".to_owned(), "Other-".to_owned())].into()
            } else {
                BTreeMap::new()
            },
            ..SchemeSpec::default()
        }
    }

    /// The secret as a user would configure it, and another.
    fn secrets(&self) -> [Secret; 2] {
        let mut other = self.key_bytes.clone();
        other[7] ^= 1;
        [&self.key_bytes, &other].map(|bytes| {
            let text = match (self.mac, self.key) {
                (None, _) => format!("whsk_{}", BASE64.encode(digest(&SHA256, bytes).as_ref())),
                (_, 0) => return Secret::new(bytes.clone()).with_id("k1"),
                (_, 1) => HEXLOWER.encode(bytes),
                _ => BASE64.encode(bytes),
            };
            Secret::new(text).with_id("k1")
        })
    }
}

#[test]
fn every_scheme_that_can_be_written_takes_what_it_signs_and_nothing_else() {
    check(1_000, (made(), any::<String>(), 0..1_000_u64), |(made, text, millis)| {
        let spec = made.spec();
        let written = toml::to_string(&spec).unwrap();
        prop_assert_eq!(&toml::from_str::<SchemeSpec>(&written).unwrap(), &spec, "{}", written);
        let scheme =
            spec.compile().map_err(|errors| TestCaseError::fail(format!("{written}: {errors:?}")))?;
        let [secret, other] = made.secrets();
        let [verifier, stranger] =
            [secret, other].map(|secret| Verifier::new(scheme.clone(), vec![secret]).unwrap());
        let now = now() + Duration::from_millis(millis);
        let body = serde_json::json!({"id": "evt_1", "created": now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), "text": text})
            .to_string();
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-id", "msg_1"), ("x-extra", "signed too"), ("x-key", "k1")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let signature = verifier.sign(&post(URL, &headers, body.as_bytes()), Some("msg_2"), now).unwrap();
        headers.extend(signature);
        let verdict = |verifier: &Verifier, headers: &HeaderMap, body: &str, now| {
            verifier.screen(headers, now)?;
            verifier.verify(&post(URL, headers, body.as_bytes()), now).map(drop)
        };
        prop_assert_eq!(verdict(&verifier, &headers, &body, now), Ok(()), "{}", written);
        for (what, refused) in [
            ("another body", verdict(&verifier, &headers, &format!("{body} "), now)),
            ("another key", verdict(&stranger, &headers, &body, now)),
        ] {
            let reason = refused.map_err(|error| error.reason);
            prop_assert_eq!(reason, Err(Reason::SignatureMismatch), "{}: {}", what, written);
        }
        let later = verdict(&verifier, &headers, &body, now + Duration::from_secs(2 * 3600))
            .map_err(|error| error.reason);
        let expected = if scheme.signs_time() { Err(Reason::TimestampTooOld) } else { Ok(()) };
        prop_assert_eq!(later, expected, "{}", written);
        let renamed = headers.iter().map(|(name, value)| {
            let name = name.as_str().replacen("x-", "other-", 1);
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.clone())
        });
        let renamed: HeaderMap = renamed.collect();
        prop_assert_eq!(verdict(&verifier, &renamed, &body, now).is_ok(), made.aliased, "{}", written);
        Ok(())
    });
}
