//! The keys that were fetched so far, and the need for one that was not. The ring is bounded, and holds only what was
//! judged when it came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::Deserialize;

use super::certificate::{self, Rule};
use super::key::{Jwk, RemoteKey};

/// The most files that one ring holds.
const FILES_MAX: usize = 64;
/// The most keys in one file.
const KEYS_MAX: usize = 64;
/// The largest file, in bytes.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// How long a key set counts before it has to be fetched anew; a key that its provider withdrew ends with it.
const SET_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The certificates that chains may end at.
#[derive(Clone, Debug, Default)]
pub struct Roots(pub(crate) Vec<TrustAnchor<'static>>);

impl Roots {
    /// Out of the DER of each root certificate; what is no certificate is left out.
    #[must_use]
    pub fn new<'d>(certificates: impl IntoIterator<Item = &'d [u8]>) -> Self {
        let anchors = certificates.into_iter().filter_map(|der| {
            let der = CertificateDer::from(der);
            webpki::anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.to_owned())
        });
        Self(anchors.collect())
    }
}

/// A key that verification needs and that is not at hand: where it is to be had, and what it has to be. Made only for URLs
/// that are built in, or that stand on a host of a built-in list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyNeed {
    url: String,
    kind: KeyFile,
    key_id: Option<String>,
}

/// The form in which a provider publishes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyFile {
    /// A certificate, with or without its chain, as PEM (SNS).
    SnsCertificate,
    /// A certificate with its chain, as PEM (PayPal).
    PayPalCertificate,
    /// A JSON web key set (Google, Microsoft).
    Jwks,
    /// One JSON web key, by its id, as answer to a POST of `client_id`, `secret` and `key_id` (Plaid).
    PlaidKey,
    /// A PEM key within Travis CI's configuration.
    TravisConfig,
}

impl KeyNeed {
    pub(crate) fn new(kind: KeyFile, url: &str, key_id: Option<&str>) -> Self {
        Self { url: url.to_owned(), kind, key_id: key_id.map(str::to_owned) }
    }

    /// Where the key is to be had: a plain https URL without port or credentials. Not to be followed to another host.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is there.
    #[must_use]
    pub fn kind(&self) -> KeyFile {
        self.kind
    }

    /// The id of the key as the message names it. For [`KeyFile::PlaidKey`] it is part of what is asked for (letters,
    /// digits and `-`); a set that was fetched a short while ago and does not hold it need not be fetched again.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Judges what was fetched: form and size, and for a certificate its name, its validity at `now` and its chain to one
    /// of `roots`. The problem otherwise, in one line.
    pub fn accept(&self, file: &[u8], roots: &Roots, now: SystemTime) -> Result<Fetched, String> {
        if file.len() > FILE_BYTES_MAX {
            return Err(format!("more than {FILE_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(file).map_err(|_| "not text".to_owned())?;
        let set_end = now + SET_LIFE;
        let certificate = |rule: Rule| {
            let judged = certificate::judge(text, rule, roots, now)?;
            let key = RemoteKey::public(&judged.public_key)?;
            Ok(Fetched { need: self.clone(), keys: vec![(None, Arc::new(key))], until: judged.not_after })
        };
        match self.kind {
            KeyFile::SnsCertificate => certificate(SNS),
            KeyFile::PayPalCertificate => certificate(PAYPAL),
            KeyFile::Jwks => {
                let set: JwkSet = serde_json::from_str(text).map_err(|_| "not a key set".to_owned())?;
                // A set may hold keys of types that are not taken beside those that are.
                let known =
                    set.keys.iter().filter_map(|jwk| Some((jwk.kid.clone(), Arc::new(jwk.key().ok()?))));
                self.fetched(known.take(KEYS_MAX).collect(), set_end)
            }
            KeyFile::PlaidKey => {
                let answer: PlaidAnswer =
                    serde_json::from_str(text).map_err(|_| "not an answer with a key".to_owned())?;
                if answer.key.kid != self.key_id {
                    return Err("the key of another id".to_owned());
                }
                let ended = answer
                    .key
                    .expired_at
                    .map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at.min(1 << 40)));
                let key = Arc::new(answer.key.key()?);
                self.fetched(vec![(answer.key.kid.clone(), key)], ended.unwrap_or(set_end).min(set_end))
            }
            KeyFile::TravisConfig => {
                let config: TravisConfig =
                    serde_json::from_str(text).map_err(|_| "not the configuration".to_owned())?;
                let key = RemoteKey::read(&config.config.notifications.webhook.public_key)?;
                self.fetched(vec![(None, Arc::new(key))], set_end)
            }
        }
    }

    fn fetched(
        &self,
        keys: Vec<(Option<String>, Arc<RemoteKey>)>,
        until: SystemTime,
    ) -> Result<Fetched, String> {
        if keys.is_empty() {
            return Err("no key that is taken".to_owned());
        }
        Ok(Fetched { need: self.clone(), keys, until })
    }

    /// What the ring files it under: the id counts only where it is part of the question.
    fn place(&self) -> (KeyFile, &str, Option<&str>) {
        let key_id = self.key_id.as_deref().filter(|_| self.kind == KeyFile::PlaidKey);
        (self.kind, &self.url, key_id)
    }
}

/// Certificates of Amazon SNS.
const SNS: Rule = Rule {
    names: &[
        "sns.amazonaws.com",
        "sns.*.amazonaws.com",
        "sns-signing.*.amazonaws.com",
        "sns.*.amazonaws.com.cn",
        "sns-signing.*.amazonaws.com.cn",
    ],
    alone: true,
};
/// Certificates of PayPal.
const PAYPAL: Rule = Rule { names: &["*.paypal.com", "*.sandbox.paypal.com"], alone: false };

/// A fetched file, judged.
#[derive(Clone, Debug)]
pub struct Fetched {
    need: KeyNeed,
    keys: Vec<(Option<String>, Arc<RemoteKey>)>,
    until: SystemTime,
}

impl Fetched {
    /// From when on it does not count any more.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.until
    }
}

/// The keys that were fetched so far. Holds at most 64 files; the one that ends first makes room.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    files: BTreeMap<KeyNeed, Fetched>,
}

impl KeyRing {
    /// The same ring with what was fetched, in place of what it had for the same need.
    #[must_use]
    pub fn with(mut self, fetched: Fetched, now: SystemTime) -> Self {
        self.files.retain(|need, file| file.until > now && need.place() != fetched.need.place());
        while self.files.len() >= FILES_MAX {
            let first = self.files.iter().min_by_key(|(_, file)| file.until).map(|(need, _)| need.clone());
            let Some(first) = first else { break };
            self.files.remove(&first);
        }
        self.files.insert(fetched.need.clone(), fetched);
        self
    }

    /// How many files it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What it holds for a need.
    pub(crate) fn find(&self, need: &KeyNeed, now: SystemTime) -> Found {
        let file = self.files.values().find(|file| file.need.place() == need.place() && now < file.until);
        let Some(file) = file else { return Found::Nothing };
        let named = |id: &Option<String>| need.key_id.is_none() || *id == need.key_id;
        let key = file.keys.iter().find(|(id, _)| named(id));
        key.map_or(Found::OtherKeys, |(_, key)| Found::Key(Arc::clone(key)))
    }
}

/// What a ring holds for a need.
pub(crate) enum Found {
    Key(Arc<RemoteKey>),
    /// The file is there, and the key is not in it.
    OtherKeys,
    Nothing,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct PlaidAnswer {
    key: Jwk,
}

#[derive(Deserialize)]
struct TravisConfig {
    config: TravisSettings,
}

#[derive(Deserialize)]
struct TravisSettings {
    notifications: TravisNotifications,
}

#[derive(Deserialize)]
struct TravisNotifications {
    webhook: TravisWebhook,
}

#[derive(Deserialize)]
struct TravisWebhook {
    public_key: String,
}
