//! The provider pages, written from the catalog: `docs/reference/providers.md` and the table of the README.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tenterhook::config::init;
use tenterhook_verify::{Locators, Provider, ReadAnswer, SchemeSpec, catalog};

const HEAD: &str = "# Providers

What the catalog knows about each provider: how it signs, what to write into a config, where id and type stand, what it asks
before it sends, how long it retries, what people get wrong, and what of all this was not found in a source. Written from
`crates/tenterhook-verify/catalog/*.toml`; change it there. A provider of your own is written in the same grammar: see `verify`
in [config.md](config.md) and [the example](../../examples/custom-provider.toml).

*Evidence* counts the requests in `crates/tenterhook-verify/tests/vectors`, each of which the suite verifies: those that have to be
taken and those that have to be refused. *Retry horizon* is how long the provider goes on retrying; a key is remembered for at
least that long.
";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// How many vectors of a provider are taken and refused.
fn evidence(name: &str) -> (usize, usize) {
    let file = repository().join(format!("crates/tenterhook-verify/tests/vectors/{name}.json"));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let refused =
        vectors.iter().filter(|v| v["expect"].as_str().is_some_and(|e| e.starts_with("invalid"))).count();
    (vectors.len() - refused, refused)
}

fn section(provider: &Provider) -> String {
    let Provider { name, display, .. } = provider;
    let mut out = format!(
        "\n## {display}\n\n`{name}` · {} · [documentation]({})\n\n",
        provider.field, provider.docs_url
    );
    let _ = writeln!(out, "- **Signs:** {}", signs(provider));
    for (other, _) in &provider.alternatives {
        let spec = provider.alternative_spec(other).map(described).unwrap_or_default();
        let _ = writeln!(out, "- **Also, by `scheme = \"{other}\"`:** {spec}");
    }
    let _ = writeln!(out, "- **Id:** {}", places(&provider.event_id, "none that is unique per notification"));
    let fallback =
        provider.event_type_default.as_ref().map_or_else(|| "none".to_owned(), |it| format!("always `{it}`"));
    let _ = writeln!(out, "- **Type:** {}", places(&provider.event_type, &fallback));
    if !provider.handshakes.is_empty() {
        let methods: Vec<String> = provider.handshakes.methods().iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "- **Handshake:** answered at the door ({})", methods.join(", "));
    }
    if provider.handshakes.learn() {
        let _ = writeln!(
            out,
            "- **Key:** brought by {display} itself, in a window that `tenterhook sources pending` opens"
        );
    } else if provider.handshakes.await_registration() {
        let _ = writeln!(
            out,
            "- **Test without a signature:** answered in a window that `tenterhook sources pending` opens"
        );
    }
    let horizon = match provider.retry_horizon.as_secs() / 3600 {
        0 => "none that is documented".to_owned(),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    };
    let _ = writeln!(out, "- **Retry horizon:** {horizon}");
    if let Some(bytes) = provider.body_bytes_max {
        let _ = writeln!(out, "- **Longest body:** {} KiB", bytes / 1024);
    }
    if let Some(status) = provider.success.status {
        let _ = writeln!(out, "- **Wants as an answer:** {status}");
    }
    if let Some(answer) = &provider.answer {
        let _ = writeln!(out, "- **Answer:** {}", answered(answer));
    }
    if let Some(ranges) = &provider.source_ranges {
        let _ = writeln!(out, "- **Source addresses:** [published]({})", ranges.url);
    }
    let (taken, refused) = evidence(name);
    let _ = writeln!(out, "- **Evidence:** {taken} requests taken, {refused} refused");
    let _ = write!(out, "\n```toml\n{}```\n", snippet(provider));
    list(&mut out, "What people get wrong", &provider.pitfalls);
    list(&mut out, "Not found in a source", &provider.unverified);
    out
}

fn list(out: &mut String, title: &str, items: &[String]) {
    if !items.is_empty() {
        let _ = write!(out, "\n{title}:\n\n");
        items.iter().for_each(|item| {
            let _ = writeln!(out, "- {item}");
        });
    }
}

/// How long it waits, and what it does with what it hears.
fn answered(answer: &ReadAnswer) -> String {
    let within = answer.within.map(|within| format!("within {} s", within.as_secs()));
    let Some(what) = &answer.reads else { return within.unwrap_or_default() };
    let body = match answer.body.as_str() {
        "" => "an empty body".to_owned(),
        body => format!("`{body}`"),
    };
    format!(
        "what your handler says counts for {what}, {}, with `respond = \"handler\"`; where it says nothing in time, the answer is \
         {} with {body}",
        within.unwrap_or_else(|| "in time".to_owned()),
        answer.status
    )
}

fn places(locators: &Locators, none: &str) -> String {
    let composite =
        |places: &Vec<_>| places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(" + ");
    let all: Vec<String> = locators.alternatives.iter().map(composite).collect();
    if all.is_empty() { none.to_owned() } else { all.join(", else ") }
}

fn signs(provider: &Provider) -> String {
    if provider.scheme.is_unsigned() {
        return "nothing: anybody who knows the URL can send. It has to be wanted in so many words"
            .to_owned();
    }
    described(&provider.spec)
}

/// A scheme in a sentence.
fn described(spec: &SchemeSpec) -> String {
    if let Some(name) = &spec.scheme {
        return format!("in a way of its own, which is code (`{name}`)");
    }
    let how = spec.mac.as_deref().or(spec.algorithm.as_deref()).unwrap_or("token");
    let headers: Vec<String> = spec.header.as_slice().iter().map(|header| format!("`{header}`")).collect();
    let at = match (&spec.signature, headers.is_empty()) {
        (Some(place), true) => format!("`{place}`"),
        (Some(place), false) => format!("{} or `{place}`", headers.join(" or ")),
        (None, _) => headers.join(" or "),
    };
    let mut out = format!("{how} in {at}");
    if let Some(encoding) = &spec.encoding {
        let _ = write!(out, ", {encoding}");
    }
    if let Some(prefix) = &spec.prefix {
        let _ = write!(out, " behind `{prefix}`");
    }
    if !matches!(how, "token" | "basic") {
        let _ = write!(out, ", over `{}`", spec.content.as_deref().unwrap_or("{body}"));
    }
    match spec.timestamp.as_ref().map(|time| time.tolerance.as_deref().unwrap_or("5m")) {
        Some("none") => out.push_str("; a timestamp is signed and may be of any age"),
        Some(tolerance) => {
            let _ = write!(out, "; the timestamp may be {tolerance} off");
        }
        None => {}
    }
    out
}

/// The source as `init` writes it.
fn snippet(provider: &Provider) -> String {
    let config = init::start(provider, "http://127.0.0.1:3000/hooks").config;
    let from = config.find("[sources.").unwrap();
    let rest = &config[from..];
    let end = rest.find("\n[destinations").unwrap();
    format!("{}\n", rest[..end].trim_end())
}

fn page() -> String {
    let sections: String = catalog().iter().map(section).collect();
    let (taken, refused) =
        catalog().iter().map(|it| evidence(&it.name)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let names: Vec<String> =
        catalog().iter().map(|it| format!("[{}](#{})", it.name, anchor(&it.display))).collect();
    format!(
        "{HEAD}\n{} providers; {taken} requests taken, {refused} refused.\n\n{}\n{sections}",
        catalog().len(),
        names.join(" · ")
    )
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|char| char.is_alphanumeric() || matches!(char, '-' | '_')).collect()
}

/// The README's table: the providers of each field.
fn table() -> String {
    let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for provider in catalog() {
        fields.entry(&provider.field).or_default().push(&provider.display);
    }
    let mut out = format!(
        "{} providers ([what is known of each](docs/reference/providers.md)):\n\n| | |\n|---|---|\n",
        catalog().len()
    );
    for (field, mut names) in fields {
        names.sort_by_key(|name| name.to_lowercase());
        let _ = writeln!(out, "| {field} | {} |", names.join(", "));
    }
    out
}

#[test]
fn the_provider_pages_are_current() {
    super::generated::check_current("docs/reference/providers.md", &page());
    let (begin, end) = ("<!-- providers -->\n", "<!-- /providers -->");
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (before, rest) = readme.split_once(begin).expect("the README has a place for the table");
    let (_, after) = rest.split_once(end).expect("the README's table ends");
    super::generated::check_current("README.md", &format!("{before}{begin}{}{end}{after}", table()));
}
