//! `verify = { … }`: a scheme of one's own. The grammar is checked where it lives, in `tenterhook-verify`; here its
//! findings get their lines.

use serde::Deserialize;
use tenterhook_verify::{Scheme, SchemeSpec, SpecError};

use super::file::{Node, Value};
use super::problem::{Findings, Place, suggestion};
use super::schema::{self, Key};

/// Reads and compiles a scheme; `None` where it is wrong.
pub(super) fn scheme(
    place: &Place,
    node: &Node,
    keys: &'static [Key],
    findings: &mut Findings,
) -> Option<Scheme> {
    let Value::Table(table) = &node.value else {
        let message = match &node.value {
            Value::Text(_) => "expected a table or `\"none\"`".to_owned(),
            other => format!("expected a table or `\"none\"`, found {}", other.kind()),
        };
        findings.problem(place, message, "such as `{ header = \"X-Signature\", mac = \"hmac-sha256\" }`");
        return None;
    };
    let before = findings.problems.len();
    if table.0.is_empty() {
        findings.problem(place, "the scheme is empty", "say at least `header` and `mac`, or `algorithm`");
    }
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    for (name, inner) in &table.0 {
        let inner_place = Place { key: format!("{}.{name}", place.key), origin: Some(inner.origin.clone()) };
        match schema::find(keys, name) {
            Some(key) => super::check::value(&inner_place, inner, key.kind, findings),
            None => findings.problem(&inner_place, "unknown key", suggestion(name, &names)),
        }
    }
    if findings.problems.len() > before {
        return None;
    }
    compile(place, node, findings)
}

fn compile(place: &Place, node: &Node, findings: &mut Findings) -> Option<Scheme> {
    let spec = match SchemeSpec::deserialize(node.to_toml()) {
        Ok(spec) => spec,
        Err(error) => {
            let message = error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
            findings.problem(place, format!("not a scheme: {}", message.trim()), "");
            return None;
        }
    };
    match spec.compile() {
        Ok(scheme) => Some(scheme),
        Err(errors) => {
            for error in errors {
                let SpecError { key, message, hint } = &error;
                findings.problem(&within(place, node, key), message, hint);
            }
            None
        }
    }
}

/// The place of a dotted key below `node`, or of the deepest table on the way that is written.
fn within(place: &Place, node: &Node, dotted: &str) -> Place {
    let mut found = place.clone();
    let mut node = Some(node);
    for word in dotted.split('.').filter(|word| !word.is_empty()) {
        found.key = format!("{}.{word}", found.key);
        node = node.and_then(Node::table).and_then(|table| table.node(word));
        if let Some(node) = node {
            found.origin = Some(node.origin.clone());
        }
    }
    found
}
