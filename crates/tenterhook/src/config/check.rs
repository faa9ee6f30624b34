//! Holds the config as written against the table of keys: unknown keys and names, missing keys, wrong types, values out
//! of range. Every problem at once. Knows no rule that takes more than one key; those are where the parts are built.

use http::HeaderName;
use tenterhook_verify::Locator;

use super::file::{Node, Table, Value};
use super::problem::{Findings, Origin, Place, closest, quoted, shown, suggestion};
use super::schema::{self, Key, Kind, Need, SECTIONS, Shape, TYPE};
use super::values;
use crate::model::{DestinationName, SourceName};

/// Checks the whole file.
pub(super) fn check(root: &Table, findings: &mut Findings) {
    let known: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
    for (name, node) in &root.0 {
        let place = Place { key: name.clone(), origin: Some(node.origin.clone()) };
        match SECTIONS.iter().find(|section| section.name == name) {
            None => unknown_section(name, &place, &known, findings),
            Some(section) => match section.shape {
                Shape::Single => table(&place, node, schema::keys(name, None), findings),
                Shape::Named => named(&place, name, node, findings),
                Shape::Repeated => repeated(&place, name, node, findings),
            },
        }
    }
}

fn unknown_section(name: &str, place: &Place, known: &[&str], findings: &mut Findings) {
    let owner = SECTIONS
        .iter()
        .filter(|section| section.shape == Shape::Single)
        .find(|section| schema::find(schema::keys(section.name, None), name).is_some());
    let hint = match (closest(name, known.iter().copied()), owner) {
        (None, Some(section)) => format!("`{name}` is a key of `[{}]`", section.name),
        _ => suggestion(name, known),
    };
    findings.problem(place, "unknown section", hint);
}

fn named(place: &Place, section: &str, node: &Node, findings: &mut Findings) {
    let Some(entries) = expect_table(place, node, findings) else { return };
    for (name, entry) in &entries.0 {
        let place =
            Place { key: format!("{}.{}", place.key, shown(name)), origin: Some(entry.origin.clone()) };
        if section == "sources" {
            check_source_name(name, &place, findings);
            table(&place, entry, schema::SOURCE, findings);
        } else {
            if let Err(error) = name.parse::<DestinationName>() {
                findings.problem(&place, error.to_string(), "");
            }
            destination(&place, entry, findings);
        }
    }
}

fn check_source_name(name: &str, place: &Place, findings: &mut Findings) {
    if let Err(error) = name.parse::<SourceName>() {
        findings.problem(place, error.to_string(), "");
    }
    if name == "health" {
        findings.problem(
            place,
            "a source cannot be called `health`",
            "`/webhooks/health` answers health checks: choose another name",
        );
    }
}

/// A destination's keys depend on its `type`; where that is missing or wrong, on the keys that it has.
fn destination(place: &Place, node: &Node, findings: &mut Findings) {
    let Some(entries) = expect_table(place, node, findings) else { return };
    let written = entries.node("type").and_then(Node::text);
    let kind = match written {
        Some("http") => "http",
        Some("command") => "command",
        _ if entries.node("command").is_some() => "command",
        _ => "http",
    };
    let (own, other, other_kind) = match kind {
        "command" => (schema::COMMAND, schema::HTTP, "http"),
        _ => (schema::HTTP, schema::COMMAND, "command"),
    };
    for (name, inner) in &entries.0 {
        let place = inside(place, name, inner);
        match schema::find(own, name) {
            Some(key) => value(&place, inner, key.kind, findings),
            None if schema::find(other, name).is_some() => {
                let hint = format!("this destination has `type = \"{kind}\"`");
                findings.problem(&place, format!("a key of `type = \"{other_kind}\"` only"), hint);
            }
            None => unknown_key(&place, name, own, findings),
        }
    }
    if written.is_some_and(|text| !schema::DESTINATION_KINDS.contains(&text)) {
        return;
    }
    missing(place, entries, own, findings);
}

fn repeated(place: &Place, section: &str, node: &Node, findings: &mut Findings) {
    let Value::List(items) = &node.value else {
        let message = format!("expected `[[{section}]]`, found {}", node.value.kind());
        findings.problem(place, message, format!("each entry starts with a line `[[{section}]]`"));
        return;
    };
    for (index, item) in items.iter().enumerate() {
        let place = Place { key: format!("{section}[{index}]"), origin: Some(item.origin.clone()) };
        table(&place, item, schema::keys(section, None), findings);
    }
}

/// Checks a table against its keys.
fn table(place: &Place, node: &Node, keys: &'static [Key], findings: &mut Findings) {
    let Some(entries) = expect_table(place, node, findings) else { return };
    for (name, inner) in &entries.0 {
        let place = inside(place, name, inner);
        match schema::find(keys, name) {
            Some(key) => value(&place, inner, key.kind, findings),
            None => unknown_key(&place, name, keys, findings),
        }
    }
    missing(place, entries, keys, findings);
}

fn inside(place: &Place, name: &str, node: &Node) -> Place {
    Place { key: format!("{}.{}", place.key, shown(name)), origin: Some(node.origin.clone()) }
}

fn expect_table<'n>(place: &Place, node: &'n Node, findings: &mut Findings) -> Option<&'n Table> {
    if node.table().is_none() {
        let message = format!("expected a table, found {}", node.value.kind());
        findings.problem(
            place,
            message,
            format!("write `[{}]` on a line of its own, its keys below", place.key),
        );
    }
    node.table()
}

fn unknown_key(place: &Place, name: &str, keys: &'static [Key], findings: &mut Findings) {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    findings.problem(place, "unknown key", suggestion(name, &names));
}

fn missing(place: &Place, entries: &Table, keys: &'static [Key], findings: &mut Findings) {
    for key in keys.iter().filter(|key| key.need == Need::Required && entries.node(key.name).is_none()) {
        let hint = if key.name == TYPE.name {
            format!("one of {}", quoted(schema::DESTINATION_KINDS))
        } else {
            format!("add `{} = {}`, with a value of your own", key.name, key.sample)
        };
        findings.problem(place, format!("`{}` is missing", key.name), hint);
    }
}

/// Checks one value.
pub(super) fn value(place: &Place, node: &Node, kind: Kind, findings: &mut Findings) {
    match kind {
        Kind::Table(keys) => table(place, node, keys, findings),
        Kind::List(inner) => list(place, node, *inner, findings),
        Kind::OneOrMany(inner) => match &node.value {
            Value::List(_) => list(place, node, *inner, findings),
            _ => value(place, node, *inner, findings),
        },
        Kind::Map(inner) => {
            let Some(entries) = expect_table(place, node, findings) else { return };
            for (name, item) in &entries.0 {
                value(&inside(place, name, item), item, *inner, findings);
            }
        }
        Kind::Secret => secret(place, node, findings),
        Kind::Locators => locators(place, node, findings),
        Kind::EventId if node.text() == Some("digest") => {}
        Kind::EventId => locators(place, node, findings),
        Kind::Rate => {
            if let Err(message) = super::section::rate_of(&node.value) {
                findings.problem(place, message, "");
            }
        }
        // Checked by the crate that knows the grammar.
        Kind::Verify | Kind::Any => {}
        scalar_kind => scalar(place, node, scalar_kind, findings),
    }
}

fn list(place: &Place, node: &Node, inner: Kind, findings: &mut Findings) {
    let Value::List(items) = &node.value else {
        let message = format!("expected a list, found {}", node.value.kind());
        findings.problem(place, message, "write it between `[` and `]`");
        return;
    };
    const ITEMS_MAX: usize = 10_000;
    if items.len() > ITEMS_MAX {
        findings.problem(place, format!("more than {ITEMS_MAX} items"), "");
        return;
    }
    for (index, item) in items.iter().enumerate() {
        let place = Place { key: format!("{}[{index}]", place.key), origin: Some(item.origin.clone()) };
        value(&place, item, inner, findings);
    }
}

/// The shape of a secret only: what it refers to is looked up later. Its text is never shown.
fn secret(place: &Place, node: &Node, findings: &mut Findings) {
    match &node.value {
        Value::Text(_) => {}
        Value::Table(_) => table(place, node, schema::SECRET, findings),
        other => findings.problem(
            place,
            format!("expected a reference to a secret, found {}", other.kind()),
            "write `\"env:NAME\"`, or `{ ref = \"env:NAME\", not_after = \"2026-12-24\" }`",
        ),
    }
}

fn locators(place: &Place, node: &Node, findings: &mut Findings) {
    let hint = "a place is `header:NAME`, `json:/pointer`, `form:NAME` or `query:NAME`";
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        findings.problem(place, "the list is empty", hint);
    }
    for item in node.items() {
        let place = Place { key: place.key.clone(), origin: Some(item.origin.clone()) };
        match item.text().map(str::parse::<Locator>) {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let hint = if error.hint.is_empty() { hint } else { error.hint.as_str() };
                findings.problem(&place, error.message.clone(), hint);
            }
            None => findings.problem(&place, wrong_type(Kind::Locators, &item.value), hint),
        }
    }
}

fn wrong_type(kind: Kind, found: &Value) -> String {
    format!("expected {}, found {}", kind.expected(), found.kind())
}

fn scalar(place: &Place, node: &Node, kind: Kind, findings: &mut Findings) {
    let finding = match (kind, &node.value) {
        (Kind::Flag, Value::Flag(_)) => Ok(()),
        (Kind::Integer { min, max }, Value::Integer(number)) => in_range(*number, min, max),
        (Kind::Decimal { min, max }, Value::Float(number)) => in_range(*number, min, max),
        (Kind::Decimal { min, max }, Value::Integer(number)) => {
            in_range(i32::try_from(*number).map_or(f64::INFINITY, f64::from), min, max)
        }
        (Kind::Size { min, max }, Value::Integer(bytes)) => {
            let bytes = u64::try_from(*bytes).map(|bytes| bytes.to_string());
            values::size(bytes.as_deref().unwrap_or("-"), min, max).map(drop)
        }
        (kind, Value::Text(text)) if takes_text(kind) => return text_value(place, text, kind, findings),
        (kind, found) => Err(wrong_type(kind, found)),
    };
    if let Err(message) = finding {
        // The environment has no quotes to add or to leave out.
        let is_of_the_environment = matches!(node.origin, Origin::Variable(_));
        let hint = if is_of_the_environment { "" } else { hint_of(kind, &node.value) };
        findings.problem(place, message, hint);
    }
}

fn takes_text(kind: Kind) -> bool {
    !matches!(kind, Kind::Flag | Kind::Integer { .. } | Kind::Decimal { .. })
}

fn hint_of(kind: Kind, found: &Value) -> &'static str {
    match (kind, found) {
        (Kind::Duration { .. }, Value::Integer(_) | Value::Float(_)) => "say the unit, too: `\"30s\"`",
        (Kind::Flag | Kind::Integer { .. } | Kind::Decimal { .. }, Value::Text(_)) => {
            "write it without quotes"
        }
        (kind, Value::Integer(_) | Value::Float(_) | Value::Flag(_)) if takes_text(kind) => {
            "write it between double quotes"
        }
        _ => "",
    }
}

fn in_range<N: Copy + PartialOrd + std::fmt::Display>(number: N, min: N, max: N) -> Result<(), String> {
    if number >= min && number <= max { Ok(()) } else { Err(format!("out of range: from {min} to {max}")) }
}

fn text_value(place: &Place, text: &str, kind: Kind, findings: &mut Findings) {
    let finding = match kind {
        Kind::OneOf(words) if !words.contains(&text) => {
            let message = format!("`{}` is none of {}", shown(text), quoted(words));
            let hint = closest(text, words.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
            return findings.problem(place, message, hint.unwrap_or_default());
        }
        Kind::Text if text.trim().is_empty() => Err("is empty".to_owned()),
        Kind::Duration { or_never: true, .. } if text == "never" => Ok(()),
        Kind::Duration { min_ms, max_ms, .. } => values::duration(text, min_ms, max_ms).map(drop),
        Kind::Size { min, max } => values::size(text, min, max).map(drop),
        Kind::Socket => values::socket(text).map(drop),
        Kind::Network => values::network(text).map(drop),
        Kind::StoreUrl => store_url(text),
        Kind::HeaderName => header_name(text),
        Kind::UrlPath => url_path(text),
        Kind::Path if text.is_empty() || text.contains('\0') => Err("is not a path".to_owned()),
        Kind::Unmatched if text != "ignore" && !text.starts_with("deliver:") => {
            Err("expected `ignore` or `deliver:NAME`".to_owned())
        }
        _ => Ok(()),
    };
    if let Err(message) = finding {
        findings.problem(place, message, "");
    }
}

fn header_name(text: &str) -> Result<(), String> {
    HeaderName::try_from(text)
        .map(drop)
        .map_err(|_| format!("`{}` cannot be the name of a header", shown(text)))
}

fn store_url(text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some(("sqlite", path)) if !path.trim().is_empty() && !path.contains('\0') => Ok(()),
        Some(("memory", "")) => Ok(()),
        _ => Err("expected `sqlite:PATH` or `memory:`".to_owned()),
    }
}

fn url_path(text: &str) -> Result<(), String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !text.starts_with('/')
        || !visible
        || text.contains(['?', '#', '%'])
        || text.contains("//")
        || text.contains("/.")
    {
        return Err("expected a plain path such as `/webhooks/stripe`".to_owned());
    }
    let reserved = ["/healthz", "/readyz", "/metrics", "/webhooks/health", "/"];
    if reserved.contains(&text.trim_end_matches('/')) || text == "/" {
        return Err(format!("`{text}` is taken by the gateway itself"));
    }
    Ok(())
}
