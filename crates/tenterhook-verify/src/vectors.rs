//! Files of recorded requests with their expected verdicts, run through the same [`Verifier`] as everything else.
//!
//! A file is a JSON array; one object per request: `provider`, `name`, `origin` (`official`, `sdk-generated`,
//! `spec-derived`), `source`, `method`, `url`, `headers`, `body_b64`, `secret` or `secrets` or `public_key_pem`,
//! `now_unix`, `tolerance_secs`, `scheme` (an alternative of the provider), `params`, and `expect`: `valid` or
//! `invalid:<reason>`. `params` holds the settings that the scheme declares, by name, and `now_unix_ms` (a finer clock),
//! `callback_url` (the public URL, where it is another than the one that arrived), `key_ids` (key id → secret),
//! `secret_roles` (the id of each of `secrets`), `query_param` (where the token stands), and what stands for a secret:
//! `public_key_b64`, `auth_header`, `query_secret`. Reasons are reported, not compared: a verifier that checks in another
//! order may rightly name another one. Other fields are remarks for people.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::provider::{Provider, provider};
use crate::settings::SettingValue;
use crate::{Request, Scheme, Secret, Settings, Verifier};

/// The tolerance of a vector without a clock: no timestamp is too old for it.
const FOREVER: Duration = Duration::from_secs(1 << 40);

/// One recorded request.
#[derive(Clone, Debug, Deserialize)]
pub struct Vector {
    /// The provider's name in the catalog.
    pub provider: String,
    /// What the case shows.
    pub name: String,
    /// Where it comes from: `official`, `sdk-generated` or `spec-derived`.
    #[serde(default)]
    pub origin: String,
    /// The verdict that must come out: `valid`, `invalid:<reason>` or `challenge:<answer>`.
    pub expect: String,
    method: String,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    body_b64: String,
    secret: Option<String>,
    secrets: Option<Vec<String>>,
    public_key_pem: Option<String>,
    now_unix: Option<f64>,
    tolerance_secs: Option<u64>,
    scheme: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, serde_json::Value>,
}

/// What came out of one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorResult {
    /// The provider's name.
    pub provider: String,
    /// The vector's name.
    pub name: String,
    /// The expected verdict.
    pub expected: String,
    /// The verdict: `valid`, `invalid:<reason code>`, or why the vector could not be run.
    pub got: String,
    /// Whether they agree.
    pub pass: bool,
}

/// Reads a file of vectors.
pub fn parse(text: &str) -> Result<Vec<Vector>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a file of vectors: {error}"))
}

impl Vector {
    /// Runs the vector.
    #[must_use]
    pub fn run(&self) -> VectorResult {
        let got = match self.verdict() {
            Ok(verdict) => verdict,
            Err(problem) => problem,
        };
        let pass = match self.expect.split_once(':') {
            None => got == self.expect,
            Some(("invalid", _)) => got.starts_with("invalid:"),
            Some(_) => false,
        };
        VectorResult {
            provider: self.provider.clone(),
            name: self.name.clone(),
            expected: self.expect.clone(),
            got,
            pass,
        }
    }

    /// The verdict in the words of `expect`; `Err` where there is none.
    fn verdict(&self) -> Result<String, String> {
        let provider =
            provider(&self.provider).ok_or("not supported yet: the catalog has no such provider")?;
        if self.expect.starts_with("challenge:") {
            return Err("not supported yet: handshakes".to_owned());
        }
        let scheme = self.scheme_of(provider)?;
        let Ok(verifier) = Verifier::new(scheme.clone(), self.keys()) else {
            // A secret that no verifier can be built from verifies nothing.
            return Ok("invalid:unusable_secret".to_owned());
        };
        let Ok(verifier) = verifier.with_settings(self.settings(&scheme)) else {
            return Ok("invalid:unusable_settings".to_owned());
        };
        let verifier = match self.tolerance_secs {
            Some(seconds) => verifier.with_tolerance(Duration::from_secs(seconds)),
            None if self.now_unix.is_none() && !self.params.contains_key("now_unix_ms") => {
                verifier.with_tolerance(FOREVER)
            }
            None => verifier,
        };
        let headers = self.header_map()?;
        let method: Method = self.method.parse().map_err(|_| "unreadable vector: method")?;
        let body = BASE64.decode(self.body_b64.as_bytes()).map_err(|_| "unreadable vector: body_b64")?;
        let request = Request { method: &method, url: self.url(), headers: &headers, body: &body };
        let now = self.now()?;
        // The gateway screens headers before it reads a body; both must come to the same verdict.
        match verifier.screen(&headers, now).and_then(|()| verifier.verify(&request, now)) {
            Ok(_) => Ok("valid".to_owned()),
            Err(error) => Ok(format!("invalid:{}", error.reason.code())),
        }
    }

    /// The settings that the scheme declares, out of `params`.
    fn settings(&self, scheme: &Scheme) -> Settings {
        let given = scheme.settings().iter().filter_map(|setting| {
            let value = setting_value(self.params.get(setting.name)?)?;
            Some((setting.name, value))
        });
        given.fold(Settings::default(), |settings, (name, value)| settings.with(name, value))
    }

    /// The public URL as it was registered at the provider.
    fn url(&self) -> Option<&str> {
        self.param("callback_url").or(self.url.as_deref())
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(serde_json::Value::as_str)
    }

    /// The scheme that the vector chooses, with the token where the vector has it.
    fn scheme_of(&self, provider: &Provider) -> Result<Scheme, String> {
        let scheme = provider.scheme(self.scheme.as_deref()).ok_or_else(|| {
            format!("not supported yet: scheme `{}`", self.scheme.as_deref().unwrap_or_default())
        })?;
        match self.param("query_param") {
            Some(name) if scheme.token_query().is_some() => {
                let mut spec = provider.spec.clone();
                spec.signature = Some(format!("query:{name}"));
                spec.compile().map_err(|_| "unreadable vector: params.query_param".to_owned())
            }
            _ => Ok(scheme.clone()),
        }
    }

    fn keys(&self) -> Vec<Secret> {
        let secret = |text: &str| Secret::new(text.as_bytes());
        if let Some(ids) = self.params.get("key_ids").and_then(serde_json::Value::as_object) {
            let pairs = ids.iter().filter_map(|(id, text)| Some((id, text.as_str()?)));
            return pairs.map(|(id, text)| secret(text).with_id(id)).collect();
        }
        match (&self.secrets, &self.secret, &self.public_key_pem) {
            (Some(secrets), _, _) => {
                let roles = self.params.get("secret_roles").and_then(serde_json::Value::as_array);
                let role = |index: usize| roles?.get(index)?.as_str();
                let secrets = secrets.iter().enumerate();
                secrets
                    .map(|(index, text)| match role(index) {
                        Some(role) => secret(text).with_id(role),
                        None => secret(text),
                    })
                    .collect()
            }
            (None, Some(text), _) | (None, None, Some(text)) => vec![secret(text)],
            (None, None, None) => {
                let places = ["public_key_b64", "auth_header", "query_secret"];
                places.iter().filter_map(|name| self.param(name)).map(secret).collect()
            }
        }
    }

    fn header_map(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let unreadable = || format!("unreadable vector: header `{name}`");
            let header: HeaderName = name.parse().map_err(|_| unreadable())?;
            headers.append(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unreadable())?);
        }
        Ok(headers)
    }

    /// The clock of the vector. Without one no timestamp is involved and any time will do.
    fn now(&self) -> Result<SystemTime, String> {
        let since = match self.params.get("now_unix_ms").and_then(serde_json::Value::as_u64) {
            Some(millis) => Ok(Duration::from_millis(millis)),
            None => Duration::try_from_secs_f64(self.now_unix.unwrap_or_default()),
        };
        let since = since.map_err(|_| "unreadable vector: now_unix")?;
        SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(|| "unreadable vector: now_unix".to_owned())
    }
}

/// A setting as a file of vectors writes it. What is no text within a list or a table is taken as the text of its JSON.
fn setting_value(value: &serde_json::Value) -> Option<SettingValue> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::Array(values) => Some(SettingValue::List(values.iter().map(text).collect())),
        serde_json::Value::Object(values) => Some(SettingValue::Table(
            values.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        )),
        other => Some(SettingValue::Text(text(other))),
    }
}
