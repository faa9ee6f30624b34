//! The catalog: what is known about each provider, as data, in the grammar that users write.

use std::sync::LazyLock;
use std::time::Duration;

use crate::locate::{Finder, first_key};
use crate::{Handshakes, Locator, Locators, Request, Scheme, SchemeSpec};

mod files;
mod load;
mod sample;

pub use sample::Sample;

/// What the catalog knows about one provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in configs: `stripe`.
    pub name: String,
    /// The name for people: `Stripe`.
    pub display: String,
    /// The field it is listed under: `payments`.
    pub field: String,
    /// Where the provider documents its scheme.
    pub docs_url: String,
    /// The default scheme as written; empty for a provider that signs nothing.
    pub spec: SchemeSpec,
    /// The default scheme, checked. Of a provider that signs nothing it is [`Scheme::unsigned`].
    pub scheme: Scheme,
    /// The name of the default scheme, for providers whose schemes have names (Buildkite: `signature`).
    pub scheme_name: Option<String>,
    /// Schemes that have to be chosen by name (`svix-asymmetric`, `github-sha1`); never accepted by default.
    pub alternatives: Vec<(String, Scheme)>,
    /// The same as written, in the same order.
    pub(crate) alternative_specs: Vec<(String, SchemeSpec)>,
    /// The provider's id, unique per notification; empty where there is none.
    pub event_id: Locators,
    /// The event type.
    pub event_type: Locators,
    /// Where the type is the name of a key of the body (Telegram's `message`): the first one that is none of these.
    pub event_type_key_except: Vec<String>,
    /// The type of an event in which none is found, for providers that send events of one type only.
    pub event_type_default: Option<String>,
    /// What is appended to the type behind a `.` where it is there (GitHub's `/action`).
    pub event_type_suffix: Option<Locator>,
    /// What the provider asks before it sends.
    pub handshakes: Handshakes,
    /// How long the provider goes on retrying; the dedupe window is max(7 days, this).
    pub retry_horizon: Duration,
    /// The largest body the provider documents, in bytes.
    pub body_bytes_max: Option<u64>,
    /// Shortest secret a config may hold, in bytes, where the entry says less than the config's own 16.
    pub secret_bytes_min: Option<usize>,
    /// Public keys that the provider publishes, by environment (Wise: `production`, `sandbox`), as PEM.
    pub public_keys: Vec<(String, String)>,
    /// The one status, and the body, that the provider wants as an answer, where not every 2xx will do.
    pub success: Success,
    /// That the provider acts on what the answer says, or how long it waits for one.
    pub answer: Option<ReadAnswer>,
    /// The addresses that requests come from, where the provider publishes them.
    pub source_ranges: Option<SourceRanges>,
    /// Facts that were not verified in a source.
    pub unverified: Vec<String>,
    /// What people get wrong with this provider.
    pub pitfalls: Vec<String>,
    /// Sample events, the first of them the usual one; for demos, tests and `tenterhook send`.
    pub samples: Vec<Sample>,
}

/// The answer that a provider wants; nothing set: any 2xx.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// The HTTP status.
    pub status: Option<u16>,
    /// The body; empty text: an empty body.
    pub body: Option<String>,
}

/// What is known of a provider that does more with an answer than to see that there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAnswer {
    /// What of its notifications is acted on by what their answer says (`slash commands`); `None`: only the status counts.
    pub reads: Option<String>,
    /// Every notification is a question: a receipt is never enough.
    pub always: bool,
    /// How long the provider waits for the answer, as it documents it.
    pub within: Option<Duration>,
    /// The HTTP status of what is safe to say where there is no better answer in time: it promises nothing and decides
    /// nothing.
    pub status: u16,
    /// The content type of `body`.
    pub content_type: Option<String>,
    /// The body of what is safe to say; empty text: an empty body.
    pub body: String,
}

/// The addresses that a provider sends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRanges {
    /// Where the provider publishes them.
    pub url: String,
    /// Addresses and CIDR ranges as they stood there on the day `taken`; empty where none were copied.
    pub ranges: Vec<String>,
    /// The day on which `ranges` were copied, as `YYYY-MM-DD`.
    pub taken: Option<String>,
}

impl Provider {
    /// The scheme by name: the default for `None`, and for the name of the default.
    #[must_use]
    pub fn scheme(&self, name: Option<&str>) -> Option<&Scheme> {
        match name {
            None => Some(&self.scheme),
            Some(name) if self.scheme_name.as_deref() == Some(name) => Some(&self.scheme),
            Some(name) => self
                .alternatives
                .iter()
                .find(|(alternative, _)| alternative == name)
                .map(|(_, scheme)| scheme),
        }
    }

    /// An alternative scheme as written.
    #[must_use]
    pub fn alternative_spec(&self, name: &str) -> Option<&SchemeSpec> {
        self.alternative_specs.iter().find(|(alternative, _)| alternative == name).map(|(_, spec)| spec)
    }

    /// The event type of a request, by the provider's own rule (GitHub: `event.action`).
    #[must_use]
    pub fn event_type(&self, request: &Request<'_>) -> Option<String> {
        self.event_type_with(request, &Finder::new(request, self.type_places()))
    }

    /// Id and type of a request, by the provider's own rules: what [`Provider::event_id`] and [`Provider::event_type`]
    /// find, with one pass over a JSON body for both.
    #[must_use]
    pub fn locate(&self, request: &Request<'_>) -> (Option<String>, Option<String>) {
        let finder = Finder::new(request, self.event_id.places().chain(self.type_places()));
        let event_id = self.event_id.find_with(&finder).map(|(id, _)| id);
        (event_id, self.event_type_with(request, &finder))
    }

    fn type_places(&self) -> impl Iterator<Item = &Locator> {
        self.event_type.places().chain(&self.event_type_suffix)
    }

    fn event_type_with(&self, request: &Request<'_>, finder: &Finder<'_, '_>) -> Option<String> {
        let located = self.event_type.find_with(finder).map(|(kind, _)| kind);
        let mut kind =
            located.or_else(|| self.key_as_type(request)).or_else(|| self.event_type_default.clone())?;
        if let Some(suffix) = self.event_type_suffix.as_ref().and_then(|locator| finder.find(locator)) {
            kind.push('.');
            kind.push_str(&suffix);
        }
        Some(kind)
    }

    fn key_as_type(&self, request: &Request<'_>) -> Option<String> {
        if self.event_type_key_except.is_empty() {
            return None;
        }
        first_key(request.body, &self.event_type_key_except)
    }
}

/// Every provider, sorted by name.
#[must_use]
pub fn catalog() -> &'static [Provider] {
    // The files are part of the binary and a test reads each of them, so there is no failure left to report here.
    static CATALOG: LazyLock<Vec<Provider>> = LazyLock::new(|| load::all().unwrap_or_default());
    &CATALOG
}

/// The provider of that name.
#[must_use]
pub fn provider(name: &str) -> Option<&'static Provider> {
    catalog().iter().find(|provider| provider.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_catalog_file_is_sound_and_no_name_stands_twice() {
        let names: Vec<String> = match load::all() {
            Ok(providers) => providers.into_iter().map(|provider| provider.name).collect(),
            Err(problem) => panic!("{problem}"),
        };
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!(names, unique);
        assert!(names.len() >= 8, "{names:?}");
    }

    #[test]
    fn the_entries_of_a_file_are_sorted_by_name() {
        for (field, names) in load::written_order().unwrap() {
            assert!(names.is_sorted(), "catalog/{field}.toml: {names:?}");
        }
    }

    #[test]
    fn every_entry_says_what_people_need() {
        for provider in catalog() {
            let name = &provider.name;
            assert!(provider.docs_url.starts_with("https://"), "{name}: docs_url");
            let types: Vec<_> = provider.samples.iter().map(|sample| &sample.event_type).collect();
            assert!((1..=32).contains(&types.len()), "{name}: {types:?}");
            let twice = types.iter().enumerate().find(|(at, kind)| types[..*at].contains(kind));
            assert!(twice.is_none(), "{name}: {twice:?} stands there twice");
            assert!(!provider.pitfalls.is_empty(), "{name}: pitfalls");
            let said = provider.pitfalls.iter().any(|pitfall| pitfall.contains("signs nothing"));
            assert!(!provider.scheme.is_unsigned() || said, "{name}: says nothing of signing nothing");
            for alternative in &provider.event_id.alternatives {
                let batch = |locator: &Locator| match locator {
                    Locator::Json(pointer) => pointer.split('/').any(|token| token == "0"),
                    _ => false,
                };
                assert!(!alternative.iter().any(batch), "{name}: an id out of a batch");
            }
            if let Some(ranges) = &provider.source_ranges {
                assert!(ranges.url.starts_with("https://"), "{name}: {ranges:?}");
                assert_eq!(ranges.taken.is_some(), !ranges.ranges.is_empty(), "{name}: a list and its day");
            }
        }
    }

    #[test]
    fn every_file_of_samples_is_embedded_and_used() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for provider in std::fs::read_dir(root.join("samples")).unwrap() {
            let provider = provider.unwrap().path();
            for file in std::fs::read_dir(&provider).into_iter().flatten() {
                let path = file.unwrap().path();
                let name = path.strip_prefix(root.join("samples")).unwrap().with_extension("");
                assert_eq!(path.extension().unwrap(), "json", "{path:?}");
                found.push(name.to_str().unwrap().replace('\\', "/"));
            }
        }
        found.sort();
        assert_eq!(found, sample::names().collect::<Vec<_>>());
        let catalog: String = load::texts().collect();
        let parts: String = sample::names().filter_map(sample::file).collect();
        for name in found {
            let used = match name.contains("/_") {
                true => parts.contains(&format!("{{>{name}}}")),
                false => catalog.contains(&format!("file = \"{name}\"")),
            };
            assert!(used, "samples/{name}.json is not used");
        }
    }
}
