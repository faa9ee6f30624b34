//! Files of recorded requests with their expected verdicts, run through the same [`Verifier`] as everything else.
//!
//! A file is a JSON array; one object per request: `provider`, `name`, `origin` (`official`, `sdk-generated`,
//! `spec-derived`), `source`, `method`, `url`, `headers`, `body_b64`, `secret` or `secrets` or `public_key_pem`,
//! `now_unix`, `tolerance_secs`, `scheme` (an alternative of the provider), `params`, and `expect`: `valid`,
//! `invalid:<reason>`, or `challenge:<answer>` for a handshake (JSON compares as JSON; `expect_response_status` and
//! `expect_response_body` where they are given). Reasons are reported, not compared: a verifier that checks in another
//! order may rightly name another one. Other fields are remarks for people.
//!
//! `params` holds the settings that the scheme declares, by name, and
//!
//! - `now_unix_ms`, a finer clock; `callback_url`, the public URL, where it is another than the one that arrived;
//! - `key_ids` (key id → secret), `secret_roles` (the id of each of `secrets`), `jwks` (key id → JWK), `jwks_kids` (the id of
//!   each public key), `query_param` (where the token stands), and what stands for a secret: `public_key_b64`,
//!   `auth_header`, `query_secret`;
//! - what a handshake is configured with: `verify_token`, `pending_topics`, `allowed_origins`, `service_ids`, `public_key`,
//!   `handshake_pending`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::provider::{Provider, provider};
use crate::settings::SettingValue;
use crate::{Answer, Handshake, HandshakeSettings, Request, Scheme, Secret, Settings, Verifier};

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
    expect_response_status: Option<u16>,
    expect_response_body: Option<String>,
}

/// What a request came to.
enum Verdict {
    Valid,
    Invalid(String),
    Answered(Answer),
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
        let (got, pass) = match self.verdict() {
            Ok(verdict) => (verdict.text(), self.agrees(&verdict)),
            Err(problem) => (problem, false),
        };
        VectorResult {
            provider: self.provider.clone(),
            name: self.name.clone(),
            expected: self.expect.clone(),
            got,
            pass,
        }
    }

    /// Whether a verdict is the expected one.
    fn agrees(&self, verdict: &Verdict) -> bool {
        match (self.expect.split_once(':'), verdict) {
            (None, Verdict::Valid) => self.expect == "valid",
            // A handshake that is recorded as valid: the answer is described beside it, if at all.
            (None, Verdict::Answered(answer)) => self.expect == "valid" && self.answer_agrees(answer),
            (Some(("invalid", _)), Verdict::Invalid(_)) => true,
            (Some(("challenge", body)), Verdict::Answered(answer)) => {
                same_body(body, &answer.body) && self.answer_agrees(answer)
            }
            _ => false,
        }
    }

    fn answer_agrees(&self, answer: &Answer) -> bool {
        self.expect_response_status.is_none_or(|status| status == answer.status)
            && self.expect_response_body.as_ref().is_none_or(|body| same_body(body, &answer.body))
    }

    /// The verdict; `Err` where there is none.
    fn verdict(&self) -> Result<Verdict, String> {
        let provider =
            provider(&self.provider).ok_or("not supported yet: the catalog has no such provider")?;
        let scheme = self.scheme_of(provider)?;
        let Ok(verifier) = Verifier::new(scheme.clone(), self.keys()) else {
            // A secret that no verifier can be built from verifies nothing.
            return Ok(Verdict::Invalid("unusable_secret".to_owned()));
        };
        let Ok(verifier) = verifier.with_settings(self.settings(&scheme)) else {
            return Ok(Verdict::Invalid("unusable_settings".to_owned()));
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
        Ok(self.judge(provider, &verifier, &request, self.now()?))
    }

    /// The way that a request goes in a gateway: handshakes that need no verification, the headers before the body is
    /// read, verification, handshakes that needed it.
    fn judge(
        &self,
        provider: &Provider,
        verifier: &Verifier,
        request: &Request<'_>,
        now: SystemTime,
    ) -> Verdict {
        let settings = self.handshake_settings();
        match provider.handshakes.before(request, verifier, &settings, now) {
            Ok(None) => {}
            Ok(Some(handshake)) => return Verdict::of(handshake),
            Err(error) => return Verdict::Invalid(error.code().to_owned()),
        }
        let verified = verifier.screen(request.headers, now).and_then(|()| verifier.verify(request, now));
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => return Verdict::Invalid(error.reason.code().to_owned()),
        };
        match provider.handshakes.after(&verified, verifier, &settings, now) {
            Ok(None) => Verdict::Valid,
            Ok(Some(handshake)) => Verdict::of(handshake),
            Err(error) => Verdict::Invalid(error.code().to_owned()),
        }
    }

    fn handshake_settings(&self) -> HandshakeSettings {
        let list = |name| match self.params.get(name).and_then(setting_value) {
            Some(SettingValue::List(texts)) => texts,
            _ => Vec::new(),
        };
        let pending = self.params.get("handshake_pending").and_then(serde_json::Value::as_bool);
        HandshakeSettings {
            verify_token: self.param("verify_token").map(Secret::new),
            topics: list("pending_topics"),
            allowed_origins: list("allowed_origins"),
            service_ids: list("service_ids"),
            key_name: self.param("public_key").map(str::to_owned),
            pending: pending.unwrap_or_default(),
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
        if let Some(keys) = self.params.get("jwks").and_then(serde_json::Value::as_object) {
            return keys.iter().map(|(id, jwk)| secret(&jwk.to_string()).with_id(id)).collect();
        }
        match (&self.secrets, &self.secret, &self.public_key_pem) {
            (Some(secrets), _, _) => {
                let roles = self.params.get("secret_roles").or(self.params.get("jwks_kids"));
                let roles = roles.and_then(serde_json::Value::as_array);
                let role = |index: usize| roles?.get(index)?.as_str();
                let secrets = secrets.iter().enumerate();
                secrets
                    .map(|(index, text)| match role(index) {
                        Some(role) => secret(text).with_id(role),
                        None => secret(text),
                    })
                    .collect()
            }
            (None, Some(text), _) => vec![secret(text)],
            (None, None, Some(pem)) => {
                let ids = self.params.get("jwks_kids").and_then(serde_json::Value::as_array);
                match ids.map(|ids| ids.iter().filter_map(serde_json::Value::as_str)) {
                    Some(ids) => ids.map(|id| secret(pem).with_id(id)).collect(),
                    None => vec![secret(pem)],
                }
            }
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

impl Verdict {
    fn of(handshake: Handshake) -> Self {
        match handshake {
            Handshake::Answer(answer)
            | Handshake::Learn { answer, .. }
            | Handshake::Confirm { answer, .. } => Self::Answered(answer),
        }
    }

    /// In the words of `expect`.
    fn text(&self) -> String {
        match self {
            Self::Valid => "valid".to_owned(),
            Self::Invalid(reason) => format!("invalid:{reason}"),
            Self::Answered(answer) => format!("challenge:{}", answer.body),
        }
    }
}

/// Whether two bodies say the same: as JSON where both are JSON, else byte for byte.
fn same_body(one: &str, other: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || matches!((json(one), json(other)), (Some(one), Some(other)) if one == other)
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
