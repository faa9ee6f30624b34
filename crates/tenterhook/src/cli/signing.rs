//! What `sign`, `verify` and `send` share: the request and the scheme that their options describe.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::Args;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tenterhook_verify::settings::{SettingKind, SettingValue};
use tenterhook_verify::verifier::Sealed;
use tenterhook_verify::{Provider, Request, Scheme, Secret, Settings, SpecError, Verifier, provider};

use super::failure::{Exit, Failure};
use super::reference;
use super::sample::{changed, sample_of, seconds};
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
    /// The type of the sample event that is taken where no `--body` is given; its headers are added (`tenterhook
    /// providers NAME` lists the types)
    #[arg(long, value_name = "TYPE")]
    pub event: Option<String>,
    /// Sets a value of the body, `PATH=VALUE` such as `data.object.lines[0].amount=4200`: a value that is no JSON is text,
    /// what is not there is made; in a form PATH is a field's name; repeatable
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
    /// Whether signing wrote into the query of `url`.
    pub sealed_query: bool,
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
            self.sealed_query = true;
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
        let (method, url) = (self.method.clone(), self.url.clone());
        Ok(OwnedRequest { method, url, headers, body, sealed_query: false })
    }

    /// The request as given, completed from a sample event of the provider where no body is given or `--event` asks
    /// for one, and changed as `--set` says. `id` fills the sample's places.
    pub fn request_or_sample(&self, provider: &Provider, id: &str) -> Result<OwnedRequest, Failure> {
        let mut request = self.request()?;
        if self.body.is_none() || self.event.is_some() {
            let sample = sample_of(provider, self.event.as_deref())?;
            let (headers, body) = sample.fill(id, seconds(self.now()));
            if self.body.is_none() {
                request.body = body.into_bytes();
            }
            for (name, value) in &headers {
                let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else {
                    continue;
                };
                request.headers.entry(name).or_insert(value);
            }
        }
        let kind = request.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_form = kind.starts_with(b"application/x-www-form-urlencoded");
        request.body = changed(request.body, is_form, &self.set)?;
        Ok(request)
    }
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
