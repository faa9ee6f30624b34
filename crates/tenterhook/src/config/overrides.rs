//! `TENTERHOOK__SECTION__NAME__KEY` in the environment: single values, set over what the file says. Knows the table of
//! keys, so that a variable that names nothing is a problem and not a surprise.

use std::collections::BTreeMap;

use super::file::{Node, Table, Value};
use super::problem::{Findings, Origin, Place, suggestion};
use super::schema::{self, Key, Kind, SECTIONS, Shape};

/// What the name of every override starts with.
pub(super) const PREFIX: &str = "TENTERHOOK__";

/// Sets every override of `environment` in `root`.
pub(super) fn apply(root: &mut Table, environment: &BTreeMap<String, String>, findings: &mut Findings) {
    for (variable, text) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if let Err((message, hint)) = apply_one(root, variable, text) {
            let place = Place { key: variable.clone(), origin: Some(Origin::Variable(variable.clone())) };
            findings.problem(&place, message, hint);
        }
    }
}

type Refusal = (String, String);

fn apply_one(root: &mut Table, variable: &str, text: &str) -> Result<(), Refusal> {
    let words: Vec<&str> = variable[PREFIX.len()..].split("__").collect();
    let section =
        pick(words[0], &SECTIONS.iter().map(|section| section.name).collect::<Vec<_>>(), "section")?;
    let shape = SECTIONS.iter().find(|known| known.name == section).map(|known| known.shape);
    let origin = Origin::Variable(variable.to_owned());
    match shape {
        Some(Shape::Single) => {
            let table = table_at(root, section, &origin)?;
            set(table, section, schema::keys(section, None), &words[1..], text, &origin)
        }
        Some(Shape::Named) => {
            let Some(wanted) = words.get(1) else { return Err(incomplete(section)) };
            let named = table_at(root, section, &origin)?;
            let names: Vec<String> = named.0.iter().map(|(name, _)| name.clone()).collect();
            let name = pick(wanted, &names.iter().map(String::as_str).collect::<Vec<_>>(), section)?;
            let table = table_at(named, name, &origin)?;
            let kind = table.node("type").and_then(Node::text).map(str::to_owned);
            set(table, name, schema::keys(section, kind.as_deref()), &words[2..], text, &origin)
        }
        _ => Err((
            format!("`{section}` is a list, which the environment cannot change"),
            "change it in the file".to_owned(),
        )),
    }
}

fn set(
    table: &mut Table,
    of: &str,
    keys: &'static [Key],
    words: &[&str],
    text: &str,
    origin: &Origin,
) -> Result<(), Refusal> {
    let Some((first, rest)) = words.split_first() else { return Err(incomplete(of)) };
    let name = pick(first, &keys.iter().map(|key| key.name).collect::<Vec<_>>(), "key")?;
    let kind = schema::find(keys, name).map_or(Kind::Any, |key| key.kind);
    match kind {
        Kind::Table(inner) => set(table_at(table, name, origin)?, name, inner, rest, text, origin),
        kind if !kind.is_scalar() => Err((
            format!("`{name}` is not a single value, and the environment can set nothing else"),
            "change it in the file".to_owned(),
        )),
        _ if !rest.is_empty() => {
            Err((format!("`{name}` is a single value: nothing comes after it"), String::new()))
        }
        kind => {
            table.set(name, Node { origin: origin.clone(), value: scalar(kind, text) });
            Ok(())
        }
    }
}

/// The table under `name`, made where it is not written.
fn table_at<'t>(table: &'t mut Table, name: &str, origin: &Origin) -> Result<&'t mut Table, Refusal> {
    if table.node(name).is_none() {
        table.set(name, Node { origin: origin.clone(), value: Value::Table(Table::default()) });
    }
    match table.node_mut(name).map(|node| &mut node.value) {
        Some(Value::Table(inner)) => Ok(inner),
        _ => Err((format!("`{name}` is not a table in the file"), String::new())),
    }
}

/// The candidate that `word` names: upper case, `-` as `_`.
fn pick<'c>(word: &str, candidates: &[&'c str], what: &str) -> Result<&'c str, Refusal> {
    let matching: Vec<&'c str> = candidates.iter().copied().filter(|name| spelled(name) == word).collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => {
            let lower = word.to_ascii_lowercase();
            let hint = if candidates.is_empty() {
                format!("the file has no `{what}` to change")
            } else {
                suggestion(&lower, candidates)
            };
            let what = what.trim_end_matches('s');
            Err((format!("no {what} is called `{}`", super::problem::shown(&lower)), hint))
        }
        several => Err((
            format!("it could mean {}", super::problem::quoted(several)),
            "rename one of them, or set the value in the file".to_owned(),
        )),
    }
}

/// A name as it stands in a variable.
fn spelled(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn incomplete(section: &str) -> Refusal {
    (
        format!("it names no key of `{section}`"),
        "the form is `TENTERHOOK__SECTION__KEY` or `TENTERHOOK__SECTION__NAME__KEY`".to_owned(),
    )
}

/// The value as its kind wants it; what does not fit stays text, and is refused by `check` like any other.
fn scalar(kind: Kind, text: &str) -> Value {
    let as_text = || Value::Text(text.to_owned());
    match kind {
        Kind::Flag => text.parse().map_or_else(|_| as_text(), Value::Flag),
        Kind::Integer { .. } => text.parse().map_or_else(|_| as_text(), Value::Integer),
        Kind::Decimal { .. } => text.parse().map_or_else(|_| as_text(), Value::Float),
        _ => as_text(),
    }
}
