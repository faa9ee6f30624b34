//! Handshakes: what a provider asks before it sends, or to see that the receiver is still there. Says what to answer,
//! which key to learn, or which URL to confirm; answers, stores and fetches nothing itself.
//!
//! None of them may sign what a stranger chose. So a rule says whether the request has to verify first
//! ([`Handshakes::after`] asks for the [`Verified`] that proves it), a challenge is held to a class of characters and a
//! length before it is echoed or signed, and an event whose signed content reads like a challenge that this source would
//! sign is refused: nobody can have a body signed by asking for it as a challenge.

use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::Method;

use crate::error;
use crate::locate::Locator;
use crate::remote::host::Hosts;
use crate::{Reason, Request, Secret, Verified, Verifier, VerifyError};
use answer::{AnswerRule, Values};
use challenge::Challenge;

pub(crate) mod answer;
pub(crate) mod challenge;
mod outcome;
mod spec;

pub(crate) use outcome::refuse;
pub use outcome::{Answer, Handshake, HandshakeError, HandshakeReason};
pub use spec::{AnswerSpec, HandshakeSpec};

/// The shortest and the longest key that is learnt, in bytes.
const LEARNT_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// The handshakes of one provider, checked.
#[derive(Clone, Debug, Default)]
pub struct Handshakes {
    rules: Vec<Rule>,
}

/// One handshake.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) method: Method,
    /// The path at the host's root that it arrives at, if not the source's own.
    pub(crate) path: Option<String>,
    /// Places and what must stand there; `None`: anything.
    pub(crate) when: Vec<(Locator, Option<String>)>,
    pub(crate) absent: Vec<Locator>,
    /// Whether it is one only while a registration is pending.
    pub(crate) pending: bool,
    pub(crate) proof: Proof,
    pub(crate) expect: Vec<(Locator, Setting)>,
    pub(crate) challenge: Option<Challenge>,
    /// Where the content of an event stands that the provider signs, if it is not the body.
    pub(crate) content: Option<Locator>,
    pub(crate) action: Action,
    pub(crate) answer: AnswerRule,
}

/// What proves that the provider asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The request verifies like an event.
    Request,
    /// The raw query verifies like the body of an event, where a signature came with it (X).
    Query,
    /// The request verifies with the very key that it brings, where it is signed (Notion).
    Learnt,
    /// Nothing: such an answer is worth nothing to a stranger.
    Nothing,
}

/// What is done beside the answer.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Answer,
    Learn(Locator),
    Confirm(Locator, Hosts),
}

/// A setting of the source that a place is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    VerifyToken,
    Topics,
    AllowedOrigins,
}

/// What a source is configured with for handshakes, and whether one is awaited.
#[derive(Clone, Debug, Default)]
pub struct HandshakeSettings {
    /// The token that was written at the provider beside the URL (Meta, WebSub). Without one such a handshake is refused.
    pub verify_token: Option<Secret>,
    /// The topics that this source subscribed to (WebSub) or takes (SNS), exactly as written there.
    pub topics: Vec<String>,
    /// The origins that may deliver (CloudEvents `WebHook-Request-Origin`); `*` stands for any.
    pub allowed_origins: Vec<String>,
    /// The services whose logs are taken (Fastly).
    pub service_ids: Vec<String>,
    /// The name of the key in the provider's words, where an answer carries it (Braintree's public key).
    pub key_name: Option<String>,
    /// Whether a registration is pending: only then a key is learnt, and a test that nobody signed is answered. To be
    /// ended by the first key.
    pub pending: bool,
}

impl Handshakes {
    pub(crate) fn of(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a handshake may arrive with `method`; a POST always may.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        *method == Method::POST || self.rules.iter().any(|rule| rule.method == *method)
    }

    /// Whether a POST may be a handshake although nothing in its headers proves the sender: the headers alone then cannot
    /// say that it is refused.
    #[must_use]
    pub fn may_come_unproven(&self, verifier: &Verifier) -> bool {
        let tokenless = verifier.scheme().is_token() && verifier.secrets().is_empty();
        self.rules
            .iter()
            .any(|rule| rule.method == Method::POST && (rule.proof != Proof::Request || tokenless))
    }

    /// Whether one that comes with `method` has to verify first: [`Handshakes::after`] is then to be asked for it.
    #[must_use]
    pub fn verify_first(&self, method: &Method) -> bool {
        self.rules.iter().any(|rule| rule.method == *method && rule.proof == Proof::Request)
    }

    /// Whether the provider brings its key in one of them.
    #[must_use]
    pub fn learn(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.action, Action::Learn(_)))
    }

    /// Whether one of them is answered only while a registration is pending: a key is learnt, or a test is granted that
    /// nobody signed.
    #[must_use]
    pub fn await_registration(&self) -> bool {
        self.learn() || self.rules.iter().any(|rule| rule.pending)
    }

    /// The methods of the requests that it answers, `POST` first.
    #[must_use]
    pub fn methods(&self) -> Vec<&Method> {
        let mut methods = vec![&Method::POST];
        for rule in &self.rules {
            if !methods.contains(&&rule.method) {
                methods.push(&rule.method);
            }
        }
        methods
    }

    /// Paths at the root of the host that handshakes arrive at instead of the source's own (Fastly).
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| rule.path.as_deref())
    }

    /// The handshakes that come before, or without, verification. `None`: not one of these; verify the request, and ask
    /// [`Handshakes::after`].
    ///
    /// Of `request.url` only path and query are read: where no public URL is configured, the request target will do.
    pub fn before(
        &self,
        request: &Request<'_>,
        verifier: &Verifier,
        settings: &HandshakeSettings,
        now: SystemTime,
    ) -> Result<Option<Handshake>, HandshakeError> {
        for rule in self.rules.iter().filter(|rule| rule.proof != Proof::Request) {
            if (rule.pending && !settings.pending) || !rule.applies(request) {
                continue;
            }
            match rule.proof {
                Proof::Query => verify_query(request, verifier, now)?,
                Proof::Learnt if settings.pending => verify_learnt(rule, request, verifier, now)?,
                // The key that the source has already proves itself like an event.
                Proof::Learnt if verifier.verify(request, now).is_ok() => {
                    return Ok(Some(Handshake::Answer(rule.answer(request, verifier, settings, now)?)));
                }
                Proof::Request | Proof::Learnt | Proof::Nothing => {}
            }
            return rule.meet(request, verifier, settings, now);
        }
        // A source without any token has nothing to compare: an echo then tells a stranger only what he said.
        if verifier.scheme().is_token() && verifier.secrets().is_empty() {
            return self.meet_request(request, verifier, settings, now);
        }
        Ok(None)
    }

    /// The handshakes that must verify first. `None`: an event.
    ///
    /// Where topics are pinned for confirmations, events of other topics are refused as well: whoever owns a topic has
    /// messages that the provider signed.
    pub fn after(
        &self,
        verified: &Verified<'_>,
        verifier: &Verifier,
        settings: &HandshakeSettings,
        now: SystemTime,
    ) -> Result<Option<Handshake>, HandshakeError> {
        let request = verified.request();
        if let Some(handshake) = self.meet_request(&request, verifier, settings, now)? {
            return Ok(Some(handshake));
        }
        let confirming = self.rules.iter().filter(|rule| matches!(rule.action, Action::Confirm(..)));
        for rule in confirming.filter(|rule| !rule.expects_what_nobody_set(settings)) {
            rule.check_settings(&request, settings)?;
        }
        if self.rules.iter().any(|rule| rule.would_sign(&request)) {
            let detail = "what is signed reads like a challenge, which this source signs for anybody";
            return Err(refuse(HandshakeReason::ContentIsChallenge, 401, detail));
        }
        Ok(None)
    }

    fn meet_request(
        &self,
        request: &Request<'_>,
        verifier: &Verifier,
        settings: &HandshakeSettings,
        now: SystemTime,
    ) -> Result<Option<Handshake>, HandshakeError> {
        let mut rules = self.rules.iter().filter(|rule| rule.proof == Proof::Request);
        match rules.find(|rule| (!rule.pending || settings.pending) && rule.applies(request)) {
            Some(rule) => rule.meet(request, verifier, settings, now),
            None => Ok(None),
        }
    }
}

/// The raw query, verified like the body of an event, where a signature is there.
fn verify_query(request: &Request<'_>, verifier: &Verifier, now: SystemTime) -> Result<(), VerifyError> {
    let signed = verifier.scheme().signature_headers().iter().any(|name| request.headers.contains_key(name));
    if !signed {
        return Ok(());
    }
    let url = request.url.unwrap_or_default();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let request = Request { body: query.as_bytes(), ..*request };
    verifier.verify(&request, now).map(drop)
}

/// The request, verified with the key that it brings, where a signature is there.
fn verify_learnt(
    rule: &Rule,
    request: &Request<'_>,
    verifier: &Verifier,
    now: SystemTime,
) -> Result<(), HandshakeError> {
    let Action::Learn(at) = &rule.action else { return Ok(()) };
    let signed = verifier.scheme().signature_headers().iter().any(|name| request.headers.contains_key(name));
    if !signed {
        return Ok(());
    }
    let learnt = vec![learnt(at, request)?];
    let unusable = |_| refuse(HandshakeReason::MalformedKey, 400, format!("{at} is no key of this scheme"));
    let verifier = Verifier::new(verifier.scheme().clone(), learnt).map_err(unusable)?;
    Ok(verifier.verify(request, now).map(drop)?)
}

/// The key that a request brings.
fn learnt(at: &Locator, request: &Request<'_>) -> Result<Secret, HandshakeError> {
    let text = at.find(request).unwrap_or_default();
    if !LEARNT_BYTES.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail =
            format!("{at} holds no key of {} to {} characters", LEARNT_BYTES.start(), LEARNT_BYTES.end());
        return Err(refuse(HandshakeReason::MalformedKey, 400, detail));
    }
    Ok(Secret::new(text))
}

impl Rule {
    /// Whether the request is this handshake. Nothing is judged yet.
    fn applies(&self, request: &Request<'_>) -> bool {
        *request.method == self.method
            && self.path.as_deref().is_none_or(|path| request.url.is_some_and(|url| path_of(url) == path))
            && self.when.iter().all(|(at, wanted)| match (at.find(request), wanted) {
                (Some(found), Some(wanted)) => found == *wanted,
                (found, _) => found.is_some(),
            })
            && !self.absent.iter().any(|at| at.find(request).is_some())
    }

    fn meet(
        &self,
        request: &Request<'_>,
        verifier: &Verifier,
        settings: &HandshakeSettings,
        now: SystemTime,
    ) -> Result<Option<Handshake>, HandshakeError> {
        let places = self.when.iter().map(|(at, _)| at).chain(self.expect.iter().map(|(at, _)| at));
        for at in places.chain(self.challenge.as_ref().map(|challenge| &challenge.at)) {
            once(at, request)?;
        }
        if matches!(self.action, Action::Confirm(..)) && self.expects_what_nobody_set(settings) {
            return Ok(None);
        }
        self.check_settings(request, settings)?;
        match &self.action {
            Action::Answer => Ok(Some(Handshake::Answer(self.answer(request, verifier, settings, now)?))),
            Action::Learn(_) if !settings.pending => {
                let detail = "a key arrived while no registration is pending";
                Err(refuse(HandshakeReason::UnexpectedHandshake, 401, detail))
            }
            Action::Learn(at) => {
                let secret = learnt(at, request)?;
                let answer = self.answer(request, verifier, settings, now)?;
                Ok(Some(Handshake::Learn { secret, answer }))
            }
            Action::Confirm(at, hosts) => {
                let url = at.find(request).unwrap_or_default();
                if !hosts.allow(&url) {
                    let detail = format!("{at} is no https URL on a host of the provider");
                    return Err(refuse(HandshakeReason::UrlNotAllowed, 403, detail));
                }
                let answer = self.answer(request, verifier, settings, now)?;
                Ok(Some(Handshake::Confirm { url, answer }))
            }
        }
    }

    fn answer(
        &self,
        request: &Request<'_>,
        verifier: &Verifier,
        settings: &HandshakeSettings,
        now: SystemTime,
    ) -> Result<Answer, HandshakeError> {
        let challenge = self.challenge.as_ref().map(|challenge| challenge.read(request)).transpose()?;
        self.answer.fill(&Values { challenge: challenge.as_deref(), verifier, settings, now })
    }

    /// Whether this rule would sign the content of `request` for anybody who asks.
    fn would_sign(&self, request: &Request<'_>) -> bool {
        let Some(challenge) = self.challenge.as_ref().filter(|_| self.answer.signs()) else { return false };
        match &self.content {
            None => std::str::from_utf8(request.body).is_ok_and(|body| challenge.fits(body)),
            Some(at) => at.find(request).is_some_and(|content| challenge.fits(&content)),
        }
    }

    fn check_settings(
        &self,
        request: &Request<'_>,
        settings: &HandshakeSettings,
    ) -> Result<(), HandshakeError> {
        self.expect.iter().try_for_each(|(at, setting)| setting.check(at, request, settings, &self.action))
    }

    fn expects_what_nobody_set(&self, settings: &HandshakeSettings) -> bool {
        self.expect.iter().any(|(_, setting)| match setting {
            Setting::VerifyToken => settings.verify_token.is_none(),
            Setting::Topics => settings.topics.is_empty(),
            Setting::AllowedOrigins => settings.allowed_origins.is_empty(),
        })
    }
}

impl Setting {
    /// Whether what stands at `at` is what the source is configured with.
    fn check(
        self,
        at: &Locator,
        request: &Request<'_>,
        settings: &HandshakeSettings,
        action: &Action,
    ) -> Result<(), HandshakeError> {
        let found = at.find(request).unwrap_or_default();
        let (granted, reason, status) = match self {
            Self::VerifyToken => {
                let configured = settings.verify_token.as_ref().map(Secret::expose).unwrap_or_default();
                let same = !configured.is_empty() && same(configured, found.as_bytes());
                (same, HandshakeReason::TokenMismatch, 403)
            }
            Self::Topics => {
                let status = if matches!(action, Action::Confirm(..)) { 403 } else { 404 };
                (settings.topics.contains(&found), HandshakeReason::UnknownTopic, status)
            }
            Self::AllowedOrigins => {
                let mut allowed = settings.allowed_origins.iter();
                let granted = allowed.any(|origin| origin == "*" || origin.eq_ignore_ascii_case(&found));
                (granted, HandshakeReason::UnknownOrigin, 405)
            }
        };
        if granted { Ok(()) } else { Err(refuse(reason, status, format!("{at} is none that is configured"))) }
    }
}

/// Compared by digest, in constant time.
fn same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(digest(&SHA256, one).as_ref(), digest(&SHA256, other).as_ref()).is_ok()
}

/// Refuses a parameter or header that is there twice: two readers would choose differently.
fn once(at: &Locator, request: &Request<'_>) -> Result<(), HandshakeError> {
    let count =
        |form: &[u8], name: &str| form_urlencoded::parse(form).filter(|(field, _)| field == name).count();
    let times = match at {
        Locator::Header(name) => request.headers.get_all(name).iter().count(),
        Locator::Form(name) => count(request.body, name),
        Locator::Query(name) => count(query_of(request.url.unwrap_or_default()).as_bytes(), name),
        _ => 1,
    };
    if times <= 1 {
        return Ok(());
    }
    Err(refuse(HandshakeReason::RepeatedParameter, 400, format!("{at} arrived {times} times")))
}

/// The path of a URL or of a request target.
fn path_of(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let bare = &url[..end];
    match bare.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => bare,
    }
}

/// The query of a URL or of a request target.
fn query_of(url: &str) -> &str {
    let bare = url.split('#').next().unwrap_or_default();
    bare.split_once('?').map_or("", |(_, query)| query)
}

/// No secret is live, in the words of verification.
pub(crate) fn no_key() -> HandshakeError {
    let detail = "no secret is live that could sign the challenge";
    HandshakeError::Unverified(error::refuse(Reason::NoLiveSecret, detail))
}
