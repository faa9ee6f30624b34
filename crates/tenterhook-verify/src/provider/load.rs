//! From `catalog/*.toml` to providers. The files are embedded; every problem names its file and entry.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Provider, ReadAnswer, Sample, SourceRanges, Success, sample};
use crate::handshake::HandshakeSpec;
use crate::spec::{LocatorsSpec, parse_duration};
use crate::{Locators, Scheme, SchemeSpec, SpecError};

/// The files, by field.
const FILES: [(&str, &str); 13] = [
    ("ai", include_str!("../../catalog/ai.toml")),
    ("chat", include_str!("../../catalog/chat.toml")),
    ("cloud", include_str!("../../catalog/cloud.toml")),
    ("code", include_str!("../../catalog/code.toml")),
    ("commerce", include_str!("../../catalog/commerce.toml")),
    ("docs", include_str!("../../catalog/docs.toml")),
    ("email", include_str!("../../catalog/email.toml")),
    ("identity", include_str!("../../catalog/identity.toml")),
    ("ops", include_str!("../../catalog/ops.toml")),
    ("payments", include_str!("../../catalog/payments.toml")),
    ("senders", include_str!("../../catalog/senders.toml")),
    ("social", include_str!("../../catalog/social.toml")),
    ("support", include_str!("../../catalog/support.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    provider: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    display: String,
    docs_url: String,
    /// `nothing`: then there is no `scheme`.
    signs: Option<String>,
    scheme: Option<SchemeSpec>,
    scheme_name: Option<String>,
    #[serde(default)]
    alternatives: BTreeMap<String, SchemeSpec>,
    event_id: Option<LocatorsSpec>,
    event_type: Option<LocatorsSpec>,
    #[serde(default)]
    event_type_key_except: Vec<String>,
    event_type_default: Option<String>,
    event_type_suffix: Option<String>,
    #[serde(default)]
    handshake: Vec<HandshakeSpec>,
    retry_horizon: String,
    body_bytes_max: Option<u64>,
    secret_bytes_min: Option<usize>,
    #[serde(default)]
    public_keys: BTreeMap<String, String>,
    success_status: Option<u16>,
    success_body: Option<String>,
    answer: Option<AnswerEntry>,
    source_ranges: Option<RangesEntry>,
    #[serde(default)]
    unverified: Vec<String>,
    pitfalls: Vec<String>,
    /// Headers of every sample; a sample's own replace those of the same name.
    #[serde(default)]
    sample_headers: BTreeMap<String, String>,
    samples: Vec<SampleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerEntry {
    reads: Option<String>,
    #[serde(default)]
    always: bool,
    within: Option<String>,
    status: Option<u16>,
    content_type: Option<String>,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangesEntry {
    #[serde(default)]
    ranges: Vec<String>,
    url: String,
    taken: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleEntry {
    event_type: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Either the body itself,
    body: Option<String>,
    /// or the file of `samples/` that it stands in, without `.json`.
    file: Option<String>,
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

/// The files as written.
#[cfg(test)]
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().map(|(_, text)| text)
}

/// The names of each file in the order in which they are written.
#[cfg(test)]
pub(super) fn written_order() -> Result<Vec<(&'static str, Vec<String>)>, String> {
    let names = |text: &str| -> Result<Vec<String>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        Ok(file.provider.into_iter().map(|entry| entry.name).collect())
    };
    FILES.into_iter().map(|(field, text)| Ok((field, names(text)?))).collect()
}

impl Entry {
    fn check(self, field: &str) -> Result<Provider, String> {
        let (spec, scheme) = match (self.signs.as_deref(), self.scheme) {
            (None, Some(spec)) => {
                let scheme = spec.compile().map_err(|errors| listed(&errors))?;
                (spec, scheme)
            }
            (Some("nothing"), None) => (SchemeSpec::default(), Scheme::unsigned()),
            _ => return Err("either a `scheme`, or `signs = \"nothing\"`".to_owned()),
        };
        let mut alternatives = Vec::with_capacity(self.alternatives.len());
        for (name, spec) in &self.alternatives {
            let scheme = spec.compile().map_err(|errors| format!("{name}: {}", listed(&errors)))?;
            alternatives.push((name.clone(), scheme));
        }
        let suffix = self.event_type_suffix.map(|text| text.parse()).transpose();
        let samples = self.samples.into_iter().map(|entry| entry.check(&self.sample_headers));
        let samples = samples.collect::<Result<Vec<_>, _>>()?;
        Ok(Provider {
            name: self.name,
            display: self.display,
            field: field.to_owned(),
            docs_url: self.docs_url,
            spec,
            scheme,
            scheme_name: self.scheme_name,
            alternatives,
            alternative_specs: self.alternatives.into_iter().collect(),
            event_id: locators(self.event_id.as_ref())?,
            event_type: locators(self.event_type.as_ref())?,
            event_type_key_except: self.event_type_key_except,
            event_type_default: self.event_type_default,
            event_type_suffix: suffix.map_err(|error: SpecError| error.message)?,
            handshakes: HandshakeSpec::compile(&self.handshake)
                .map_err(|errors| format!("handshake: {}", listed(&errors)))?,
            retry_horizon: parse_duration(&self.retry_horizon)?,
            body_bytes_max: self.body_bytes_max,
            secret_bytes_min: self.secret_bytes_min,
            public_keys: self.public_keys.into_iter().collect(),
            success: Success { status: self.success_status, body: self.success_body },
            answer: self.answer.map(AnswerEntry::check).transpose()?,
            source_ranges: self.source_ranges.map(|entry| SourceRanges {
                ranges: entry.ranges,
                url: entry.url,
                taken: entry.taken,
            }),
            unverified: self.unverified,
            pitfalls: self.pitfalls,
            samples,
        })
    }
}

impl AnswerEntry {
    fn check(self) -> Result<ReadAnswer, String> {
        let status = self.status.unwrap_or(200);
        if !(200..=299).contains(&status) && !matches!(status, 429 | 503) {
            return Err("answer: `status` is 2xx, or 429 or 503 for a provider that asks again".to_owned());
        }
        if self.content_type.is_some() == self.body.is_empty() {
            return Err("answer: `body` and `content_type` go together".to_owned());
        }
        Ok(ReadAnswer {
            reads: self.reads,
            always: self.always,
            within: self.within.as_deref().map(parse_duration).transpose()?,
            status,
            content_type: self.content_type,
            body: self.body,
        })
    }
}

impl SampleEntry {
    /// `{type}` in a header that all samples share is the sample's own type.
    fn check(self, shared: &BTreeMap<String, String>) -> Result<Sample, String> {
        let kind = self.event_type;
        let body = match (self.body, self.file) {
            (Some(body), None) => Cow::Owned(body),
            (None, Some(name)) => {
                let text = sample::file(&name).ok_or(format!("there is no `samples/{name}.json`"))?;
                Cow::Borrowed(text)
            }
            _ => return Err(format!("sample `{kind}`: either a `body` or a `file`")),
        };
        let mut headers = shared.clone();
        for value in headers.values_mut() {
            *value = value.replace("{type}", &kind);
        }
        headers.extend(self.headers);
        Ok(Sample { event_type: kind, headers: headers.into_iter().collect(), body })
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
