//! Schemes that the grammar cannot say: each is code, in a file of its own, behind one trait, and has a name that
//! `scheme = "…"` looks up here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

mod adyen;
mod braintree;
mod coinbase;
mod contentful;
mod dropbox_sign;
mod form;
mod hubspot;
mod jwt;
mod mailgun;
mod mandrill;
mod md5;
mod multipart;
mod paddle_classic;
mod payload;
mod paypal;
mod plivo;
mod scalar;
mod sns;
mod travis;
mod twilio;
mod vonage_sms;

use super::asymmetric::PublicAlgorithm;
use super::content::Content;
use super::encoding::Encoding;
use super::hmac::{self, Mac};
use super::place::signature_header;
use super::{Key, KeyRule, Keys, Match};
use crate::Secret;
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::remote::key::{RemoteKey, Signing};
use crate::remote::{Found, KeyNeed, KeyRing};
use crate::request::{Request, single_header};
use crate::settings::{Setting, Settings};
use crate::verifier::{Facts, Sealed};
use jwt::{JwtScheme, policies};

/// The schemes by name, sorted. Adding one is one line here and one file.
const TABLE: &[(&str, Make)] = &[
    ("adyen", || Box::new(adyen::AdyenScheme)),
    ("aws-sns", || Box::new(sns::SnsScheme::new())),
    ("braintree", || Box::new(braintree::BraintreeScheme)),
    ("coinbase-cdp", || Box::new(coinbase::CoinbaseScheme)),
    ("contentful", || Box::new(contentful::ContentfulScheme)),
    ("dropbox-sign", || Box::new(dropbox_sign::DropboxSignScheme)),
    ("event-grid-entra", || Box::new(JwtScheme::new(&policies::EVENT_GRID_ENTRA))),
    ("forgejo", || Box::new(payload::PayloadScheme::forgejo())),
    ("gitea", || Box::new(payload::PayloadScheme::gitea())),
    ("gitea-as-github", || Box::new(payload::PayloadScheme::as_github())),
    ("google-pubsub", || Box::new(JwtScheme::new(&policies::GOOGLE_PUBSUB))),
    ("hubspot-v1", || Box::new(hubspot::HubspotScheme::V1)),
    ("hubspot-v2", || Box::new(hubspot::HubspotScheme::V2)),
    ("hubspot-v3", || Box::new(hubspot::HubspotScheme::V3)),
    ("jira-connect", || Box::new(JwtScheme::new(&policies::JIRA_CONNECT))),
    ("mailgun", || Box::new(mailgun::MailgunScheme::Json)),
    ("mailgun-legacy", || Box::new(mailgun::MailgunScheme::Form)),
    ("mandrill", || Box::new(mandrill::MandrillScheme)),
    ("messagebird", || Box::new(JwtScheme::new(&policies::MESSAGEBIRD))),
    ("monday", || Box::new(JwtScheme::new(&policies::MONDAY))),
    ("netlify", || Box::new(JwtScheme::new(&policies::NETLIFY))),
    ("paddle-classic", || Box::new(paddle_classic::PaddleClassicScheme)),
    ("paypal", || Box::new(paypal::PayPalScheme::new())),
    ("plaid", || Box::new(JwtScheme::new(&policies::PLAID))),
    ("plivo-v1", || Box::new(plivo::PlivoScheme::V1)),
    ("plivo-v2", || Box::new(plivo::PlivoScheme::V2)),
    ("plivo-v3", || Box::new(plivo::PlivoScheme::V3)),
    ("travis-ci", || Box::new(travis::TravisScheme)),
    ("twilio", || Box::new(twilio::TwilioScheme::new())),
    ("vonage", || Box::new(JwtScheme::new(&policies::VONAGE))),
    ("vonage-sms-hmac-md5", || Box::new(vonage_sms::VonageSmsScheme::HmacMd5)),
    ("vonage-sms-hmac-sha1", || Box::new(vonage_sms::VonageSmsScheme::Hmac(Mac::Sha1))),
    ("vonage-sms-hmac-sha256", || Box::new(vonage_sms::VonageSmsScheme::Hmac(Mac::Sha256))),
    ("vonage-sms-hmac-sha512", || Box::new(vonage_sms::VonageSmsScheme::Hmac(Mac::Sha512))),
    ("vonage-sms-md5hash", || Box::new(vonage_sms::VonageSmsScheme::Md5Hash)),
];

type Make = fn() -> Box<dyn Coded>;

/// The scheme of that name.
pub(crate) fn named(name: &str) -> Option<Box<dyn Coded>> {
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

/// All names, sorted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// A scheme that is code.
///
/// - `verify` fails closed, compares in constant time, judges a timestamp before it computes anything, and bounds every
///   number that a request can choose.
/// - `sign` is its mirror: what it makes, `verify` takes.
/// - The defaults are those of a scheme that signs neither URL nor time, needs no settings, and reads its signature from
///   the first of `signature_headers`.
pub(crate) trait Coded: fmt::Debug + Send + Sync {
    /// How the configured text of a secret becomes a key.
    fn key_kind(&self) -> KeyKind;

    /// Headers that the scheme reads: the signature's first. Each is refused where it arrives twice.
    fn signature_headers(&self) -> Vec<HeaderName>;

    /// Headers that carry a shared token or credentials: never stored, never forwarded.
    fn token_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// What the scheme has to know about a source beside its secrets.
    fn settings(&self) -> &'static [Setting] {
        &[]
    }

    /// Whether the signature stands inside the request, so that headers alone cannot sign it.
    fn signs_inside(&self) -> bool {
        false
    }

    /// Whether the signature covers the public URL.
    fn signs_url(&self) -> bool {
        false
    }

    /// Whether what is signed carries a timestamp or a nonce: equal digests are then the same transmission.
    fn signs_time(&self) -> bool {
        false
    }

    /// Whether the provider gives its keys only to whom it knows.
    fn fetches_with_credentials(&self) -> bool {
        false
    }

    /// Whether keys are fetched where none is configured.
    fn fetches_keys(&self) -> bool {
        false
    }

    /// Whether the signature covers what `locator` points at.
    fn covers(&self, locator: &Locator) -> bool;

    /// What the headers alone show, before any byte of the body is read. By default each of `signature_headers` has to
    /// be there, once.
    fn screen(&self, headers: &HeaderMap, _call: &Call<'_>) -> Result<(), VerifyError> {
        for (index, name) in self.signature_headers().iter().enumerate() {
            if index == 0 {
                required_signature(headers, name)?;
            } else {
                required_header(headers, name)?;
            }
        }
        Ok(())
    }

    /// Whether the request was signed with one of the live keys.
    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError>;

    /// What has to be changed about `request` so that it verifies. `id` is the message id, for schemes that sign one.
    fn sign(&self, request: &Request<'_>, id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError>;
}

/// How the text of a secret becomes a key.
#[derive(Clone, Debug)]
pub(crate) enum KeyKind {
    /// A MAC key.
    Mac(Mac, KeyRule),
    /// A public key, or a private one that also signs.
    Public(PublicAlgorithm, KeyRule),
    /// The text itself, as [`Key::Token`]: for schemes that choose the algorithm by request, or hash the secret.
    Text,
    /// A public key that the provider publishes, pinned: PEM, a certificate, or a JWK. A private one also signs.
    Remote,
}

impl KeyKind {
    /// A MAC key whose bytes are the text.
    pub(crate) fn utf8(mac: Mac) -> Self {
        Self::Mac(mac, KeyRule::default())
    }
}

/// One call of a verifier: its keys, its settings, its tolerance, and the clock.
pub(crate) struct Call<'c> {
    pub(crate) keys: Keys<'c>,
    pub(crate) settings: &'c Settings,
    /// The keys that were fetched so far.
    pub(crate) ring: &'c KeyRing,
    /// Replaces the scheme's own tolerance.
    pub(crate) tolerance: Option<Duration>,
    pub(crate) now: SystemTime,
}

impl<'c> Call<'c> {
    /// The live keys with their secrets and positions; refuses where there is none.
    pub(crate) fn live(&self, facts: &mut Facts) -> Result<Vec<(usize, &'c Secret, &'c Key)>, VerifyError> {
        let live: Vec<_> = self
            .keys
            .live(self.now)
            .filter_map(|(index, key)| Some((index, self.keys.secrets.get(index)?, key)))
            .collect();
        facts.note("secrets", || format!("{} live of {}", live.len(), self.keys.len()));
        if live.is_empty() {
            return Err(refuse(Reason::NoLiveSecret, "no secret is live at this time"));
        }
        Ok(live)
    }

    /// The first live key that made one of `candidates` as the MAC of `content`; refuses where none did.
    pub(crate) fn mac(
        &self,
        content: &Content<'_>,
        candidates: &[Vec<u8>],
        facts: &mut Facts,
    ) -> Result<usize, VerifyError> {
        let live = self.live(facts)?;
        let made = |key: &Key| matches!(key, Key::Mac(key) if hmac::any_matches(key, content, candidates));
        match live.iter().find(|(_, _, key)| made(key)) {
            Some((index, _, _)) => Ok(*index),
            None => Err(refuse(
                Reason::SignatureMismatch,
                format!("none of {} live secrets made this", live.len()),
            )),
        }
    }

    /// The first live secret with its key: what signs.
    pub(crate) fn signing(&self) -> Result<(&'c Secret, &'c Key), SignError> {
        let first = self.keys.live(self.now).next();
        let found = first.and_then(|(index, key)| Some((self.keys.secrets.get(index)?, key)));
        found.ok_or_else(|| SignError("no secret is live at this time".to_owned()))
    }

    /// The MAC of `content` with the first live key.
    pub(crate) fn tag(&self, content: &Content<'_>) -> Result<Vec<u8>, SignError> {
        match self.signing()? {
            (_, Key::Mac(key)) => Ok(hmac::tag(key, content).as_ref().to_vec()),
            _ => Err(SignError("the secret is no MAC key".to_owned())),
        }
    }

    /// A key that was fetched; refuses, saying what is needed, where it was not.
    pub(crate) fn fetched(&self, need: &KeyNeed) -> Result<Arc<RemoteKey>, VerifyError> {
        let refused = match self.ring.find(need, self.now) {
            Found::Key(key) => return Ok(key),
            Found::OtherKeys => refuse(Reason::UnknownKey, "the provider publishes no key of that id"),
            Found::Nothing => {
                refuse(Reason::KeyNotAtHand, format!("the key at `{}` was not fetched", need.url()))
            }
        };
        Err(VerifyError { needs: Some(Box::new(need.clone())), ..refused })
    }

    /// Whether `signature` is one of `content` by a configured key (its position), or where none is configured by the one
    /// that `need` names.
    pub(crate) fn remote(
        &self,
        need: &KeyNeed,
        signing: Signing,
        content: &[u8],
        signature: &[u8],
        facts: &mut Facts,
    ) -> Result<Option<usize>, VerifyError> {
        if self.keys.len() == 0 {
            let key = self.fetched(need)?;
            facts.note("key", || format!("fetched from {}", need.url()));
            return if key.verifies(signing, content, signature) {
                Ok(None)
            } else {
                Err(refuse(Reason::SignatureMismatch, "the key that is named did not sign this"))
            };
        }
        let live = self.live(facts)?;
        let signed = |key: &Key| matches!(key, Key::Remote(key) if key.verifies(signing, content, signature));
        match live.iter().find(|(_, _, key)| signed(key)) {
            Some((index, _, _)) => Ok(Some(*index)),
            None => Err(refuse(
                Reason::SignatureMismatch,
                format!("none of {} live keys signed this", live.len()),
            )),
        }
    }

    /// A setting that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<&'c str, VerifyError> {
        let missing = || refuse(Reason::MissingSetting, format!("the setting `{name}` is not configured"));
        self.settings.text(name).ok_or_else(missing)
    }
}

/// The signature's header: there once, not empty.
pub(crate) fn required_signature<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<&'h str, VerifyError> {
    let missing = || refuse(Reason::MissingSignature, format!("`{name}` is missing or empty"));
    signature_header(headers, name)?.ok_or_else(missing)
}

/// A signature of `bytes` bytes.
pub(crate) fn decoded(encoding: Encoding, text: &str, bytes: usize) -> Result<Vec<u8>, VerifyError> {
    let malformed =
        || refuse(Reason::MalformedSignature, format!("the signature is not {bytes} bytes of {encoding:?}"));
    encoding.decode(text).filter(|signature| signature.len() == bytes).ok_or_else(malformed)
}

/// Another header of a scheme: there once, not empty.
pub(crate) fn required_header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, VerifyError> {
    match single_header(headers, name) {
        Ok(Some(value)) if !value.is_empty() => Ok(value),
        Ok(_) => Err(refuse(Reason::MissingHeader, format!("`{name}` is missing or empty"))),
        Err(problem) => Err(refuse(Reason::MissingHeader, format!("`{name}` {problem}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_known() {
        let names: Vec<_> = names().collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        assert!(names.iter().all(|name| named(name).is_some()) && named("nobody").is_none());
    }
}
