//! Requests made to hurt: endless lists, bombs, bytes that are no text, numbers at the edge. Each is refused by a reason
//! that has a name, within a bound of processor time, and without a panic.

use std::time::Duration;

use http::HeaderMap;
use proptest::prelude::*;
use proptest::sample::select;
use tenterhook_verify::Reason;
use tenterhook_verify::provider::catalog;

use super::support::{Case, Signed, cases, check, now, post};
use super::targets::TARGETS;

/// How long the long ones are, in bytes: more than any server lets into a head.
const LARGE: usize = 1 << 15;

/// What one request may cost, however hostile: far above what a slow machine takes without optimisation, and far below
/// what anything quadratic does. Waiting for a processor does not count.
const PROCESSOR_MAX: Duration = Duration::from_secs(10);

/// The processor time of this thread, where the system tells.
fn processor_time() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(told.split(' ').next()?.parse().ok()?))
}

fn bounded<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = processor_time();
    let done = work();
    if let (Some(before), Some(after)) = (before, processor_time()) {
        assert!(after - before < PROCESSOR_MAX, "{what}: {:?}", after - before);
    }
    done
}

/// Values for a header that carried `good`.
fn values(good: &str) -> Vec<(String, Vec<u8>)> {
    let mut values = Vec::new();
    let mut add = |what: &str, value: Vec<u8>| values.push((what.to_owned(), value));
    for separator in [",", " ", ";", ", ", "|"] {
        add("the same 2,000 times", vec![good; 2_000].join(separator).into_bytes());
    }
    for (what, unit) in [
        ("v1", "v1=00,"),
        ("v1 with a comma", "v1,AA== "),
        ("separators", ","),
        ("blanks", " "),
        ("pairs", "a=b,"),
    ] {
        add(&format!("many {what}"), unit.repeat(LARGE / unit.len()).into_bytes());
        add(
            &format!("many {what} behind it"),
            format!("{good},{}", unit.repeat(LARGE / unit.len())).into_bytes(),
        );
    }
    add("1 MiB of one word", vec![b'A'; 1 << 20]);
    add("a list of 1 MiB", "v1=00,".repeat((1 << 20) / 6).into_bytes());
    add("2,000 times", "t=1790000000 ".repeat(2_000).into_bytes());
    for number in
        [i64::MIN.to_string(), i64::MAX.to_string(), u64::MAX.to_string(), "9".repeat(400), "-0".to_owned()]
    {
        add("a number at the edge", number.clone().into_bytes());
        add("a time at the edge", format!("t={number},v1={}", "0".repeat(64)).into_bytes());
    }
    add("bytes that are no text", b"\xff\xfe\x80".to_vec());
    add("bytes that are no text behind it", [good.as_bytes(), b"\xff"].concat());
    for odd in ["AR==", "AA=A", "A===", "=", "====", "AA\tAA", "..", "e30.e30.", "a.b.c"] {
        add("no canonical base64", odd.as_bytes().to_vec());
    }
    values
}

#[test]
fn whatever_stands_in_a_header_of_a_scheme_is_refused_in_time_and_by_name() {
    for case in &cases() {
        let signed = case.signed();
        for name in &signed.names {
            let good = signed.headers[name].to_str().unwrap().to_owned();
            for (what, value) in values(&good) {
                let what = format!("{}: {name}: {what}", case.name);
                let Some(headers) = signed.with(name, &value) else { continue };
                let verdict = bounded(&what, || signed.verify(&headers, &signed.body));
                // A good signature among entries of other names is a good signature.
                let good_in_it = what.ends_with("behind it") && !what.contains("no text");
                assert!(
                    good_in_it || verdict.is_err_and(|reason| Reason::ALL.contains(&reason)),
                    "{what}: taken"
                );
                if value.len() < LARGE {
                    bounded(&what, || {
                        signed.verifier.explain(&post(&signed.url, &headers, &signed.body), now())
                    });
                }
            }
        }
    }
}

/// Bodies made to hurt a reader of JSON, forms or parts.
fn bodies(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = String::from_utf8_lossy(good);
    let mut bodies = vec![
        ("a bomb of lists", "[".repeat(LARGE).into_bytes()),
        ("a bomb of objects", "{\"a\":".repeat(LARGE / 8).into_bytes()),
        (
            "a bomb that is closed",
            format!("{}1{}", "[".repeat(LARGE / 8), "]".repeat(LARGE / 8)).into_bytes(),
        ),
        (
            "a bomb within",
            format!("{{\"id\":{}1{}}}", "[".repeat(LARGE / 8), "]".repeat(LARGE / 8)).into_bytes(),
        ),
        ("NUL", vec![0; LARGE]),
        ("no text", vec![0xff; LARGE]),
        ("one string without an end", format!("{{\"id\":\"{}", "a".repeat(LARGE)).into_bytes()),
        ("backslashes", format!("{{\"id\":\"{}\"}}", "\\\\".repeat(LARGE / 2)).into_bytes()),
        ("half a pair of surrogates", b"{\"id\":\"\\ud800\",\"type\":\"\\udfff\"}".to_vec()),
        ("one key 10,000 times", format!("{{{}\"id\":1}}", "\"id\":\"x\",".repeat(10_000)).into_bytes()),
        ("10,000 keys", (0..10_000).map(|key| format!("\"k{key}\":0,")).collect::<String>().into_bytes()),
        ("10,000 fields", (0..10_000).map(|key| format!("f{key}=0&")).collect::<String>().into_bytes()),
        ("one field 10,000 times", "a=1&".repeat(10_000).into_bytes()),
        ("percent signs", "%".repeat(LARGE).into_bytes()),
        ("ampersands", "&".repeat(LARGE).into_bytes()),
        ("10,000 parts", "--b\r\n\r\n\r\n".repeat(10_000).into_bytes()),
        (
            "a part without an end",
            format!("--b\r\ncontent-disposition: form-data; name=\"{}", "a".repeat(LARGE)).into_bytes(),
        ),
        ("digits", "9".repeat(LARGE).into_bytes()),
        ("an exponent", b"{\"id\":1e999999999,\"timestamp\":-9223372036854775808}".to_vec()),
        ("nothing", Vec::new()),
    ];
    bodies.push(("itself without its end", good[..good.len().saturating_sub(1)].to_vec()));
    bodies.push(("itself twice", [good, good].concat()));
    if let Some(object) = text.strip_suffix('}') {
        bodies
            .push(("its keys once more", format!("{object},{}", text.trim_start_matches('{')).into_bytes()));
        bodies.push(("a NUL behind it", format!("{text}\0").into_bytes()));
    }
    bodies
}

#[test]
fn whatever_stands_in_a_body_is_read_in_time_and_refused_if_it_was_not_signed() {
    let kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"];
    for case in &cases() {
        let signed = case.signed();
        for (what, body) in bodies(&signed.body) {
            // What code reads out of a body may be said in other bytes; `damaged` holds that against the digest.
            let coded = case.coded.is_some();
            for kind in kinds.iter().take(if coded { 3 } else { 1 }) {
                let mut headers = signed.headers.clone();
                headers.insert("content-type", kind.parse().unwrap());
                let what = format!("{}: {what} as {kind}", case.name);
                let verdict = bounded(&what, || signed.verify(&headers, &body));
                let refused = verdict.is_err() || coded || case.is_token() || body == signed.body;
                assert!(refused, "{what}: taken");
            }
        }
    }
    let bodies = bodies(br#"{"id":"evt_1","type":"a"}"#);
    for provider in catalog() {
        for (what, body) in &bodies {
            bounded(&format!("{}: {what}", provider.name), || {
                provider.locate(&post("https://hooks.example.com/in?id=1", &HeaderMap::new(), body))
            });
        }
    }
}

/// One request, and ways to damage it.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u16, u8),
    Cut(u16),
    Drop(u16),
    Insert(u16, Vec<u8>),
    Repeat(u16, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<u16>(), 0..8_u8).prop_map(|(place, bit)| Damage::Flip(place, bit)),
        any::<u16>().prop_map(Damage::Cut),
        any::<u16>().prop_map(Damage::Drop),
        (any::<u16>(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        (any::<u16>(), 1..400_u16).prop_map(|(place, count)| Damage::Repeat(place, count)),
    ]
}

impl Damage {
    fn of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let (Self::Flip(place, _)
        | Self::Cut(place)
        | Self::Drop(place)
        | Self::Insert(place, _)
        | Self::Repeat(place, _)) = self;
        let place = usize::from(*place) % (bytes.len() + 1);
        match self {
            Self::Flip(_, bit) => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << bit),
            Self::Cut(_) => bytes.truncate(place),
            Self::Drop(_) => drop(bytes.drain(..place)),
            Self::Insert(_, more) => drop(bytes.splice(place..place, more.iter().copied())),
            Self::Repeat(_, count) => {
                let tail = bytes[place..].to_vec();
                (0..*count).for_each(|_| bytes.extend_from_slice(&tail));
            }
        }
        bytes
    }
}

#[test]
fn a_good_request_that_is_damaged_anyhow_is_refused_or_says_what_was_signed() {
    let cases: Vec<_> = cases().into_iter().filter(|case| !case.is_token()).collect();
    let signed: Vec<Signed> = cases.iter().map(Case::signed).collect();
    let (places, damages) = (any::<u16>(), proptest::collection::vec(damage(), 1..4));
    check(60, (places, damages), |(place, damages)| {
        for (case, signed) in cases.iter().zip(&signed) {
            let good = signed.verifier.verify(&post(&signed.url, &signed.headers, &signed.body), now());
            let good = good.map(|good| good.content_sha256());
            let damaged =
                |bytes: &[u8]| damages.iter().fold(bytes.to_vec(), |bytes, damage| damage.of(&bytes));
            let (mut headers, mut body) = (signed.headers.clone(), signed.body.clone());
            match usize::from(place) % (signed.names.len() + 1) {
                0 => body = damaged(&body),
                index => {
                    let name = &signed.names[index - 1];
                    let Some(changed) = signed.with(name, &damaged(headers[name].as_bytes())) else {
                        continue;
                    };
                    headers = changed;
                }
            }
            let request = post(&signed.url, &headers, &body);
            if let Ok(verified) = signed.verifier.verify(&request, now()) {
                let same = Ok(verified.content_sha256()) == good;
                // Of these the digest is that of the body, of which the signature covers a part or nothing.
                let partly = case.body_is_free || case.name == "dropbox-sign";
                prop_assert!(same || partly, "{}: {:?} {:?}", case.name, headers, body);
            }
        }
        Ok(())
    });
}

/// Pieces that grammars are made of, so that more than the first byte of a random text is read.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "t=",
        "v1=",
        "v1,",
        ",",
        ";",
        " ",
        "=",
        "\n",
        "\n---\n",
        "1790000000",
        "-9223372036854775808",
        "sha256=",
        "0a0a",
        "AA==",
        "{",
        "}",
        "[",
        "]",
        "\"id\":",
        "\"type\":",
        "\"a\"",
        ":",
        "json:/",
        "form:",
        "header:",
        "query:",
        "/0",
        "header = \"X-Sig\"\n",
        "mac = \"hmac-sha256\"\n",
        "algorithm = \"ed25519\"\n",
        "encoding = \"hex\"\n",
        "content = \"{t}.{body}\"\n",
        "timestamp = { header = \"X-T\" }\n",
        "list = { items = \",\", kv = \"=\", signature = \"v1\" }\n",
        "eyJhbGciOiJub25lIn0.",
        "e30",
        ".",
        "%",
        "&",
        "+",
        "hub.challenge=x&hub.mode=subscribe&",
        "\0",
        "\u{fffd}",
        "-----BEGIN PUBLIC KEY-----\n",
        "whsec_",
        "whpk_",
    ];
    let piece = prop_oneof![
        3 => select(pieces.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..12),
    ];
    (any::<[u8; 2]>(), proptest::collection::vec(piece, 0..30))
        .prop_map(|(first, pieces)| [&first[..], &pieces.concat()].concat())
}

#[test]
fn every_fuzz_target_holds_for_texts_made_of_pieces_and_of_noise() {
    check(100, texts(), |text| {
        for (name, target) in TARGETS {
            bounded(name, || target(&text));
            bounded(name, || target(text.get(2..).unwrap_or_default()));
        }
        Ok(())
    });
    for (name, target) in TARGETS {
        for size in [0, 1, 2, 1 << 12] {
            for byte in [0, b'\n', b'{', b'[', b'"', b'=', b',', b'&', b'-', b'.', 0xff] {
                bounded(name, || target(&vec![byte; size]));
            }
        }
    }
}
