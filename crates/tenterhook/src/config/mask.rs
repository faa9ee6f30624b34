//! The effective config as JSON: what is written, over the defaults, with every secret as `***` beside the name of its
//! reference. For `GET /api/v1/config`.

use serde_json::{Map, Value as Json, json};

use super::file::{Node, Table, Value, parse_value};
use super::schema::{self, Key, Kind, SECTIONS, Shape};
use super::secrets::{is_reference, reference_of};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Masks a checked file.
pub(super) fn masked(root: &Table) -> Json {
    let mut all = Map::new();
    for section in SECTIONS {
        let node = root.node(section.name);
        let table = |node: Option<&Node>| {
            let written = node.and_then(Node::table);
            let kind = written.and_then(|table| table.node("type")).and_then(Node::text);
            effective(written, schema::keys(section.name, kind))
        };
        let json = match section.shape {
            Shape::Single => table(node),
            Shape::Named => {
                let named = node.and_then(Node::table).map(|named| named.0.as_slice()).unwrap_or_default();
                Json::Object(named.iter().map(|(name, node)| (name.clone(), table(Some(node)))).collect())
            }
            Shape::Repeated => {
                let entries = node.map(Node::items).unwrap_or_default();
                Json::Array(entries.iter().map(|node| table(Some(node))).collect())
            }
        };
        all.insert(section.name.to_owned(), json);
    }
    Json::Object(all)
}

/// Every key of a table: as written, or its default; keys that are unset and have none are left out.
fn effective(written: Option<&Table>, keys: &'static [Key]) -> Json {
    let mut object = Map::new();
    for key in keys {
        let node = written.and_then(|table| table.node(key.name));
        let json = match (node, key.kind, key.default) {
            (None, Kind::Table(inner), _) if inner.iter().all(|inner| inner.default.is_some()) => {
                Some(effective(None, inner))
            }
            (Some(node), kind, _) => Some(json_of(&node.value, kind, node)),
            (None, _, Some(default)) => parse_value(default).map(|value| plain(&value)),
            (None, _, None) => None,
        };
        object.extend(json.map(|json| (key.name.to_owned(), json)));
    }
    Json::Object(object)
}

fn json_of(value: &Value, kind: Kind, node: &Node) -> Json {
    match kind {
        Kind::Table(keys) => effective(node.table(), keys),
        Kind::List(inner) | Kind::OneOrMany(inner) if matches!(value, Value::List(_)) => {
            Json::Array(node.items().iter().map(|item| json_of(&item.value, *inner, item)).collect())
        }
        Kind::OneOrMany(inner) => json_of(value, *inner, node),
        Kind::Map(inner) => {
            let entries = node.table().map(|table| table.0.as_slice()).unwrap_or_default();
            Json::Object(
                entries.iter().map(|(key, item)| (key.clone(), json_of(&item.value, *inner, item))).collect(),
            )
        }
        Kind::Secret => secret(node),
        Kind::TextOrReference | Kind::Url if node.text().is_some_and(is_reference) => secret(node),
        _ => plain(value),
    }
}

/// A secret: its mask, its reference, its dates.
fn secret(node: &Node) -> Json {
    let mut object = Map::new();
    object.insert("value".to_owned(), json!(MASK));
    object.insert("ref".to_owned(), json!(reference_of(node)));
    for date in ["not_before", "not_after", "created"] {
        let written = node.table().and_then(|table| table.node(date));
        object.extend(written.map(|node| (date.to_owned(), plain(&node.value))));
    }
    Json::Object(object)
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Text(text) | Value::Date(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::List(items) => Json::Array(items.iter().map(|item| plain(&item.value)).collect()),
        Value::Table(table) => {
            Json::Object(table.0.iter().map(|(key, node)| (key.clone(), plain(&node.value))).collect())
        }
    }
}
