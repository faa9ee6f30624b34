//! The commented example and the reference page, written from the table of keys. Both are kept in the repository, and a
//! test holds them to what is written here.

use std::fmt::Write;

use super::schema::{self, Key, Kind, Need, SECRET, SECTIONS, Section, Shape, VERIFY};
use super::values::{duration_text, size_text};

/// How wide a comment is, in characters.
const WIDTH: usize = 100;

/// `tenterhook.example.toml`: every key, at its default where it has one.
#[must_use]
pub fn example() -> String {
    let mut text = String::from(
        "# Every key of Tenterhook's config with its default. A key that is commented out is unset by default.\n\
         # Generated from the program; `docs/reference/config.md` says the same as a page.\n\
         #\n\
         # Secrets are references: `env:NAME`, `file:PATH`, `exec:COMMAND ARGS…`. Relative paths start at this file.\n\
         # The environment overrides single values: TENTERHOOK__SERVER__LISTEN, TENTERHOOK__SOURCES__STRIPE__RATE.\n",
    );
    for section in SECTIONS {
        match (section.name, section.shape) {
            ("sources", _) => example_section(&mut text, section, "[sources.stripe]", "", None),
            ("destinations", _) => {
                example_section(&mut text, section, "[destinations.app]", "", Some("http"));
                example_section(&mut text, section, "[destinations.deploy]", "", Some("command"));
            }
            ("admin_tokens", _) => example_section(&mut text, section, "[[admin_tokens]]", "# ", None),
            (name, Shape::Repeated) => example_section(&mut text, section, &format!("[[{name}]]"), "", None),
            (name, _) => example_section(&mut text, section, &format!("[{name}]"), "", None),
        }
    }
    text.push_str("\n[[routes]]\nsource = \"stripe\"\nevents = [\"payout.*\"]\ndestination = \"deploy\"\n");
    text
}

fn example_section(text: &mut String, section: &Section, header: &str, off: &str, kind: Option<&str>) {
    text.push('\n');
    comment(text, section.doc);
    let _ = writeln!(text, "{off}{header}");
    let prefix = header.trim_matches(['[', ']']);
    example_keys(text, prefix, schema::keys(section.name, kind), off, kind);
}

fn example_keys(text: &mut String, prefix: &str, keys: &[Key], off: &str, kind: Option<&str>) {
    for key in keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_))) {
        comment(text, key.doc);
        let shown = match kind {
            Some(kind) if key.name == schema::TYPE.name => format!("\"{kind}\""),
            _ => key.default.unwrap_or(key.sample).to_owned(),
        };
        let is_set = key.default.is_some() || key.need != Need::Optional;
        let off = if is_set { off } else { "# " };
        let _ = writeln!(text, "{off}{} = {shown}", key.name);
    }
    for key in keys {
        let Kind::Table(inner) = key.kind else { continue };
        text.push('\n');
        comment(text, key.doc);
        // A table whose keys all have defaults can stand there; any other one is a choice.
        let off = if inner.iter().all(|key| key.default.is_some() || is_table(key)) { off } else { "# " };
        let path = format!("{prefix}.{}", key.name);
        let _ = writeln!(text, "{off}[{path}]");
        example_keys(text, &path, inner, off, None);
    }
}

fn is_table(key: &Key) -> bool {
    matches!(key.kind, Kind::Table(_))
}

/// A comment, wrapped.
fn comment(text: &mut String, doc: &str) {
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// `docs/reference/config.md`: every key as a page.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        let (header, kinds): (String, &[Option<&str>]) = match (section.name, section.shape) {
            ("destinations", _) => ("[destinations.NAME]".to_owned(), &[Some("http"), Some("command")]),
            (name, Shape::Named) => (format!("[{name}.NAME]"), &[None]),
            (name, Shape::Repeated) => (format!("[[{name}]]"), &[None]),
            (name, Shape::Single) => (format!("[{name}]"), &[None]),
        };
        let _ = write!(text, "\n## `{header}`\n\n{}\n", section.doc);
        for kind in kinds {
            if let Some(kind) = kind {
                let _ = write!(text, "\n### `type = \"{kind}\"`\n");
            }
            page_keys(&mut text, "", schema::keys(section.name, *kind));
        }
    }
    let _ = write!(text, "\n## A secret\n\nA reference as text, or a table:\n");
    page_keys(&mut text, "", SECRET);
    let _ = write!(text, "\n{SECRETS}\n## `verify`\n\n{GRAMMAR}\n");
    page_keys(&mut text, "", VERIFY);
    text
}

fn page_keys(text: &mut String, prefix: &str, keys: &[Key]) {
    if prefix.is_empty() {
        text.push_str("\n| key | value | default | what it is for |\n|---|---|---|---|\n");
    }
    for key in keys {
        let name = format!("{prefix}{}", key.name);
        let default = match (key.default, key.need) {
            (Some(default), _) => format!("`{default}`"),
            (None, Need::Required) => "required".to_owned(),
            (None, _) => "–".to_owned(),
        };
        let value = format!("{}{}", key.kind.expected(), range(key.kind));
        let _ = writeln!(text, "| `{name}` | {} | {default} | {} |", cell(&value), cell(key.doc));
        if let Kind::Table(inner) = key.kind {
            page_keys(text, &format!("{name}."), inner);
        }
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn range(kind: Kind) -> String {
    match kind {
        Kind::Duration { min_ms, max_ms, .. } => {
            format!(", from {} to {}", duration_text(min_ms), duration_text(max_ms))
        }
        Kind::Size { min, max } => format!(", from {} to {}", size_text(min), size_text(max)),
        _ => String::new(),
    }
}

const INTRODUCTION: &str = "\
# The config

Generated from the program. `tenterhook.example.toml` has the same as a file to start from; `tenterhook init` writes a
short one for a provider; `tenterhook check` tells everything that is wrong with one, with line and hint, without
starting anything.

- The file is `tenterhook.toml` unless `--config` names another. Relative paths start at the file.
- Durations have a unit (`ms`, `s`, `m`, `h`, `d`), sizes too (`KiB`, `MiB`, `GiB`, …; plain bytes as a number), rates
  are per `s`, `m` or `h`: `\"100/s\"`. A rate allows what a second brings at once, or
  `{ rate = \"100/s\", burst = 500 }`.
- `TENTERHOOK__SECTION__KEY` and `TENTERHOOK__SECTION__NAME__KEY` in the environment override single values: upper case,
  `-` as `_`, one more word per table (`TENTERHOOK__DESTINATIONS__APP__RETRY__BASE=2s`). A variable that names nothing is an error.
- `SIGHUP` reads the file, and what it refers to, again. A bad file changes nothing. What is read at start only is
  refused by name when it differs.
- Unknown keys are errors.
";

const SECRETS: &str = "\
`env:NAME` is a variable of the environment. `file:PATH` is a file without one final newline. `exec:COMMAND ARGS…` is what
a command writes to its standard output, without one final newline: it covers the command line of every secret manager. The
command is not given to a shell (quotes hold a word together), has 10 seconds and the gateway's environment.

Refused: a literal, what cannot be resolved, the empty secret, whitespace at either end, a placeholder (`changeme`,
`secret`, `password`, `test_secret`, `whsec_`, `${…}`), less than 16 bytes (less where the catalog says so; 32 for admin
tokens), and a list of secrets of which none counts today.
";

const GRAMMAR: &str = "\
How a provider of your own signs, in the grammar of the built-in catalog:

```toml
[sources.billing-partner]
verify = { header = \"X-Partner-Signature\", mac = \"hmac-sha256\", encoding = \"hex\", prefix = \"sha256=\", content = \"{t}.{body}\", timestamp = { header = \"X-Partner-Time\", tolerance = \"5m\" } }
event_id = \"json:/id\"
event_type = \"header:X-Partner-Event\"
secrets = [\"env:PARTNER_SECRET\"]
```";
