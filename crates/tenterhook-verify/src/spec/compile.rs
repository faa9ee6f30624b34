//! From a spec as written to a scheme that runs. Collects every problem before it gives up.

use std::time::Duration;

use http::HeaderName;

use super::{SchemeSpec, TimestampSpec, parse_duration};
use crate::locate::Locator;
use crate::scheme::asymmetric::PublicAlgorithm;
use crate::scheme::coded;
use crate::scheme::content::{Part, Template};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::list::{ListRule, ListTime};
use crate::scheme::signed::{Algorithm, HeaderPattern, Layout, SignatureAt, SignedScheme};
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::scheme::token::TokenScheme;
use crate::scheme::{Family, KeyForm, KeyRule};
use crate::{Scheme, SpecError};

/// The tolerance of a timestamp that names none.
const TOLERANCE: Duration = Duration::from_secs(300);

/// The longest tolerance that can be written.
const TOLERANCE_MAX: Duration = Duration::from_secs(24 * 3600);

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
    ];
    for (key, _) in unused.iter().filter(|(_, set)| *set) {
        problems.add(key, format!("`{key}` means nothing for a token, which signs nothing"), "remove it");
    }
    let default_header = basic.then_some("Authorization");
    let at = signature_at(spec, default_header, problems)?;
    let default_prefix = if basic { "Basic " } else { "" };
    let prefix = spec.prefix.clone().unwrap_or_else(|| default_prefix.to_owned());
    Some(Scheme::of(Family::Token(TokenScheme { at, prefix, basic }), KeyRule::default()))
}

/// A signed scheme.
fn signed(spec: &SchemeSpec, problems: &mut Problems) -> Option<Scheme> {
    let algorithm = algorithm(spec, problems);
    let encoding = encoding(spec, problems);
    let key = key_rule(spec, algorithm, problems);
    let list = list(spec, problems);
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

/// The outer `Option` is failure, the inner one absence.
#[expect(clippy::option_option, reason = "a list may rightly be absent, and may be wrong")]
fn list(spec: &SchemeSpec, problems: &mut Problems) -> Option<Option<ListRule>> {
    let in_list = spec.timestamp.as_ref().and_then(|timestamp| timestamp.list.as_deref());
    let Some(list) = &spec.list else {
        if in_list.is_some() {
            problems.add(
                "timestamp.list",
                "`timestamp.list` without `list`",
                "describe the list: `list = { items = \",\", … }`",
            );
        }
        return Some(None);
    };
    let before = problems.0.len();
    let separators = [("list.groups", &list.groups), ("list.items", &list.items), ("list.kv", &list.kv)];
    for (key, _) in separators.iter().filter(|(_, text)| text.as_deref() == Some("")) {
        problems.add(key, "an empty separator", "name the separator, or leave the key out");
    }
    if list.items.is_none() {
        problems.add("list.items", "`list.items` is not set", "name the separator of the items, such as `,`");
    }
    match (&list.kv, &list.signature) {
        (Some(_), None) => {
            problems.add(
                "list.signature",
                "`list.signature` is not set",
                "name the key of a signature, such as `v1`",
            );
        }
        (None, Some(_)) => {
            problems.add(
                "list.kv",
                "`list.signature` without `list.kv`",
                "name what stands between key and value, such as `=`",
            );
        }
        _ => {}
    }
    if let (Some(one), Some(other)) = (in_list, list.timestamp.as_deref())
        && one != other
    {
        problems.add("list.timestamp", "`list.timestamp` and `timestamp.list` differ", "set one of them");
    }
    let timestamp = match (in_list.or(list.timestamp.as_deref()), &list.kv) {
        (Some(key), Some(_)) => Some(ListTime::Key(key.to_owned())),
        (Some(index), None) => match index.parse() {
            Ok(index) => Some(ListTime::Index(index)),
            Err(_) => {
                let message = format!("`{index}` is not a position");
                problems.add(
                    "list.timestamp",
                    message,
                    "without `kv` it is the position of the timestamp: `0`",
                );
                None
            }
        },
        (None, _) => None,
    };
    if problems.0.len() > before {
        return None;
    }
    Some(Some(ListRule {
        groups: list.groups.clone(),
        items: list.items.clone()?,
        kv: list.kv.clone(),
        signature: list.signature.clone().unwrap_or_default(),
        timestamp,
    }))
}

fn layout(spec: &SchemeSpec, problems: &mut Problems) -> Option<Layout> {
    let signature = signature_at(spec, None, problems);
    let time = time_rule(spec, problems);
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
    Some(Layout { signature, time, content, require, key_id })
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
        return match place.parse::<Locator>() {
            Ok(locator) => Some(SignatureAt::Located(locator)),
            Err(error) => {
                problems.add("signature", error.message, error.hint);
                None
            }
        };
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

/// The outer `Option` is failure, the inner one absence.
#[expect(clippy::option_option, reason = "a timestamp may rightly be absent, and may be wrong")]
fn time_rule(spec: &SchemeSpec, problems: &mut Problems) -> Option<Option<TimeRule>> {
    let listed = spec.list.as_ref().and_then(|list| list.timestamp.as_ref());
    let timestamp = match (&spec.timestamp, listed) {
        (None, None) => return Some(None),
        (Some(timestamp), _) => timestamp.clone(),
        (None, Some(_)) => TimestampSpec::default(),
    };
    let before = problems.0.len();
    let at = time_at(&timestamp, listed.is_some(), problems);
    let unit = match timestamp.unit.as_deref() {
        None | Some("s") => Some(Unit::Seconds),
        Some("ms") => Some(Unit::Millis),
        Some("rfc3339") => Some(Unit::Rfc3339),
        Some(other) => {
            problems.add(
                "timestamp.unit",
                format!("`{other}` is not a unit"),
                one_of(&["s", "ms", "rfc3339"]),
            );
            None
        }
    };
    let tolerance = match timestamp.tolerance.as_deref() {
        None => Some(TOLERANCE),
        Some("none") => None,
        Some(text) => match parse_duration(text) {
            Ok(tolerance) if tolerance > TOLERANCE_MAX => {
                problems.add(
                    "timestamp.tolerance",
                    format!("`{text}` is longer than a day: whoever caught a request could send it again until then"),
                    "`5m` is usual; `none` where the provider signs old times",
                );
                None
            }
            Ok(tolerance) if !tolerance.is_zero() => Some(tolerance),
            Ok(_) => {
                problems.add(
                    "timestamp.tolerance",
                    "a tolerance of zero refuses everything",
                    "`5m`, or `none`",
                );
                None
            }
            Err(message) => {
                problems.add(
                    "timestamp.tolerance",
                    message,
                    "a number and `ms`, `s`, `m`, `h` or `d`, such as `5m`",
                );
                None
            }
        },
    };
    if problems.0.len() > before {
        return None;
    }
    Some(Some(TimeRule { at: at?, unit: unit?, tolerance, future: timestamp.future.unwrap_or(true) }))
}

fn time_at(timestamp: &TimestampSpec, listed: bool, problems: &mut Problems) -> Option<TimeAt> {
    let in_list = timestamp.list.is_some() || listed;
    let places = [timestamp.header.is_some(), in_list, timestamp.json.is_some()];
    match places.iter().filter(|set| **set).count() {
        1 => {}
        0 => {
            problems.add(
                "timestamp",
                "it does not say where the timestamp stands",
                "set `header`, `list` or `json`",
            );
            return None;
        }
        _ => {
            problems.add(
                "timestamp",
                "more than one place for the timestamp",
                "keep one of `header`, `list`, `json`",
            );
            return None;
        }
    }
    if let Some(name) = &timestamp.header {
        return problems.header("timestamp.header", name).map(TimeAt::Header);
    }
    if let Some(pointer) = &timestamp.json {
        return match format!("json:{pointer}").parse() {
            Ok(locator) => Some(TimeAt::Json(locator)),
            Err(error) => {
                let error: SpecError = error;
                problems.add("timestamp.json", error.message, error.hint);
                None
            }
        };
    }
    Some(TimeAt::List)
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
        if headers == spec.header.as_slice() { spec.header.clone() } else { super::OneOrMany::Many(headers) };
    if let Some(timestamp) = &mut other.timestamp {
        timestamp.header = timestamp.header.as_deref().map(rename);
    }
    other.key_id = spec.key_id.as_deref().map(rename);
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
