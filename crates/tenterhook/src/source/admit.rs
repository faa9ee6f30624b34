//! From a read request to an admitted event: verified first, then its id, type and key are found. A verified request
//! is never refused for its content.

use std::borrow::Cow;
use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::{HeaderMap, Method};
use tenterhook_verify::{
    Handshake, HandshakeError, HandshakeSettings, KeyNeed, KeyRing, Request, Verified, VerifyError,
};

use crate::model::{Admitted, AdmittedParts, Digest16, NewDelivery, OnDead, Priority, Timestamp};
use crate::policy::route::route;

use super::{IdRule, Source, Unmatched, headers, url};

/// The longest provider's id that is kept to be shown, in bytes. Longer ones are hashed whole, and shown cut.
const EVENT_ID_BYTES_MAX: usize = 1024;
/// The longest event type, in bytes; longer ones are cut.
const EVENT_TYPE_BYTES_MAX: usize = 256;

/// Domains of the digests below: an id that somebody chose can never equal a digest of content.
const BY_ID: u8 = 0;
const BY_CONTENT: u8 = 1;
const REPEAT: u8 = 2;

/// A request whose body has been read, and of which nothing is known yet.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The method.
    pub method: Method,
    /// Path and query as they arrived.
    pub original_url: String,
    /// The headers as they arrived.
    pub headers: HeaderMap,
    /// The exact bytes of the body.
    pub body: Bytes,
    /// Minted at the door.
    pub correlation_id: String,
    /// The address it came from, behind trusted proxies.
    pub source_ip: Option<IpAddr>,
    /// When its headers had arrived.
    pub received_at: Timestamp,
    /// The same moment by the wall clock: the time by which its own timestamp is judged.
    pub judged_at: Timestamp,
    /// Whether a registration of the source was pending then: only in that time its provider may bring a key.
    pub registration_pending: bool,
}

/// What a request turned out to be.
#[derive(Clone, Debug)]
pub enum Admission {
    /// An event.
    Event(Box<Admitted>),
    /// The provider asks something; nothing is stored.
    Handshake(Handshake),
}

/// Why a request is neither.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It is not authentic.
    Unverified(VerifyError),
    /// It is a handshake that this source does not grant.
    Handshake(HandshakeError),
    /// It is no handshake, and no event comes with its method.
    Method,
}

impl Refusal {
    /// The key that has to be fetched first, where it is that.
    #[must_use]
    pub fn needs(&self) -> Option<&KeyNeed> {
        match self {
            Self::Unverified(error) => error.needs.as_deref(),
            Self::Handshake(_) | Self::Method => None,
        }
    }
}

impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Unverified(error) => Self::Unverified(error),
            refused @ HandshakeError::Refused { .. } => Self::Handshake(refused),
        }
    }
}

impl Source {
    /// Verifies, and then finds out what was verified. Handshakes that prove themselves otherwise, or ask for nothing that
    /// would be worth a proof, come first.
    /// `ring` holds the keys that were fetched from providers so far.
    pub fn admit(&self, inbound: &Inbound, ring: &KeyRing) -> Result<Admission, Refusal> {
        let now = inbound.judged_at.to_system();
        if let Some(handshake) = self.ask(inbound)? {
            return Ok(Admission::Handshake(handshake));
        }
        let is_post = inbound.method == Method::POST;
        if !is_post && !self.handshakes.verify_first(&inbound.method) {
            return Err(Refusal::Method);
        }
        let url = self.judged_url(&inbound.original_url);
        let request = self.request(inbound, url.as_deref());
        let verified = self.verifier.verify_with(&request, ring, now).map_err(Refusal::Unverified)?;
        let settings = self.settings_of(inbound);
        if let Some(handshake) = self.handshakes.after(&verified, &self.verifier, &settings, now)? {
            return Ok(Admission::Handshake(handshake));
        }
        if !is_post {
            return Err(Refusal::Method);
        }
        let (id, keys) = self.keys(&verified);
        let parts = AdmittedParts {
            source: self.name.clone(),
            provider: self.provider.map_or_else(|| "custom".to_owned(), |provider| provider.name.clone()),
            provider_event_id: id.map(|id| cut(id, EVENT_ID_BYTES_MAX)),
            event_type: self.event_type_of(&request),
            key: keys.key,
            repeat: keys.repeat,
            body_digest: first16(&verified.body_sha256()),
            dedupe: self.dedupe,
            body: inbound.body.clone(),
            headers: headers::stored(&inbound.headers, self),
            correlation_id: inbound.correlation_id.clone(),
            source_ip: inbound.source_ip,
            original_url: match self.verifier.scheme().token_query() {
                Some(name) => url::without_token(&inbound.original_url, name),
                None => inbound.original_url.clone(),
            },
            received_at: inbound.received_at,
        };
        Ok(Admission::Event(Box::new(Admitted::new(&verified, parts))))
    }

    /// The handshakes that come without a verified request.
    pub fn ask(&self, inbound: &Inbound) -> Result<Option<Handshake>, HandshakeError> {
        if self.handshakes.is_empty() {
            return Ok(None);
        }
        // Where no public URL is configured, what arrived will do: only its path and query are read.
        let url = self.judged_url(&inbound.original_url).unwrap_or(Cow::Borrowed(&inbound.original_url));
        let request = self.request(inbound, Some(&url));
        let now = inbound.judged_at.to_system();
        self.handshakes.before(&request, &self.verifier, &self.settings_of(inbound), now)
    }

    /// What handshakes are held against at the moment of a request.
    fn settings_of(&self, inbound: &Inbound) -> Cow<'_, HandshakeSettings> {
        if inbound.registration_pending {
            Cow::Owned(HandshakeSettings { pending: true, ..self.handshake_settings.clone() })
        } else {
            Cow::Borrowed(&self.handshake_settings)
        }
    }

    /// What is owed for an admitted event: by its routes, in file order, or by `unmatched`; nothing for a type that
    /// this endpoint is not for.
    #[must_use]
    pub fn deliveries(&self, inbound: &Inbound, event_type: &str) -> Vec<NewDelivery> {
        if !self.events.is_empty() && !self.events.iter().any(|glob| glob.matches(event_type)) {
            return Vec::new();
        }
        let url = self.judged_url(&inbound.original_url);
        let routed = route(&self.routes, &self.request(inbound, url.as_deref()), event_type);
        match &self.unmatched {
            Unmatched::Deliver(destination) if routed.is_empty() => vec![NewDelivery {
                destination: destination.clone(),
                priority: Priority::default(),
                ordering_key: None,
                on_dead: OnDead::default(),
            }],
            _ => routed,
        }
    }

    fn request<'r>(&self, inbound: &'r Inbound, url: Option<&'r str>) -> Request<'r> {
        Request { method: &inbound.method, url, headers: &inbound.headers, body: &inbound.body }
    }

    /// The URL as the provider signs it: scheme, host and path as configured, with the query that arrived. Where none
    /// is configured and none is signed, what arrived: ids and tokens may be in its query.
    fn judged_url<'u>(&self, original_url: &'u str) -> Option<Cow<'u, str>> {
        let Some(public_url) = self.public_url.as_deref() else {
            return (!self.verifier.scheme().signs_url()).then_some(Cow::Borrowed(original_url));
        };
        let base = public_url.split_once('?').map_or(public_url, |(base, _)| base);
        Some(Cow::Owned(match original_url.split_once('?') {
            Some((_, query)) => format!("{base}?{query}"),
            None => base.to_owned(),
        }))
    }

    fn event_type_of(&self, request: &Request<'_>) -> String {
        let found = match (&self.event_type, self.provider) {
            (Some(locators), _) => locators.find(request).map(|(value, _)| value),
            (None, Some(provider)) => provider.event_type(request),
            (None, None) => None,
        };
        match found {
            Some(event_type) if !event_type.is_empty() => cut(event_type, EVENT_TYPE_BYTES_MAX),
            _ => "unknown".to_owned(),
        }
    }

    /// The provider's id, and the digests by which the store knows the event again.
    fn keys(&self, verified: &Verified<'_>) -> (Option<String>, Keys) {
        let scheme = self.verifier.scheme();
        let by_content = || Some(self.digest(BY_CONTENT, &verified.content_sha256()));
        let as_repeat = || Some(self.digest(REPEAT, &verified.content_sha256()));
        let request = verified.request();
        let located = match &self.event_id {
            IdRule::Located(locators) => locators.find(&request).filter(|(id, _)| !id.is_empty()),
            IdRule::Digest => return (None, Keys { key: by_content(), repeat: None }),
            IdRule::Automatic => None,
        };
        if let Some((id, places)) = located {
            let key = Some(self.digest(BY_ID, id.as_bytes()));
            let id_is_signed = places.iter().all(|place| scheme.covers(place));
            return (Some(id), Keys { key, repeat: if id_is_signed { None } else { as_repeat() } });
        }
        if scheme.signs_time() {
            (None, Keys { key: by_content(), repeat: None })
        } else {
            (None, Keys { key: None, repeat: as_repeat() })
        }
    }

    fn digest(&self, domain: u8, of: &[u8]) -> Digest16 {
        digest16(&[self.name.as_str().as_bytes(), &[domain], of])
    }
}

struct Keys {
    key: Option<Digest16>,
    repeat: Option<Digest16>,
}

fn digest16(parts: &[&[u8]]) -> Digest16 {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    first16(context.finish().as_ref())
}

fn first16(digest: &[u8]) -> Digest16 {
    let mut first = Digest16::default();
    first.copy_from_slice(&digest[..16]);
    first
}

/// The beginning of `text`, at most `bytes_max` of it, cut between characters and marked with `…`.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let room = bytes_max - '…'.len_utf8();
        let ends = text.char_indices().map(|(at, char)| at + char.len_utf8());
        let end = ends.take_while(|end| *end <= room).last().unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_whole_characters_and_says_that_it_cut() {
        assert_eq!(cut("short".to_owned(), 8), "short");
        assert_eq!(cut("12345678".to_owned(), 8), "12345678");
        assert_eq!(cut("123456789".to_owned(), 8), "12345…");
        assert_eq!(cut("1234ééé".to_owned(), 8), "1234…");
        assert_eq!(cut("😀😀😀".to_owned(), 8), "😀…");
    }

    #[test]
    fn an_id_never_equals_a_digest_of_content() {
        let digest = |domain: u8| digest16(&[b"source", &[domain], b"same"]);
        assert_ne!(digest(BY_ID), digest(BY_CONTENT));
        assert_ne!(digest(BY_CONTENT), digest(REPEAT));
        assert_eq!(digest(BY_ID), digest16(&[b"source\0same"]));
    }
}
