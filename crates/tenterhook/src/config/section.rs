//! A table of the config, read by name: what is written there, or else the default from the table of keys. A value that
//! was found wrong by `check` reads as unset, so that whoever builds never meets it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::file::{Node, Table, Value, parse_value};
use super::problem::{Origin, Place};
use super::schema::{Key, Kind, find};
use super::values;
use crate::policy::limit::RatePolicy;

/// One table with its keys.
#[derive(Clone, Copy)]
pub(super) struct Section<'f> {
    path: &'f str,
    keys: &'static [Key],
    table: Option<&'f Table>,
    origin: Option<&'f Origin>,
}

impl<'f> Section<'f> {
    /// The table at `path`; `None` where it is not written: then every key has its default.
    pub(super) fn new(path: &'f str, keys: &'static [Key], node: Option<&'f Node>) -> Self {
        Self { path, keys, table: node.and_then(Node::table), origin: node.map(|node| &node.origin) }
    }

    /// Its TOML path.
    pub(super) fn path(&self) -> &'f str {
        self.path
    }

    /// The place of the table itself.
    pub(super) fn place(&self) -> Place {
        Place { key: self.path.to_owned(), origin: self.origin.cloned() }
    }

    /// The place of a key; of the table, where the key is not written.
    pub(super) fn at(&self, name: &str) -> Place {
        let origin = self.node(name).map(|node| &node.origin).or(self.origin);
        Place { key: format!("{}.{name}", self.path), origin: origin.cloned() }
    }

    /// What is written under a key.
    pub(super) fn node(&self, name: &str) -> Option<&'f Node> {
        self.table.and_then(|table| table.node(name))
    }

    /// Whether a key is written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    /// What is written, or else the default.
    fn value(&self, name: &str) -> Option<Value> {
        let key = find(self.keys, name);
        debug_assert!(key.is_some(), "`{name}` is not in the table of keys of `{}`", self.path);
        match self.node(name) {
            Some(node) => Some(node.value.clone()),
            None => parse_value(key?.default?),
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag; false where it is unset.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }

    /// A whole number.
    pub(super) fn integer<N: TryFrom<i64>>(&self, name: &str) -> Option<N> {
        match self.value(name)? {
            Value::Integer(number) => N::try_from(number).ok(),
            _ => None,
        }
    }

    /// A number.
    pub(super) fn decimal(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Float(number) => Some(number),
            // Whole numbers in such places are small: their ranges are checked.
            Value::Integer(number) => i32::try_from(number).ok().map(f64::from),
            _ => None,
        }
    }

    /// A duration; `None` where it is unset or `never`.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let text = self.text(name)?;
        values::duration(&text, 0, u64::MAX).ok()
    }

    /// A duration of a key that has a default.
    pub(super) fn set_duration(&self, name: &str) -> Duration {
        self.duration(name).unwrap_or_default()
    }

    /// A number of bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Text(text) => values::size(&text, 0, u64::MAX).ok(),
            Value::Integer(bytes) => u64::try_from(bytes).ok(),
            _ => None,
        }
    }

    /// A rate.
    pub(super) fn rate(&self, name: &str) -> Option<RatePolicy> {
        rate_of(&self.value(name)?).ok()
    }

    /// A list of texts; a single one counts as a list.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let single = |value: Value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        };
        match self.value(name) {
            Some(Value::List(items)) => items.into_iter().filter_map(|item| single(item.value)).collect(),
            Some(value) => single(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A list of whole numbers.
    pub(super) fn integers<N: TryFrom<i64>>(&self, name: &str) -> Vec<N> {
        let Some(Value::List(items)) = self.value(name) else { return Vec::new() };
        let number = |item: Node| match item.value {
            Value::Integer(number) => N::try_from(number).ok(),
            _ => None,
        };
        items.into_iter().filter_map(number).collect()
    }

    /// A list of networks.
    pub(super) fn networks(&self, name: &str) -> Vec<IpNet> {
        self.texts(name).iter().filter_map(|text| values::network(text).ok()).collect()
    }

    /// A path, relative to `directory`.
    pub(super) fn file(&self, name: &str, directory: &Path) -> Option<PathBuf> {
        self.text(name).map(|text| directory.join(text))
    }

    /// The items of a list with the place of each.
    pub(super) fn items(&self, name: &str) -> Vec<(Place, &'f Node)> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let is_list = matches!(node.value, Value::List(_));
        let place = |(index, item): (usize, &'f Node)| {
            let key = if is_list {
                format!("{}.{name}[{index}]", self.path)
            } else {
                format!("{}.{name}", self.path)
            };
            (Place { key, origin: Some(item.origin.clone()) }, item)
        };
        node.items().iter().enumerate().map(place).collect()
    }

    /// The entries of a table with free keys, with the place of each.
    pub(super) fn entries(&self, name: &str) -> Vec<(&'f str, Place, &'f Node)> {
        let Some(table) = self.node(name).and_then(Node::table) else { return Vec::new() };
        let entry = |(key, node): &'f (String, Node)| {
            let place =
                Place { key: format!("{}.{name}.{key}", self.path), origin: Some(node.origin.clone()) };
            (key.as_str(), place, node)
        };
        table.0.iter().map(entry).collect()
    }

    /// Reads a table within this one; `path` has to be `self.path().name`.
    pub(super) fn inner<'p>(&self, name: &str, path: &'p str) -> Section<'p>
    where
        'f: 'p,
    {
        let keys = match find(self.keys, name).map(|key| key.kind) {
            Some(Kind::Table(keys)) => keys,
            _ => &[],
        };
        debug_assert!(!keys.is_empty(), "`{name}` is not a table of `{}`", self.path);
        Section::new(path, keys, self.node(name))
    }
}

/// A rate as text, or `{ rate, burst }`.
pub(super) fn rate_of(value: &Value) -> Result<RatePolicy, String> {
    let expected = "expected a rate such as `100/s`, or `{ rate = \"100/s\", burst = 200 }`";
    match value {
        Value::Text(text) => values::rate(text, None),
        Value::Table(table) => {
            let burst = match table.node("burst").map(|node| &node.value) {
                None => None,
                Some(Value::Integer(burst)) => {
                    let in_range =
                        u32::try_from(*burst).ok().filter(|burst| (1..=10_000_000).contains(burst));
                    Some(in_range.ok_or("`burst` is out of range: from 1 to 10000000")?)
                }
                Some(_) => return Err("expected a whole number for `burst`".to_owned()),
            };
            if let Some((stray, _)) = table.0.iter().find(|(key, _)| key != "rate" && key != "burst") {
                return Err(format!("unknown key `{}` in a rate", super::problem::shown(stray)));
            }
            values::rate(table.node("rate").and_then(Node::text).ok_or(expected)?, burst)
        }
        _ => Err(expected.to_owned()),
    }
}
