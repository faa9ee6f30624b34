//! A source: a configured path that receives from one provider. Knows verification, ids and limits; knows nothing of
//! stores or destinations.

mod admit;
mod headers;
mod url;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;
use tenterhook_verify::{HandshakeSettings, Handshakes, Locators, Provider, Secret, Verifier};

use crate::model::{DedupePolicy, DestinationName, SourceName};
use crate::policy::limit::RatePolicy;
use crate::policy::route::{Glob, Route};

pub use admit::{Admission, Inbound, Refusal};

/// One source, checked and ready.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Its path on the ingress listener: `/webhooks/NAME` unless set.
    pub path: String,
    /// Its catalog entry; `None` for a provider of one's own.
    pub provider: Option<&'static Provider>,
    /// Scheme and secrets: those of the config first, then those that the provider brought.
    pub verifier: Verifier,
    /// How many of the verifier's secrets, the first ones, are of the config.
    pub secrets_configured: usize,
    /// What the provider asks before it sends, and to see that somebody is there.
    pub handshakes: Handshakes,
    /// What these are held against.
    pub handshake_settings: HandshakeSettings,
    /// Who asks, where the provider gives its keys to its customers only.
    pub key_credentials: Option<KeyCredentials>,
    /// How the idempotency key is found.
    pub event_id: IdRule,
    /// How the event type is found, where the catalog's own rule is overridden or there is none.
    pub event_type: Option<Locators>,
    /// Event types that this endpoint is for; others are recorded as ignored. Empty: all.
    pub events: Vec<Glob>,
    /// Its routes, in file order.
    pub routes: Vec<Route>,
    /// What becomes of events that no route matches.
    pub unmatched: Unmatched,
    /// Limits before and after verification.
    pub limits: SourceLimits,
    /// What to do about duplicates, repeats and conflicts.
    pub dedupe: DedupePolicy,
    /// The answers that differ from the usual ones.
    pub response: ResponsePolicy,
    /// The handler's own answer is the provider's; `None`: a receipt is.
    pub respond: Option<Respond>,
    /// The URL as configured at the provider, for schemes that sign it: scheme, host and path; the query is the
    /// request's own.
    pub public_url: Option<String>,
    /// Headers that are stored and forwarded although they usually are not (`Authorization`, `Cookie`, …).
    pub forward_headers: Vec<HeaderName>,
}

/// By what a provider knows its customer when a key is asked for.
#[derive(Clone, Debug)]
pub struct KeyCredentials {
    /// The account; no secret.
    pub client_id: String,
    /// Its secret.
    pub secret: Secret,
}

/// How the idempotency key of an event is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdRule {
    /// In the request; where it is absent, as [`IdRule::Automatic`].
    Located(Locators),
    /// The digest of the signed content (`event_id = "digest"`).
    Digest,
    /// No id: a digest of the signed content where that carries a timestamp or nonce, else no key.
    Automatic,
}

/// What becomes of events that no route matches.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Unmatched {
    /// Recorded as ignored.
    #[default]
    Ignore,
    /// Delivered there.
    Deliver(DestinationName),
}

/// A source's limits.
#[derive(Clone, Debug)]
pub struct SourceLimits {
    /// Longest body, in bytes.
    pub body_bytes_max: u64,
    /// Verified requests per second; beyond it 429.
    pub rate: Option<RatePolicy>,
    /// Requests per second from one address, judged before verification; beyond it 429.
    pub rate_per_address: Option<RatePolicy>,
    /// Addresses that may send; empty: all.
    pub allow_from: Vec<IpNet>,
    /// A declared or streamed body has to arrive within this time.
    pub body_timeout: Duration,
}

/// `respond = "handler"`: what the provider is answered is what the one destination of the source answered to the first
/// attempt, where it confirmed the event in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// From the head of the request to the answer.
    pub timeout: Duration,
    /// Requests that wait at the same time; one more is answered at once.
    pub waiting_max: u32,
    /// The answer where the handler gives none: it promises nothing and decides nothing.
    pub fallback: Fallback,
}

/// What a source answers in place of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// 2xx, or 429 or 503 for a provider that asks again.
    pub status: StatusCode,
    /// The content type of `body`; `None` for an empty one.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

/// How a source answers after the event is durable. Refusals are never overridden.
#[derive(Clone, Debug, Default)]
pub struct ResponsePolicy {
    /// The status instead of 202 and 200.
    pub status: Option<StatusCode>,
    /// The body instead of ours, with its content type.
    pub body: Option<(String, String)>,
    /// Adds the handler's result to the answer of a duplicate.
    pub duplicate_result: bool,
    /// The status of a conflict instead of 200.
    pub conflict_status: Option<StatusCode>,
}
