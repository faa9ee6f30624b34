//! From `catalog/*.toml` to providers. The files are embedded; every problem names its file and entry.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Provider, Sample};
use crate::spec::{LocatorsSpec, parse_duration};
use crate::{Locators, SchemeSpec, SpecError};

/// The files, by field.
const FILES: [(&str, &str); 5] = [
    ("code", include_str!("../../catalog/code.toml")),
    ("chat", include_str!("../../catalog/chat.toml")),
    ("commerce", include_str!("../../catalog/commerce.toml")),
    ("payments", include_str!("../../catalog/payments.toml")),
    ("senders", include_str!("../../catalog/senders.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    provider: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    display: String,
    docs_url: String,
    scheme: SchemeSpec,
    #[serde(default)]
    alternatives: BTreeMap<String, SchemeSpec>,
    event_id: Option<LocatorsSpec>,
    event_type: Option<LocatorsSpec>,
    event_type_suffix: Option<String>,
    retry_horizon: String,
    body_bytes_max: Option<u64>,
    secret_bytes_min: Option<usize>,
    #[serde(default)]
    public_keys: BTreeMap<String, String>,
    #[serde(default)]
    unverified: Vec<String>,
    pitfalls: Vec<String>,
    samples: Vec<SampleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleEntry {
    event_type: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: String,
}

/// All providers, sorted by name; the first problem otherwise.
pub(super) fn all() -> Result<Vec<Provider>, String> {
    let mut providers = Vec::new();
    for (field, text) in FILES {
        let file: File = toml::from_str(text).map_err(|error| format!("catalog/{field}.toml: {error}"))?;
        for entry in file.provider {
            let name = entry.name.clone();
            let provider =
                entry.check(field).map_err(|problem| format!("catalog/{field}.toml: {name}: {problem}"))?;
            providers.push(provider);
        }
    }
    providers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(providers)
}

impl Entry {
    fn check(self, field: &str) -> Result<Provider, String> {
        let scheme = self.scheme.compile().map_err(|errors| listed(&errors))?;
        let mut alternatives = Vec::with_capacity(self.alternatives.len());
        for (name, spec) in self.alternatives {
            let scheme = spec.compile().map_err(|errors| format!("{name}: {}", listed(&errors)))?;
            alternatives.push((name, scheme));
        }
        let suffix = self.event_type_suffix.map(|text| text.parse()).transpose();
        let samples = self.samples.into_iter().map(|sample| Sample {
            event_type: sample.event_type,
            headers: sample.headers.into_iter().collect(),
            body: sample.body,
        });
        Ok(Provider {
            name: self.name,
            display: self.display,
            field: field.to_owned(),
            docs_url: self.docs_url,
            spec: self.scheme,
            scheme,
            alternatives,
            event_id: locators(self.event_id.as_ref())?,
            event_type: locators(self.event_type.as_ref())?,
            event_type_suffix: suffix.map_err(|error: SpecError| error.message)?,
            retry_horizon: parse_duration(&self.retry_horizon)?,
            body_bytes_max: self.body_bytes_max,
            secret_bytes_min: self.secret_bytes_min,
            public_keys: self.public_keys.into_iter().collect(),
            unverified: self.unverified,
            pitfalls: self.pitfalls,
            samples: samples.collect(),
        })
    }
}

fn locators(spec: Option<&LocatorsSpec>) -> Result<Locators, String> {
    spec.map_or_else(|| Ok(Locators::default()), |spec| spec.compile().map_err(|errors| listed(&errors)))
}

fn listed(errors: &[SpecError]) -> String {
    let lines: Vec<String> =
        errors.iter().map(|error| format!("`{}`: {}", error.key, error.message)).collect();
    lines.join("; ")
}
