//! References to secrets: `env:NAME`, `file:PATH`, `exec:COMMAND ARGS…`, and the rules that a secret has to keep. No
//! message of this file ever holds what was written in the place of a reference, nor what a reference led to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenterhook_verify::Secret;

use super::exec;
use super::file::{Node, Table, Value};
use super::problem::{Findings, Place, closest, shown};
use super::values;
use crate::model::Timestamp;

/// A config refuses shorter secrets, in bytes, unless the catalog entry of the provider says less.
pub(super) const SECRET_BYTES_MIN: usize = 16;

/// The longest secret, in bytes: more than any key file.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A secret older than this is warned about.
const AGE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

/// What people put where a secret is still to come.
const PLACEHOLDERS: &[&str] = &["changeme", "secret", "password", "test_secret", "whsec_"];

/// What a secret of some place has to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Its shortest length, in bytes.
    pub(super) bytes_min: usize,
    /// It is a public key: whitespace around it is of no account.
    pub(super) is_public_key: bool,
    /// How to get a good one.
    pub(super) hint: &'static str,
}

impl Default for Rules {
    /// Those of a provider's signing secret.
    fn default() -> Self {
        let hint = "copy the signing secret from the provider once more, whole and without spaces";
        Self { bytes_min: SECRET_BYTES_MIN, is_public_key: false, hint }
    }
}

/// What is wrong with a reference: message and hint.
type Refusal = (String, String);

/// Looks references up. Each is looked up once, however often it is named.
pub(super) struct Resolver<'e> {
    /// Where relative paths start.
    pub(super) directory: &'e Path,
    /// Where `env:` looks.
    pub(super) environment: &'e BTreeMap<String, String>,
    /// Judges dates.
    pub(super) now: Timestamp,
    /// Where the keys are that providers brought; `None`: nowhere.
    pub(super) learnt: Option<PathBuf>,
    /// Variables that hold secrets of this config: no command sees them.
    named: BTreeSet<String>,
    found: BTreeMap<String, Result<Vec<u8>, Refusal>>,
}

/// A text that may have come from a reference.
pub(super) struct Resolved {
    /// The text.
    pub(super) text: String,
    /// Where from, when it did: then the text is a secret.
    pub(super) reference: Option<String>,
}

impl<'e> Resolver<'e> {
    /// Looks in `environment`, and from `directory` on.
    pub(super) fn new(
        root: &Table,
        directory: &'e Path,
        environment: &'e BTreeMap<String, String>,
        now: Timestamp,
    ) -> Self {
        let mut named = BTreeSet::new();
        root.0.iter().for_each(|(_, node)| collect_variables(node, &mut named));
        Self { directory, environment, now, learnt: None, named, found: BTreeMap::new() }
    }

    /// All of a list of secrets. Refuses a list of which none counts now; warns about those that do not count any more
    /// and about old ones.
    pub(super) fn secrets(
        &mut self,
        at: &Place,
        items: &[(Place, &Node)],
        rules: Rules,
        findings: &mut Findings,
    ) -> Vec<Secret> {
        let secrets: Vec<Secret> =
            items.iter().filter_map(|(place, node)| self.secret(place, node, rules, findings)).collect();
        let now = self.now.to_system();
        let all_found = !items.is_empty() && secrets.len() == items.len();
        if all_found && !secrets.iter().any(|secret| secret.is_live(now)) {
            findings.problem(
                at,
                "no secret counts now: each is past its `not_after` or before its `not_before`",
                "add the secret that the provider signs with today",
            );
        }
        secrets
    }

    /// One secret.
    pub(super) fn secret(
        &mut self,
        place: &Place,
        node: &Node,
        rules: Rules,
        findings: &mut Findings,
    ) -> Option<Secret> {
        let reference = reference_of(node)?;
        let found = self.look_up(reference).and_then(|bytes| judged(bytes, rules));
        let secret = match found {
            Ok(bytes) => {
                let id = node.table().and_then(|table| table.node("id")).and_then(Node::text);
                let secret = Secret::new(bytes);
                Some(match id {
                    Some(id) => secret.with_id(id),
                    None => secret,
                })
            }
            Err((message, hint)) => {
                findings.problem(place, message, hint);
                None
            }
        };
        let (not_before, not_after) = self.life(place, node, findings);
        Some(secret?.during(not_before.map(Timestamp::to_system), not_after.map(Timestamp::to_system)))
    }

    /// The dates around a secret, with the warnings that they ask for.
    fn life(
        &self,
        place: &Place,
        node: &Node,
        findings: &mut Findings,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut dated = |name: &str| {
            let written = node.table()?.node(name)?;
            let moment = match &written.value {
                Value::Text(text) | Value::Date(text) => values::date(text),
                _ => None,
            };
            if moment.is_none() {
                let place =
                    Place { key: format!("{}.{name}", place.key), origin: Some(written.origin.clone()) };
                let hint = "a day such as `2026-12-24`, or a moment such as `2026-12-24T12:00:00Z`";
                findings.problem(&place, "expected a date", hint);
            }
            moment
        };
        let (not_before, not_after, created) = (dated("not_before"), dated("not_after"), dated("created"));
        if let (Some(start), Some(end)) = (not_before, not_after)
            && start >= end
        {
            findings.problem(place, "`not_after` is not later than `not_before`", "");
        }
        if not_after.is_some_and(|end| end <= self.now) {
            findings.warning(place, "this secret does not count any more", "remove it");
        } else if let Some(created) = created
            && self.now.since(created) > AGE_MAX
        {
            let days = self.now.since(created).as_secs() / (24 * 3600);
            let hint = "rotate it: add the new secret beside this one, then change it at the provider";
            findings.warning(place, format!("this secret is {days} days old"), hint);
        }
        (not_before, not_after)
    }

    /// A text that may be a reference.
    pub(super) fn text(&mut self, place: &Place, node: &Node, findings: &mut Findings) -> Option<Resolved> {
        let text = node.text()?;
        if !is_reference(text) {
            return Some(Resolved { text: text.to_owned(), reference: None });
        }
        let found = self.look_up(text).and_then(|bytes| {
            let text = String::from_utf8(bytes).map_err(|_| refusal("is not UTF-8 text", ""))?;
            if text.trim().is_empty() { Err(refusal("what it refers to is empty", "")) } else { Ok(text) }
        });
        match found {
            Ok(found) => Some(Resolved { text: found, reference: Some(text.to_owned()) }),
            Err((message, hint)) => {
                findings.problem(place, message, hint);
                None
            }
        }
    }

    fn look_up(&mut self, reference: &str) -> Result<Vec<u8>, Refusal> {
        if let Some(found) = self.found.get(reference) {
            return found.clone();
        }
        let found = match reference.split_once(':') {
            Some(("env", name)) => self.variable(name),
            Some(("file", path)) => read(&self.directory.join(path)),
            Some(("exec", command)) => {
                exec::run(command, self.directory, &self.environment_of_exec(), SECRET_BYTES_MAX)
            }
            _ => Err(literal(reference)),
        };
        self.found.insert(reference.to_owned(), found.clone());
        found
    }

    fn variable(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        if let Some(value) = self.environment.get(name) {
            return Ok(value.clone().into_bytes());
        }
        // Only what looks like the name of a variable is shown: whoever writes `env:` before the secret itself should
        // not find it in a log.
        let shape = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(shape) {
            return Err(refusal(
                "what follows `env:` is not an environment variable that is set",
                "write `env:NAME`, with the name of a variable and not its value",
            ));
        }
        let hint = match closest(name, self.environment.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean `env:{}`?", shown(meant)),
            None => {
                "set it for this process; `export` makes a shell variable one of the environment".to_owned()
            }
        };
        Err((format!("the environment variable `{}` is not set", shown(name)), hint))
    }

    /// What a secret manager's command may see: our environment without our overrides and this config's secrets.
    fn environment_of_exec(&self) -> BTreeMap<String, String> {
        let ours = |name: &str| name.starts_with(super::overrides::PREFIX) || self.named.contains(name);
        self.environment
            .iter()
            .filter(|(name, _)| !ours(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// The names behind every `env:` of the file.
fn collect_variables(node: &Node, named: &mut BTreeSet<String>) {
    match &node.value {
        Value::Text(text) => named.extend(text.strip_prefix("env:").map(str::to_owned)),
        Value::List(items) => items.iter().for_each(|item| collect_variables(item, named)),
        Value::Table(table) => table.0.iter().for_each(|(_, inner)| collect_variables(inner, named)),
        _ => {}
    }
}

/// Whether a text is a reference.
pub(super) fn is_reference(text: &str) -> bool {
    ["env:", "file:", "exec:"].iter().any(|prefix| text.starts_with(prefix))
}

/// The reference of a secret as written: the text itself, or its `ref`.
pub(super) fn reference_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::Table(table) => table.node("ref").and_then(Node::text),
        _ => None,
    }
}

fn refusal(message: &str, hint: &str) -> Refusal {
    (message.to_owned(), hint.to_owned())
}

fn literal(written: &str) -> Refusal {
    let hint = "put it into the environment and write `env:NAME`, or into a file and write `file:PATH`";
    if written.trim().is_empty() {
        refusal("the reference to a secret is empty", hint)
    } else if written.contains("${") {
        refusal("`${…}` is not resolved here", "write `env:NAME` instead of `${NAME}`")
    } else {
        refusal("a secret stands here literally: a config holds references only", hint)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let cannot = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the user that runs the gateway read it",
            _ => "a relative path starts at the config file",
        };
        (format!("cannot read `{}`: {}", shown(&path.display().to_string()), error.kind()), hint.to_owned())
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err((
            format!("`{}` is not a regular file", shown(&path.display().to_string())),
            String::new(),
        ));
    }
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err((format!("the file is longer than {SECRET_BYTES_MAX} bytes"), String::new()));
    }
    Ok(without_final_newline(bytes))
}

/// Without one final newline, which every editor adds and no provider signs with.
pub(super) fn without_final_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
}

/// Refuses what cannot be a real secret.
fn judged(bytes: Vec<u8>, rules: Rules) -> Result<Vec<u8>, Refusal> {
    let text = String::from_utf8_lossy(&bytes);
    let trimmed = text.trim();
    let message = if bytes.is_empty() {
        "the secret is empty".to_owned()
    } else if trimmed.is_empty() {
        "the secret is nothing but whitespace".to_owned()
    } else if PLACEHOLDERS.iter().any(|placeholder| trimmed.eq_ignore_ascii_case(placeholder)) {
        "the secret is a placeholder".to_owned()
    } else if trimmed.contains("${") {
        "the secret holds an unresolved `${…}`".to_owned()
    } else if is_reference(trimmed) {
        "the secret is itself a reference: it is not followed".to_owned()
    } else if trimmed.len() != text.len() && !rules.is_public_key {
        "the secret starts or ends with whitespace".to_owned()
    } else if bytes.len() < rules.bytes_min {
        format!("the secret is {} bytes long: at least {} are needed", bytes.len(), rules.bytes_min)
    } else if bytes.len() > SECRET_BYTES_MAX {
        format!("the secret is longer than {SECRET_BYTES_MAX} bytes")
    } else {
        return Ok(bytes);
    };
    Err((message, rules.hint.to_owned()))
}
