//! From a spec as written to a scheme that runs. Collects every problem before it gives up.

use http::HeaderName;

use super::{OneOrMany, SchemeSpec, TimestampSpec, parse_duration};
use crate::locate::Locator;
use crate::scheme::asymmetric::PublicAlgorithm;
use crate::scheme::coded;
use crate::scheme::content::{Part, Template};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::layout::Layout;
use crate::scheme::place::{HeaderPattern, SignatureAt};
use crate::scheme::signed::{Algorithm, SignedScheme};
use crate::scheme::token::TokenScheme;
use crate::scheme::{Family, KeyForm, KeyRule};
use crate::{Scheme, SpecError};

mod list;
mod time;

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<SpecError>);

impl Problems {
    fn add(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(SpecError { key: key.to_owned(), message: message.into(), hint: hint.into() });
    }

    fn header(&mut self, key: &str, text: &str) -> Option<HeaderName> {
        let name = text.parse().ok();
        if name.is_none() {
            self.add(key, format!("`{text}` is not a header name"), "letters, digits and `-`");
        }
        name
    }
}

/// Checks a spec.
pub(super) fn scheme(spec: &SchemeSpec) -> Result<Scheme, Vec<SpecError>> {
    let mut problems = Problems::default();
    let scheme = match spec.scheme.as_deref() {
        Some(name) => coded(spec, name, &mut problems),
        None => match spec.algorithm.as_deref() {
            Some(kind @ ("token" | "basic")) => token(spec, kind == "basic", &mut problems),
            _ => signed(spec, &mut problems),
        },
    };
    match scheme {
        Some(scheme) if problems.0.is_empty() => Ok(scheme),
        _ => Err(problems.0),
    }
}

/// A scheme that is code.
fn coded(spec: &SchemeSpec, name: &str, problems: &mut Problems) -> Option<Scheme> {
    if *spec != (SchemeSpec { scheme: spec.scheme.clone(), ..SchemeSpec::default() }) {
        problems.add("scheme", "a named scheme takes no other key", "remove the other keys, or `scheme`");
    }
    let Some(scheme) = coded::named(name) else {
        let names: Vec<&str> = coded::names().collect();
        problems.add("scheme", format!("`{name}` is not a named scheme"), one_of(&names));
        return None;
    };
    Some(Scheme::of(Family::Coded(scheme), KeyRule::default()))
}

/// A shared token or basic credentials.
fn token(spec: &SchemeSpec, basic: bool, problems: &mut Problems) -> Option<Scheme> {
    let unused = [
        ("mac", spec.mac.is_some()),
        ("encoding", spec.encoding.is_some()),
        ("content", spec.content.is_some()),
        ("key", spec.key.is_some()),
        ("key_prefix", !spec.key_prefix.is_empty()),
        ("timestamp", spec.timestamp.is_some()),
        ("list", spec.list.is_some()),
        ("require", !spec.require.is_empty()),
        ("key_id", spec.key_id.is_some()),
        ("aliases", !spec.aliases.is_empty()),
        ("macs", !spec.macs.is_empty()),
        ("slots", !spec.slots.is_empty()),
        ("body_required", spec.body_required),
    ];
    for (key, _) in unused.iter().filter(|(_, set)| *set) {
        problems.add(key, format!("`{key}` means nothing for a token, which signs nothing"), "remove it");
    }
    let default_header = basic.then_some("Authorization");
    // A bearer token may stand in the header or, for senders that cannot set one, in the query.
    let (at, elsewhere) = match spec.signature.as_deref().filter(|_| !spec.header.is_empty()) {
        Some(place) => {
            let in_header = SchemeSpec { signature: None, ..spec.clone() };
            (signature_at(&in_header, None, problems)?, Some(locator(place, problems)?))
        }
        None => (signature_at(spec, default_header, problems)?, None),
    };
    let default_prefix = if basic { "Basic " } else { "" };
    let prefix = spec.prefix.clone().unwrap_or_else(|| default_prefix.to_owned());
    Some(Scheme::of(Family::Token(TokenScheme { at, elsewhere, prefix, basic }), KeyRule::default()))
}

/// A signed scheme.
fn signed(spec: &SchemeSpec, problems: &mut Problems) -> Option<Scheme> {
    let algorithm = algorithm(spec, problems);
    let encoding = encoding(spec, problems);
    let key = key_rule(spec, algorithm, problems);
    let list = list::rule(spec, problems);
    let macs = macs(spec, problems);
    let mut layouts = vec![layout(spec, problems)?];
    for (from, to) in &spec.aliases {
        let before = problems.0.len();
        let aliased = aliased(spec, from, to);
        if aliased.header == spec.header {
            problems.add(
                "aliases",
                format!("`{from}` begins none of the signature headers"),
                "name a prefix of `header`",
            );
            continue;
        }
        layouts.extend(layout(&aliased, problems));
        if before > 0 {
            // What is wrong with the spec's own names was already said once.
            problems.0.truncate(before);
        }
    }
    let scheme = SignedScheme {
        layouts,
        algorithm: algorithm?,
        encoding: encoding?,
        prefix: spec.prefix.clone().unwrap_or_default(),
        macs,
        list: list?,
    };
    Some(Scheme::of(Family::Signed(scheme), key?))
}

fn algorithm(spec: &SchemeSpec, problems: &mut Problems) -> Option<Algorithm> {
    match (spec.mac.as_deref(), spec.algorithm.as_deref()) {
        (Some(_), Some(_)) => {
            problems.add(
                "algorithm",
                "both `mac` and `algorithm` are set",
                "keep the one that the provider uses",
            );
            None
        }
        (None, None) => {
            problems.add("mac", "neither `mac` nor `algorithm` is set", one_of(&Mac::NAMES));
            None
        }
        (Some(name), None) => {
            let mac = Mac::named(name).map(Algorithm::Mac);
            if mac.is_none() {
                problems.add("mac", format!("`{name}` is not a MAC"), one_of(&Mac::NAMES));
            }
            mac
        }
        (None, Some(name)) => {
            let public = PublicAlgorithm::named(name).map(Algorithm::Public);
            if public.is_none() {
                let hint = format!(
                    "{}, `token` or `basic`; a MAC is written `mac = …`",
                    one_of(&PublicAlgorithm::NAMES)
                );
                problems.add("algorithm", format!("`{name}` is not an algorithm"), hint);
            }
            public
        }
    }
}

/// Further MACs by their prefix.
fn macs(spec: &SchemeSpec, problems: &mut Problems) -> Vec<(String, Mac)> {
    if spec.mac.is_none() && !spec.macs.is_empty() {
        problems.add(
            "macs",
            "`macs` without `mac`",
            "name the MAC that signs in `mac`, the further ones here",
        );
    }
    let mut macs = Vec::with_capacity(spec.macs.len());
    for (prefix, name) in &spec.macs {
        match Mac::named(name) {
            Some(mac) => macs.push((prefix.clone(), mac)),
            None => problems.add("macs", format!("`{name}` is not a MAC"), one_of(&Mac::NAMES)),
        }
    }
    macs
}

fn encoding(spec: &SchemeSpec, problems: &mut Problems) -> Option<Encoding> {
    let Some(name) = spec.encoding.as_deref() else {
        problems.add("encoding", "`encoding` is not set", one_of(&Encoding::NAMES));
        return None;
    };
    let encoding = Encoding::named(name);
    if encoding.is_none() {
        problems.add("encoding", format!("`{name}` is not an encoding"), one_of(&Encoding::NAMES));
    }
    encoding
}

fn key_rule(spec: &SchemeSpec, algorithm: Option<Algorithm>, problems: &mut Problems) -> Option<KeyRule> {
    let asymmetric = algorithm.is_some_and(Algorithm::is_asymmetric);
    let form = match spec.key.as_deref() {
        None if asymmetric => KeyForm::Base64,
        None => KeyForm::Utf8,
        Some("utf8") if asymmetric => {
            problems.add(
                "key",
                "a public key is not `utf8`",
                "write `base64` or `hex`; PEM is always understood",
            );
            return None;
        }
        Some("utf8") => KeyForm::Utf8,
        Some("base64") => KeyForm::Base64,
        Some("hex") => KeyForm::Hex,
        Some(other) => {
            problems.add(
                "key",
                format!("`{other}` is not a form of a key"),
                one_of(&["utf8", "base64", "hex"]),
            );
            return None;
        }
    };
    if spec.key_prefix.as_slice().iter().any(String::is_empty) {
        problems.add("key_prefix", "an empty prefix", "leave `key_prefix` out, or name the prefix");
        return None;
    }
    Some(KeyRule { form, prefixes: spec.key_prefix.as_slice().to_vec() })
}

fn layout(spec: &SchemeSpec, problems: &mut Problems) -> Option<Layout> {
    let signature = signature_at(spec, None, problems);
    let time = time::rule(spec, problems);
    let content = match Template::parse(spec.content.as_deref().unwrap_or("{body}")) {
        Ok(template) => Some(template),
        Err(problem) => {
            let hint = "parts are `{body}`, `{t}`, `{method}`, `{url}`, `{header:NAME}`, `{json:/POINTER}`, `{form:FIELD}`, `{query:NAME}`";
            problems.add("content", problem, hint);
            None
        }
    };
    let mut require = Vec::new();
    for (name, value) in &spec.require {
        require.extend(problems.header("require", name).map(|header| (header, value.clone())));
    }
    let key_id = spec.key_id.as_deref().and_then(|name| problems.header("key_id", name));
    let (signature, time, content) = (signature?, time?, content?);
    if content.has(&Part::Time) && time.is_none() {
        let hint = "say where the timestamp stands: `timestamp = { header = … }`";
        problems.add("content", "`{t}` without a timestamp", hint);
    }
    let slots = slots(spec, &signature, problems);
    let body_required = spec.body_required;
    Some(Layout { signature, time, content, require, key_id, slots, body_required })
}

/// Which secret each signature header is for. Either every header has one, or none.
fn slots(spec: &SchemeSpec, signature: &SignatureAt, problems: &mut Problems) -> Vec<(HeaderName, String)> {
    let mut slots = Vec::with_capacity(spec.slots.len());
    for (name, slot) in &spec.slots {
        slots.extend(problems.header("slots", name).map(|header| (header, slot.clone())));
    }
    let headers = signature.header_names();
    let paired = headers.len() == slots.len() && slots.iter().all(|(name, _)| headers.contains(name));
    if !slots.is_empty() && !paired {
        let hint = "write one entry for each name in `header`, and none besides";
        problems.add("slots", "they are not those of the signature headers", hint);
    }
    slots
}

fn locator(place: &str, problems: &mut Problems) -> Option<Locator> {
    match place.parse::<Locator>() {
        Ok(locator) => Some(locator),
        Err(error) => {
            problems.add("signature", error.message, error.hint);
            None
        }
    }
}

fn signature_at(spec: &SchemeSpec, default: Option<&str>, problems: &mut Problems) -> Option<SignatureAt> {
    if let Some(place) = &spec.signature {
        if !spec.header.is_empty() {
            problems.add(
                "signature",
                "both `header` and `signature` are set",
                "keep the one that the provider uses",
            );
            return None;
        }
        return locator(place, problems).map(SignatureAt::Located);
    }
    let written: Vec<&str> = spec.header.as_slice().iter().map(String::as_str).collect();
    let names = if written.is_empty() { default.into_iter().collect() } else { written };
    if names.is_empty() {
        problems.add("header", "`header` is not set", "name the header that carries the signature");
        return None;
    }
    let mut patterns = Vec::with_capacity(names.len());
    for name in names {
        let pattern = match name.strip_suffix('*') {
            Some(prefix) => {
                let name = problems.header("header", prefix);
                name.map(|name| HeaderPattern::Prefix(name.as_str().to_owned()))
            }
            None => problems.header("header", name).map(HeaderPattern::Exact),
        };
        patterns.push(pattern?);
    }
    Some(SignatureAt::Headers(patterns))
}

/// The spec with every header name under another prefix.
fn aliased(spec: &SchemeSpec, from: &str, to: &str) -> SchemeSpec {
    let rename = |name: &str| match name.split_at_checked(from.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(from) => format!("{to}{rest}"),
        _ => name.to_owned(),
    };
    let mut other = spec.clone();
    let headers: Vec<String> = spec.header.as_slice().iter().map(|name| rename(name)).collect();
    other.header =
        if headers == spec.header.as_slice() { spec.header.clone() } else { OneOrMany::Many(headers) };
    if let Some(timestamp) = &mut other.timestamp {
        timestamp.header = timestamp.header.as_deref().map(rename);
    }
    other.key_id = spec.key_id.as_deref().map(rename);
    other.slots = spec.slots.iter().map(|(name, slot)| (rename(name), slot.clone())).collect();
    other.require = spec.require.iter().map(|(name, value)| (rename(name), value.clone())).collect();
    other.content = spec.content.as_deref().map(|content| {
        let mut parts = content.split("{header:");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            text.push_str("{header:");
            text.push_str(&rename(name));
            text.push('}');
            text.push_str(rest);
        }
        text
    });
    other
}

fn one_of(names: &[&str]) -> String {
    format!("one of `{}`", names.join("`, `"))
}
