//! What `sign`, `verify` and `send` share: the request and the scheme that their options describe.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use tenterhook_verify::provider::Sample;
use tenterhook_verify::settings::{SettingKind, SettingValue};
use tenterhook_verify::verifier::Sealed;
use tenterhook_verify::{Provider, Request, Scheme, Secret, Settings, SpecError, Verifier, provider};

use super::failure::{Exit, Failure};
use super::reference;
use crate::model::SystemClock;

/// Which scheme, with which secrets.
#[derive(Args, Debug, Clone)]
pub struct SchemeArgs {
    /// The provider's name in the catalog (see `tenterhook providers`)
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// An alternative scheme of the provider, such as `svix-asymmetric`
    #[arg(long, value_name = "NAME")]
    pub scheme: Option<String>,
    /// Where a secret is: `env:NAME`, `file:PATH` or `-`; repeat it for rotation
    #[arg(long, value_name = "REF")]
    pub secret: Vec<String>,
    /// What the scheme has to know besides, `NAME=VALUE` (a list: once for each; a table: `NAME.KEY=VALUE`); repeatable
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// How old or how far ahead a timestamp may be, such as `5m`; the provider's own by default
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub tolerance: Option<Duration>,
}

/// The request.
#[derive(Args, Debug, Clone)]
pub struct RequestArgs {
    /// The body: a file, or `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub body: Option<String>,
    /// A header, `Name: value`; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The URL as configured at the provider; some schemes sign it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The method
    #[arg(long, default_value = "POST")]
    pub method: Method,
    /// The time, in seconds since 1970, instead of the clock's
    #[arg(long, value_name = "UNIX")]
    pub now: Option<u64>,
    /// The message id, for schemes that sign one
    #[arg(long)]
    pub id: Option<String>,
    /// The type of the sample event that is taken where no `--body` is given; its headers are added
    #[arg(long, value_name = "TYPE")]
    pub event: Option<String>,
    /// Sets a value of the sample's JSON body, `PATH=VALUE` such as `data.object.amount=4200`; a value that is no JSON is
    /// text; repeatable
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

/// A request that owns its parts.
#[derive(Debug)]
pub struct OwnedRequest {
    /// The method.
    pub method: Method,
    /// The public URL.
    pub url: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The exact body.
    pub body: Vec<u8>,
}

impl OwnedRequest {
    /// The request as the library sees it.
    #[must_use]
    pub fn borrow(&self) -> Request<'_> {
        Request { method: &self.method, url: self.url.as_deref(), headers: &self.headers, body: &self.body }
    }
}

impl SchemeArgs {
    /// The catalog entry.
    pub fn provider(&self) -> Result<&'static Provider, Failure> {
        let name = self.provider.as_deref().ok_or_else(|| {
            Failure::usage("`--provider NAME` is missing").hint("`tenterhook providers` lists the names")
        })?;
        provider::provider(name).ok_or_else(|| {
            let known = provider::catalog().iter().map(|entry| entry.name.as_str());
            Failure::new(Exit::Usage, format!("there is no provider `{name}` in the catalog")).hint(
                closest(name, known).map_or_else(
                    || "`tenterhook providers` lists the names".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            )
        })
    }

    /// The scheme, default or chosen.
    pub fn scheme(&self) -> Result<Scheme, Failure> {
        let entry = self.provider()?;
        entry.scheme(self.scheme.as_deref()).cloned().ok_or_else(|| {
            let names: Vec<_> = entry.alternatives.iter().map(|(name, _)| format!("`{name}`")).collect();
            let chosen = self.scheme.as_deref().unwrap_or_default();
            Failure::usage(format!("the provider `{}` has no scheme `{chosen}`", entry.name)).hint(
                if names.is_empty() {
                    "leave `--scheme` out".to_owned()
                } else {
                    format!("it has {}", names.join(", "))
                },
            )
        })
    }

    /// The verifier: the scheme with the secrets named, or with the keys that the provider publishes.
    pub fn verifier(&self) -> Result<Verifier, Failure> {
        let (entry, scheme) = (self.provider()?, self.scheme()?);
        let mut secrets = Vec::new();
        for named in &self.secret {
            secrets.push(reference::secret(named)?);
        }
        if secrets.is_empty() {
            secrets.extend(entry.public_keys.iter().map(|(_, pem)| Secret::new(pem.as_bytes())));
        }
        if secrets.is_empty() {
            return Err(Failure::usage("`--secret REF` is missing")
                .hint("use `env:NAME`, `file:PATH` or `-` (stdin)"));
        }
        let settings = self.settings(&scheme);
        let verifier = Verifier::new(scheme, secrets)
            .and_then(|verifier| verifier.with_settings(settings))
            .map_err(|problems| refuse(&problems))?;
        Ok(match self.tolerance {
            Some(tolerance) => verifier.with_tolerance(tolerance),
            None => verifier,
        })
    }
}

impl SchemeArgs {
    /// The settings as the scheme declares them; a name that it does not know is a text, and is refused as such.
    fn settings(&self, scheme: &Scheme) -> Settings {
        let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut tables: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        let mut settings = Settings::default();
        for (written, value) in &self.settings {
            let (name, key) = written.split_once('.').unwrap_or((written, ""));
            let declared = scheme.settings().iter().find(|setting| setting.name == name);
            match declared.map(|setting| setting.kind) {
                Some(SettingKind::List) => lists.entry(name).or_default().push(value.clone()),
                Some(SettingKind::Table) => {
                    tables.entry(name).or_default().insert(key.to_owned(), value.clone());
                }
                Some(SettingKind::Text | SettingKind::Url) | None => {
                    settings = settings.with(written.as_str(), SettingValue::Text(value.clone()));
                }
            }
        }
        settings =
            lists.into_iter().fold(settings, |all, (name, list)| all.with(name, SettingValue::List(list)));
        tables.into_iter().fold(settings, |all, (name, table)| all.with(name, SettingValue::Table(table)))
    }
}

fn refuse(problems: &[SpecError]) -> Failure {
    let lines: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
    let hint = problems.first().map(|problem| problem.hint.clone()).unwrap_or_default();
    Failure::usage(lines.join("; ")).hint(hint)
}

impl OwnedRequest {
    /// Signs it: headers, and the body or the query where the scheme writes into them.
    pub fn seal(&mut self, verifier: &Verifier, id: &str, now: SystemTime) -> Result<Sealed, Failure> {
        let sealed = verifier
            .seal(&self.borrow(), Some(id), now)
            .map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
        for name in sealed.headers.keys() {
            self.headers.remove(name);
        }
        self.headers.extend(sealed.headers.clone());
        if let Some(body) = &sealed.body {
            self.body.clone_from(body);
        }
        if let Some(url) = &sealed.url {
            self.url = Some(url.clone());
        }
        Ok(sealed)
    }
}

impl RequestArgs {
    /// The time that counts.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match self.now {
            Some(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            None => SystemClock::wall().to_system(),
        }
    }

    /// The request as given: the body from `--body`, or empty.
    pub fn request(&self) -> Result<OwnedRequest, Failure> {
        let body = self.body.as_deref().map(reference::body).transpose()?.unwrap_or_default();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        Ok(OwnedRequest { method: self.method.clone(), url: self.url.clone(), headers, body })
    }

    /// The request as given, completed from a sample event of the provider where no body is given or `--event` asks
    /// for one. `id` fills the sample's placeholders.
    pub fn request_or_sample(&self, provider: &Provider, id: &str) -> Result<OwnedRequest, Failure> {
        let mut request = self.request()?;
        if self.body.is_some() && self.event.is_none() {
            return Ok(request);
        }
        let sample = sample_of(provider, self.event.as_deref())?;
        let filled = |text: &str| fill(text, id, self.now());
        if self.body.is_none() {
            let body = filled(&sample.body);
            request.body = changed(body, &self.set)?.into_bytes();
        }
        for (name, value) in &sample.headers {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&filled(value)))
            else {
                continue;
            };
            request.headers.entry(name).or_insert(value);
        }
        Ok(request)
    }
}

/// A JSON body with values set in it, by paths of names and numbers with `.` or `/` between them.
fn changed(body: String, set: &[(String, String)]) -> Result<String, Failure> {
    if set.is_empty() {
        return Ok(body);
    }
    let no_json = |_| Failure::usage("`--set` changes JSON, and this sample is a form or text");
    let mut json: Value = serde_json::from_str(&body).map_err(no_json)?;
    for (path, value) in set {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone()));
        let mut steps = path.split(['.', '/']).filter(|step| !step.is_empty());
        let place = steps.try_fold(&mut json, |place, step| match place {
            Value::Object(members) => Some(members.entry(step).or_insert(Value::Null)),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            empty @ Value::Null => {
                *empty = Value::Object(serde_json::Map::new());
                empty.as_object_mut().map(|members| members.entry(step).or_insert(Value::Null))
            }
            _ => None,
        });
        *place.ok_or_else(|| Failure::usage(format!("there is no place `{path}` in this sample")))? = value;
    }
    Ok(json.to_string())
}

/// The sample event of that type; the provider's first for `None`.
pub fn sample_of<'p>(provider: &'p Provider, event: Option<&str>) -> Result<&'p Sample, Failure> {
    let found = match event {
        Some(wanted) => provider.samples.iter().find(|sample| sample.event_type == wanted),
        None => provider.samples.first(),
    };
    found.ok_or_else(|| {
        let known: Vec<_> =
            provider.samples.iter().map(|sample| format!("`{}`", sample.event_type)).collect();
        let wanted = event.map_or_else(String::new, |event| format!(" of type `{event}`"));
        Failure::usage(format!("the provider `{}` has no sample event{wanted}", provider.name)).hint(
            if known.is_empty() {
                "give a body with `--body FILE`".to_owned()
            } else {
                format!("it has {}; or give a body with `--body FILE`", known.join(", "))
            },
        )
    })
}

/// A sample's text with its placeholders filled in.
#[must_use]
pub fn fill(text: &str, id: &str, now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    text.replace("{id}", id).replace("{now}", &seconds.to_string())
}

/// An id that nobody used before: 32 hexadecimal digits.
pub fn fresh_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::new(Exit::Internal, "the system gives no random bytes"))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// The known name that looks most like `name`, when one does.
#[must_use]
pub fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    tenterhook_verify::spec::parse_duration(text)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    let name = name.trim().parse::<HeaderName>().map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(body: &str, set: &[(&str, &str)]) -> Result<String, Failure> {
        let set: Vec<_> = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        changed(body.to_owned(), &set)
    }

    #[test]
    fn values_are_set_where_a_path_leads_and_nowhere_else() {
        let body = r#"{"data":{"amount":1,"lines":[{"id":"a"}]}}"#;
        let changed =
            set(body, &[("data.amount", "4200"), ("/data/lines/0/id", "b"), ("data.new.deep", "x y")]);
        let expected = r#"{"data":{"amount":4200,"lines":[{"id":"b"}],"new":{"deep":"x y"}}}"#;
        assert_eq!(changed.unwrap().parse::<Value>().unwrap(), expected.parse::<Value>().unwrap());
        assert_eq!(set("a=1", &[]).unwrap(), "a=1", "nothing to set asks for no JSON");
        for (body, path) in [("a=1", "a"), (body, "data.amount.more"), (body, "data.lines.7.id")] {
            assert!(set(body, &[(path, "1")]).is_err(), "{path}");
        }
    }
}
