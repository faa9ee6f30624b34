//! The config as written: TOML as a tree in which every value knows its line. Knows no key of ours.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};

/// The longest config file, in bytes: far beyond any real one, and small enough to hold in memory twice.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// At most this many syntax errors are told: after the first few they are mostly echoes of one another.
const SYNTAX_ERRORS_MAX: usize = 20;

/// A value with the place where it was written. Deliberately not `Debug`: it may hold what ought to be a reference but
/// is a secret.
#[derive(Clone, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// What can be written.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    /// A TOML date or time, as written.
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// Keys and values in the order in which they were written.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Table(pub(super) Vec<(String, Node)>);

impl Table {
    /// The value under `key`.
    pub(super) fn node(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The entries of `[[key]]`; none where it is anything else.
    pub(super) fn entries(&self, key: &str) -> &[Node] {
        match self.node(key).map(|node| &node.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The value under `key`, to change it.
    pub(super) fn node_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The line of each key of these tables, by dotted path.
    pub(super) fn lines_of(&self, tables: &[&str]) -> BTreeMap<String, usize> {
        let mut lines = BTreeMap::new();
        for name in tables {
            for (key, node) in self.node(name).and_then(Node::table).map_or(&[][..], |table| &table.0) {
                if let Origin::Line(line) = node.origin {
                    lines.insert(format!("{name}.{key}"), line);
                }
            }
        }
        lines
    }

    /// Sets the value under `key`.
    pub(super) fn set(&mut self, key: &str, node: Node) {
        match self.node_mut(key) {
            Some(old) => *old = node,
            None => self.0.push((key.to_owned(), node)),
        }
    }
}

impl Value {
    /// What it is, for messages: `text`, `a list`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a decimal number",
            Self::Flag(_) => "`true` or `false`",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items: of a list, or itself alone.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// The table, where it is one.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// As a value of the `toml` crate, for what is deserialized elsewhere.
    pub(super) fn to_toml(&self) -> toml::Value {
        match &self.value {
            Value::Text(text) | Value::Date(text) => toml::Value::String(text.clone()),
            Value::Integer(number) => toml::Value::Integer(*number),
            Value::Float(number) => toml::Value::Float(*number),
            Value::Flag(flag) => toml::Value::Boolean(*flag),
            Value::List(items) => toml::Value::Array(items.iter().map(Self::to_toml).collect()),
            Value::Table(table) => {
                toml::Value::Table(table.0.iter().map(|(key, node)| (key.clone(), node.to_toml())).collect())
            }
        }
    }
}

/// Reads TOML; every syntax error at once. Its messages are fixed sentences, so no secret is in them.
pub(super) fn parse(text: &str) -> Result<Table, Vec<Problem>> {
    let lines = Lines::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), &lines));
    }
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            line: Some(error.span().map_or(1, |span| lines.at(span.start))),
            key: String::new(),
            message: format!("not valid TOML: {}", error.message()),
            hint: hint_of(error.message()).to_owned(),
        })
        .collect();
    problems.sort_by_key(|problem| problem.line);
    problems.dedup();
    problems.truncate(SYNTAX_ERRORS_MAX);
    Err(problems)
}

/// One TOML value as it would stand behind a `=`; for the defaults in the table of keys.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(value(parsed.get_ref(), &Lines::of(text)))
}

fn hint_of(message: &str) -> &'static str {
    let looks_like_text = message.contains("must be quoted")
        || ["float", "integer", "date", "number", "boolean"].iter().any(|kind| message.contains(kind));
    if looks_like_text {
        "write text between double quotes: `key = \"value\"`"
    } else if message.contains("duplicate key") {
        "the same key or table is written twice: keep one of them"
    } else {
        ""
    }
}

fn table(written: &DeTable<'_>, lines: &Lines) -> Table {
    // The parser sorts its tables by name; people read problems in the order of the file.
    let mut entries: Vec<_> = written.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let node = |key: &Spanned<_>, written: &Spanned<DeValue<'_>>| Node {
        origin: Origin::Line(lines.at(key.span().start)),
        value: value(written.get_ref(), lines),
    };
    Table(entries.into_iter().map(|(key, written)| (key.get_ref().to_string(), node(key, written))).collect())
}

fn value(written: &DeValue<'_>, lines: &Lines) -> Value {
    match written {
        DeValue::String(text) => Value::Text(text.to_string()),
        // An integer beyond 64 bits is beyond every range of ours, too.
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(match number.as_str() {
                negative if negative.starts_with('-') => i64::MIN,
                _ => i64::MAX,
            }),
        ),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node {
                    origin: Origin::Line(lines.at(item.span().start)),
                    value: value(item.get_ref(), lines),
                })
                .collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    }
}

/// Where each line starts, so that a span becomes a line in logarithmic time.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte offset, counted from 1.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let Ok(root) = parse("[a]\nb = 1\nc = [\n  2,\n  { d = 3 },\n]\n[a.e]\n[[f]]\ng = 4\n[[f]]\n") else {
            panic!("valid")
        };
        let a = root.node("a").unwrap();
        assert!(a.origin == Origin::Line(1));
        let table = a.table().unwrap();
        assert!(table.node("b").unwrap().origin == Origin::Line(2));
        let items = table.node("c").unwrap().items();
        assert!(items[0].origin == Origin::Line(4) && items[1].origin == Origin::Line(5));
        assert!(table.node("e").unwrap().origin == Origin::Line(7));
        let entries = root.node("f").unwrap().items();
        assert!(entries[0].origin == Origin::Line(8) && entries[1].origin == Origin::Line(10));
    }

    #[test]
    fn every_syntax_error_is_told_with_its_line() {
        let Err(problems) = parse("a = 1\nb = oops\nc = \"open\na = 2\n") else { panic!("invalid") };
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4)]);
    }
}
