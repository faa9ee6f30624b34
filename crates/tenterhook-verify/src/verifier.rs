//! A scheme with its secrets: verify, sign, explain. Knows no clock: the time is an argument.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::scheme::coded::Call;
use crate::scheme::content::Content;
use crate::scheme::{Covered, Key, Keys, Match};
use crate::{KeyRing, Request, Scheme, Secret, Settings, SignError, SpecError, VerifyError};

/// A scheme with the secrets that count for one source. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    scheme: Scheme,
    secrets: Arc<[Secret]>,
    keys: Arc<[Key]>,
    settings: Arc<Settings>,
    tolerance: Option<Duration>,
}

impl Verifier {
    /// Checks that every secret decodes by the scheme's key rule; all problems at once.
    ///
    /// No secret at all is not refused here: such a verifier refuses every request with
    /// [`Reason::NoLiveSecret`](crate::Reason::NoLiveSecret), unless the scheme is unsigned.
    pub fn new(scheme: Scheme, secrets: Vec<Secret>) -> Result<Self, Vec<SpecError>> {
        let mut keys = Vec::with_capacity(secrets.len());
        let mut errors = Vec::new();
        for secret in &secrets {
            match scheme.key(secret) {
                Ok(key) => keys.push(key),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let settings = Arc::default();
        Ok(Self { scheme, secrets: secrets.into(), keys: keys.into(), settings, tolerance: None })
    }

    /// The same verifier with what its scheme has to know beside the secrets ([`Scheme::settings`]); refuses what is
    /// missing, malformed, or means nothing to the scheme: all problems at once, each under its name.
    ///
    /// Without the settings that its scheme requires, a verifier refuses every request with
    /// [`Reason::MissingSetting`](crate::Reason::MissingSetting).
    pub fn with_settings(mut self, settings: Settings) -> Result<Self, Vec<SpecError>> {
        settings.check(self.scheme.settings())?;
        self.settings = Arc::new(settings);
        Ok(self)
    }

    /// The same verifier with another tolerance for timestamps.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// The same verifier with other secrets; refuses those that do not decode by the scheme's key rule, all problems at once.
    pub fn with_secrets(&self, secrets: Vec<Secret>) -> Result<Self, Vec<SpecError>> {
        let Self { secrets, keys, .. } = Self::new(self.scheme.clone(), secrets)?;
        Ok(Self { secrets, keys, ..self.clone() })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The secrets, in configured order.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Whether the headers alone show that verification cannot succeed: [`Scheme::screen`] with this verifier's
    /// tolerance. To be asked before any byte of the body is read.
    pub fn screen(&self, headers: &HeaderMap, now: SystemTime) -> Result<(), VerifyError> {
        self.scheme.screen_call(headers, &self.call(now))
    }

    /// Verifies over the exact bytes. Timestamps are judged before the MAC; every live secret is tried; comparison is
    /// in constant time; fails closed.
    pub fn verify<'r>(&self, request: &Request<'r>, now: SystemTime) -> Result<Verified<'r>, VerifyError> {
        self.verify_with(request, self.call(now).ring, now)
    }

    /// [`Verifier::verify`] with the keys that were fetched so far. Where one is missing, the refusal says in
    /// [`VerifyError::needs`] which: fetch it, judge it with [`KeyNeed::accept`](crate::KeyNeed::accept), and ask again.
    pub fn verify_with<'r>(
        &self,
        request: &Request<'r>,
        ring: &KeyRing,
        now: SystemTime,
    ) -> Result<Verified<'r>, VerifyError> {
        let call = Call { ring, ..self.call(now) };
        let found = self.scheme.verify(request, &call, &mut Facts::off())?;
        let Match { secret_index, signed_at, content, content_is_body } = found;
        let content_sha256 = OnceLock::new();
        Ok(Verified { request: *request, secret_index, signed_at, content, content_sha256, content_is_body })
    }

    /// The headers that make `request` verify: the mirror of [`Verifier::verify`], with the first live secret. `id` is
    /// the message id for schemes that sign one in a header; without it the header must already be in `request`.
    ///
    /// Only headers that the scheme needs are in the answer; they replace those of the same name in the request. A scheme
    /// that carries its signature elsewhere has no such headers: for those, and for any, there is [`Verifier::seal`].
    pub fn sign(
        &self,
        request: &Request<'_>,
        id: Option<&str>,
        now: SystemTime,
    ) -> Result<HeaderMap, SignError> {
        let sealed = self.seal(request, id, now)?;
        if sealed.body.is_some() || sealed.url.is_some() {
            let fault =
                "this scheme carries its signature inside the request, where headers alone do not put it";
            return Err(SignError(fault.to_owned()));
        }
        Ok(sealed.headers)
    }

    /// [`Verifier::sign`] for every scheme: what has to be changed about `request` so that it verifies, be it headers,
    /// the body (Mailgun, Adyen), or the URL (Vonage's signed messages).
    pub fn seal(
        &self,
        request: &Request<'_>,
        id: Option<&str>,
        now: SystemTime,
    ) -> Result<Sealed, SignError> {
        self.scheme.sign(request, id, &self.call(now))
    }

    /// What was compared against what, without key material and without the expected signature.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>, now: SystemTime) -> Explanation {
        let mut facts = Facts::on();
        facts.note("body", || format!("{} bytes", request.body.len()));
        for name in self.scheme.signature_headers() {
            let values = request.headers.get_all(&name).iter().count();
            if values != 1 {
                facts.note("header", || format!("`{name}` arrived {values} times"));
            }
        }
        let found = self.scheme.verify(request, &self.call(now), &mut facts);
        match &found {
            Ok(Match { secret_index: Some(index), .. }) => {
                facts.note("result", || format!("secret {} of {} matches", index + 1, self.secrets.len()));
            }
            Ok(_) => facts.note("result", || "accepted without a signature".to_owned()),
            Err(error) => facts.note("result", || error.detail.clone()),
        }
        Explanation { facts: facts.into_list(), verdict: found.map(|found| found.secret_index) }
    }

    /// A MAC of `content` with the first live secret, for handshakes that answer with one; `None` where the scheme has no
    /// such key.
    pub(crate) fn mac(&self, content: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        self.call(now).tag(&Content::whole(content)).ok()
    }

    fn call(&self, now: SystemTime) -> Call<'_> {
        let keys = Keys { secrets: &self.secrets, keys: &self.keys };
        static NOTHING: LazyLock<KeyRing> = LazyLock::new(KeyRing::default);
        Call { keys, settings: &self.settings, ring: &NOTHING, tolerance: self.tolerance, now }
    }
}

/// What signing changes about a request. What is not here stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Headers that replace those of the same name.
    pub headers: HeaderMap,
    /// The body, where the scheme writes into it.
    pub body: Option<Vec<u8>>,
    /// The public URL, where the scheme writes into its query.
    pub url: Option<String>,
}

impl Sealed {
    /// Headers and nothing else.
    pub(crate) fn headers(headers: HeaderMap) -> Self {
        Self { headers, ..Self::default() }
    }

    /// One header and nothing else.
    pub(crate) fn header(name: &HeaderName, value: &str) -> Result<Self, SignError> {
        Self::default().and_header(name, value)
    }

    /// The same with one more header.
    pub(crate) fn and_header(mut self, name: &HeaderName, value: &str) -> Result<Self, SignError> {
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| SignError(format!("`{name}` cannot hold a control character")))?;
        self.headers.insert(name.clone(), value);
        Ok(self)
    }

    /// A body and nothing else.
    pub(crate) fn body(body: Vec<u8>) -> Self {
        Self { body: Some(body), ..Self::default() }
    }
}

/// Proof that a request was verified. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified<'r> {
    request: Request<'r>,
    secret_index: Option<usize>,
    signed_at: Option<SystemTime>,
    content: Covered<'r>,
    content_sha256: OnceLock<[u8; 32]>,
    content_is_body: bool,
}

impl<'r> Verified<'r> {
    /// The request that was verified.
    #[must_use]
    pub fn request(&self) -> Request<'r> {
        self.request
    }

    /// Which of the configured secrets matched; `None` for an unsigned scheme.
    #[must_use]
    pub fn secret_index(&self) -> Option<usize> {
        self.secret_index
    }

    /// The signed timestamp, where there is one.
    #[must_use]
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.signed_at
    }

    /// SHA-256 of what the signature covers (for a scheme that does not sign the body: of the body). Computed when it is
    /// first asked for.
    #[must_use]
    pub fn content_sha256(&self) -> [u8; 32] {
        *self.content_sha256.get_or_init(|| self.content.sha256())
    }

    /// SHA-256 of the body; where the signature covers the body and nothing else, it is at hand already.
    #[must_use]
    pub fn body_sha256(&self) -> [u8; 32] {
        if self.content_is_body { self.content_sha256() } else { Content::whole(self.request.body).sha256() }
    }
}

/// What `verify --explain` prints: facts in the order in which they were judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Name and finding, such as `("timestamp", "1700000000: 301 s old, tolerance 300 s")`.
    pub facts: Vec<(String, String)>,
    /// The verdict.
    pub verdict: Result<Option<usize>, VerifyError>,
}

/// Where a verification notes its findings, if anybody asked.
pub(crate) struct Facts(Option<Vec<(String, String)>>);

impl Facts {
    fn off() -> Self {
        Self(None)
    }

    fn on() -> Self {
        Self(Some(Vec::new()))
    }

    /// Notes a finding; costs nothing when nobody asked.
    pub(crate) fn note(&mut self, name: &str, finding: impl FnOnce() -> String) {
        if let Some(list) = &mut self.0 {
            list.push((name.to_owned(), finding()));
        }
    }

    fn into_list(self) -> Vec<(String, String)> {
        self.0.unwrap_or_default()
    }
}
