//! A checked scheme: a closed set of signature families, each in a file of its own.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use http::{HeaderMap, HeaderName};

pub(crate) mod asymmetric;
pub(crate) mod coded;
pub(crate) mod content;
pub(crate) mod encoding;
pub(crate) mod hmac;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod place;
pub(crate) mod signed;
pub(crate) mod time;
pub(crate) mod token;
mod trial;

use crate::error::{SignError, SpecError, VerifyError};
use crate::locate::Locator;
use crate::remote::KeyRing;
use crate::remote::key::RemoteKey;
use crate::request::Request;
use crate::secret::Secret;
use crate::settings::{Setting, Settings};
use crate::verifier::{Facts, Sealed};
use coded::{Call, Coded, KeyKind};
use content::Content;
use encoding::key_base64;
use place::SignatureAt;
use signed::{Algorithm, SignedScheme};
use token::TokenScheme;

/// How a sender signs, ready to run. Cheap to clone. Made by [`SchemeSpec::compile`](crate::SchemeSpec::compile), by
/// the catalog, or by [`Scheme::unsigned`].
#[derive(Clone, Debug)]
pub struct Scheme {
    family: Arc<Family>,
    key: KeyRule,
}

/// The families. A closed set: every `match` on it is a place to think about a new one.
#[derive(Debug)]
pub(crate) enum Family {
    Unsigned,
    Signed(SignedScheme),
    Token(TokenScheme),
    Coded(Box<dyn Coded>),
}

/// How the configured text of a secret becomes key bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRule {
    pub(crate) form: KeyForm,
    /// Prefixes of which the first that fits is taken off (`whsec_`); a secret without one is taken as it is.
    pub(crate) prefixes: Vec<String>,
}

/// The text form of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyForm {
    #[default]
    Utf8,
    Base64,
    Hex,
    /// The SHA-1 of the text (Braintree).
    Sha1,
}

/// One key, ready to run.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Mac(Box<aws_lc_rs::hmac::Key>),
    /// For a scheme whose sender chooses among several MACs; the first signs.
    Macs(Box<[(hmac::Mac, aws_lc_rs::hmac::Key)]>),
    Public(asymmetric::PublicKey),
    Token(Box<[u8]>),
    Remote(Box<RemoteKey>),
}

/// The keys of one verifier beside the secrets that they came from.
pub(crate) struct Keys<'k> {
    pub(crate) secrets: &'k [Secret],
    pub(crate) keys: &'k [Key],
}

/// What a successful verification found.
pub(crate) struct Match<'r> {
    pub(crate) secret_index: Option<usize>,
    pub(crate) signed_at: Option<SystemTime>,
    pub(crate) content: Covered<'r>,
    /// The signature covers the body and nothing else.
    pub(crate) content_is_body: bool,
}

/// What a signature covers. Its digest costs as much as its MAC, and not everybody asks for it.
#[derive(Clone, Debug)]
pub(crate) enum Covered<'r> {
    Content(Content<'r>),
    Digest([u8; 32]),
}

impl Covered<'_> {
    pub(crate) fn sha256(&self) -> [u8; 32] {
        match self {
            Self::Content(content) => content.sha256(),
            Self::Digest(digest) => *digest,
        }
    }
}

impl<'r> Match<'r> {
    /// As [`Match::of`], without the digest as long as nobody asks for it.
    pub(crate) fn lazily(secret_index: usize, content: Content<'r>, body: &[u8]) -> Self {
        let content_is_body = content.is(body);
        let content = Covered::Content(content);
        Self { secret_index: Some(secret_index), signed_at: None, content, content_is_body }
    }
}

impl Match<'static> {
    /// A secret that made the signature of `content`; `body` is that of the request.
    pub(crate) fn of(secret_index: usize, content: &Content<'_>, body: &[u8]) -> Self {
        Self {
            secret_index: Some(secret_index),
            signed_at: None,
            content: Covered::Digest(content.sha256()),
            content_is_body: content.is(body),
        }
    }
}

impl Scheme {
    /// No signature at all. A gateway asks twice before it uses this.
    #[must_use]
    pub fn unsigned() -> Self {
        Self::of(Family::Unsigned, KeyRule::default())
    }

    pub(crate) fn of(family: Family, key: KeyRule) -> Self {
        Self { family: Arc::new(family), key }
    }

    /// Whether this is [`Scheme::unsigned`].
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        matches!(*self.family, Family::Unsigned)
    }

    /// Whether the secrets of this scheme are public keys (literal keys are then allowed in a config, and it cannot
    /// sign unless a private key is given).
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        match &*self.family {
            Family::Signed(scheme) => scheme.algorithm.is_asymmetric(),
            Family::Coded(scheme) => matches!(scheme.key_kind(), KeyKind::Public(..) | KeyKind::Remote),
            Family::Unsigned | Family::Token(_) => false,
        }
    }

    /// Whether the keys are fetched from the provider ([`VerifyError::needs`]): no secret need be configured then, and
    /// those that are, are the only ones that count.
    #[must_use]
    pub fn fetches_keys(&self) -> bool {
        matches!(&*self.family, Family::Coded(scheme) if scheme.fetches_keys())
    }

    /// Whether the provider gives these keys to its customers only: whoever fetches one says who asks ([`KeyFile::PlaidKey`]).
    ///
    /// [`KeyFile::PlaidKey`]: crate::remote::KeyFile::PlaidKey
    #[must_use]
    pub fn fetches_with_credentials(&self) -> bool {
        matches!(&*self.family, Family::Coded(scheme) if scheme.fetches_with_credentials())
    }

    /// Whether the scheme only compares a shared token or credentials: it then proves nothing about the content.
    #[must_use]
    pub fn is_token(&self) -> bool {
        matches!(*self.family, Family::Token(_))
    }

    /// Whether the signature stands in the body or the query, so that [`Verifier::sign`](crate::Verifier::sign) has no
    /// headers to give; see [`Verifier::seal`](crate::Verifier::seal).
    #[must_use]
    pub fn signs_inside(&self) -> bool {
        match &*self.family {
            Family::Signed(scheme) => {
                scheme.layouts.iter().any(|layout| layout.signature.header_to_sign().is_none())
            }
            Family::Token(scheme) => scheme.at.header_to_sign().is_none(),
            Family::Coded(scheme) => scheme.signs_inside(),
            Family::Unsigned => false,
        }
    }

    /// Whether the signature covers the public URL, so that one has to be configured.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        match &*self.family {
            Family::Signed(scheme) => scheme.signs_url(),
            Family::Coded(scheme) => scheme.signs_url(),
            Family::Unsigned | Family::Token(_) => false,
        }
    }

    /// Whether what is signed carries a timestamp or a nonce, so that equal digests mean the same transmission.
    #[must_use]
    pub fn signs_time(&self) -> bool {
        match &*self.family {
            Family::Signed(scheme) => scheme.signs_time(),
            Family::Coded(scheme) => scheme.signs_time(),
            Family::Unsigned | Family::Token(_) => false,
        }
    }

    /// Whether the signature covers what `locator` points at.
    #[must_use]
    pub fn covers(&self, locator: &Locator) -> bool {
        match &*self.family {
            Family::Signed(scheme) => scheme.covers(locator),
            Family::Coded(scheme) => scheme.covers(locator),
            Family::Unsigned | Family::Token(_) => false,
        }
    }

    /// Headers from which the scheme reads a shared token or credentials: never stored, never forwarded.
    #[must_use]
    pub fn token_headers(&self) -> Vec<HeaderName> {
        match &*self.family {
            Family::Token(scheme) => scheme.headers(),
            Family::Coded(scheme) => scheme.token_headers(),
            Family::Unsigned | Family::Signed(_) => Vec::new(),
        }
    }

    /// The query parameter from which the scheme reads a shared token or credentials: a URL with it is a secret, too.
    #[must_use]
    pub fn token_query(&self) -> Option<&str> {
        match &*self.family {
            Family::Token(TokenScheme { at: SignatureAt::Located(Locator::Query(name)), .. })
            | Family::Token(TokenScheme { elsewhere: Some(Locator::Query(name)), .. }) => Some(name),
            Family::Unsigned | Family::Signed(_) | Family::Token(_) | Family::Coded(_) => None,
        }
    }

    /// Headers that carry signature, timestamp or id for the scheme: refused when they arrive more than once, and
    /// known before the body is read.
    #[must_use]
    pub fn signature_headers(&self) -> Vec<HeaderName> {
        match &*self.family {
            Family::Unsigned => Vec::new(),
            Family::Signed(scheme) => scheme.headers(),
            Family::Token(scheme) => scheme.headers(),
            Family::Coded(scheme) => scheme.signature_headers(),
        }
    }

    /// What the scheme has to know about a source beside its secrets; see
    /// [`Verifier::with_settings`](crate::Verifier::with_settings).
    #[must_use]
    pub fn settings(&self) -> &'static [Setting] {
        match &*self.family {
            Family::Coded(scheme) => scheme.settings(),
            Family::Unsigned | Family::Signed(_) | Family::Token(_) => &[],
        }
    }

    /// Whether the headers alone show that verification cannot succeed (the required ones are missing or malformed, or
    /// the timestamp is stale): judged before any byte of the body is read.
    ///
    /// Uses the scheme's own tolerance; where a source has another, use [`Verifier::screen`](crate::Verifier::screen).
    pub fn screen(&self, headers: &HeaderMap, now: SystemTime) -> Result<(), VerifyError> {
        let keys = Keys { secrets: &[], keys: &[] };
        self.screen_call(
            headers,
            &Call { keys, settings: &Settings::default(), ring: &KeyRing::default(), tolerance: None, now },
        )
    }

    pub(crate) fn screen_call(&self, headers: &HeaderMap, call: &Call<'_>) -> Result<(), VerifyError> {
        match &*self.family {
            Family::Unsigned => Ok(()),
            Family::Signed(scheme) => scheme.screen(headers, call.tolerance, call.now),
            Family::Token(scheme) => scheme.screen(headers),
            Family::Coded(scheme) => scheme.screen(headers, call),
        }
    }

    pub(crate) fn verify<'r>(
        &self,
        request: &Request<'r>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'r>, VerifyError> {
        match &*self.family {
            Family::Unsigned => {
                let content = Covered::Content(Content::whole(request.body));
                Ok(Match { secret_index: None, signed_at: None, content, content_is_body: true })
            }
            Family::Signed(scheme) => scheme.verify(request, &call.keys, call.tolerance, call.now, facts),
            Family::Token(scheme) => scheme.verify(request, &call.keys, call.now, facts),
            Family::Coded(scheme) => scheme.verify(request, call, facts),
        }
    }

    pub(crate) fn sign(
        &self,
        request: &Request<'_>,
        id: Option<&str>,
        call: &Call<'_>,
    ) -> Result<Sealed, SignError> {
        match &*self.family {
            Family::Unsigned => Ok(Sealed::default()),
            Family::Signed(scheme) => scheme.sign(request, id, &call.keys, call.now).map(Sealed::headers),
            Family::Token(scheme) => scheme.sign(&call.keys, call.now).map(Sealed::headers),
            Family::Coded(scheme) => scheme.sign(request, id, call),
        }
    }

    /// How many bytes of key a secret of a MAC holds, without what stands around them; `None` for other schemes, and
    /// where the secret is no key at all.
    #[must_use]
    pub fn mac_key_bytes(&self, secret: &Secret) -> Option<usize> {
        match self.key_kind()? {
            KeyKind::Mac(_, KeyRule { form: KeyForm::Sha1, .. }) => Some(secret.expose().len()),
            KeyKind::Mac(_, rule) => rule.decode(secret.expose()).ok().map(|key| key.len()),
            KeyKind::Text => Some(secret.expose().len()),
            KeyKind::Public(..) | KeyKind::Remote => None,
        }
    }

    /// How a secret becomes a key; `None` where it is compared as it is.
    fn key_kind(&self) -> Option<KeyKind> {
        match &*self.family {
            Family::Unsigned | Family::Token(_) => None,
            Family::Coded(scheme) => Some(scheme.key_kind()),
            Family::Signed(scheme) => Some(match scheme.algorithm {
                Algorithm::Mac(mac) => KeyKind::Mac(mac, self.key.clone()),
                Algorithm::Public(algorithm) => KeyKind::Public(algorithm, self.key.clone()),
            }),
        }
    }

    /// The key of one secret.
    pub(crate) fn key(&self, secret: &Secret) -> Result<Key, SpecError> {
        let bytes = secret.expose();
        let refusal = |message: String, hint: &str| SpecError {
            key: "secrets".to_owned(),
            message,
            hint: hint.to_owned(),
        };
        if bytes.is_empty() {
            return Err(refusal("a secret is empty".to_owned(), "take the secret that the provider shows"));
        }
        match self.key_kind() {
            None => Ok(Key::Token(bytes.into())),
            Some(KeyKind::Mac(..) | KeyKind::Text) if is_public_key(bytes) => {
                let hint =
                    "take the shared secret, or choose the scheme whose signatures the public key is for";
                Err(refusal("a secret is a public key, with which anybody could sign".to_owned(), hint))
            }
            Some(KeyKind::Text) => Ok(Key::Token(bytes.into())),
            Some(KeyKind::Remote) => {
                let hint = "take a certificate or a public key, as PEM or as JWK, or none: keys are fetched";
                let text =
                    std::str::from_utf8(bytes).map_err(|_| refusal("a key is not text".to_owned(), hint))?;
                let key = RemoteKey::read(text).map_err(|problem| refusal(problem, hint))?;
                Ok(Key::Remote(Box::new(key)))
            }
            Some(KeyKind::Mac(mac, rule)) => {
                let bytes = rule.decode(bytes).map_err(|problem| refusal(problem, "copy it again, whole"))?;
                Ok(self.mac_key(mac, &bytes))
            }
            Some(KeyKind::Public(algorithm, rule)) => {
                let hint = "take the public key that the provider shows, as PEM or as one line";
                let text =
                    std::str::from_utf8(bytes).map_err(|_| refusal("a key is not text".to_owned(), hint))?;
                let key = algorithm
                    .key(text, rule.form == KeyForm::Hex, &rule.prefixes)
                    .map_err(|problem| refusal(problem, hint))?;
                Ok(Key::Public(key))
            }
        }
    }
}

impl Scheme {
    /// The key of a MAC, for each MAC that a sender may choose.
    fn mac_key(&self, mac: hmac::Mac, bytes: &[u8]) -> Key {
        let further = match &*self.family {
            Family::Signed(scheme) => scheme.macs.as_slice(),
            _ => &[],
        };
        if further.iter().all(|(_, other)| *other == mac) {
            return Key::Mac(Box::new(mac.key(bytes)));
        }
        let mut keys = vec![(mac, mac.key(bytes))];
        for (_, other) in further {
            if keys.iter().all(|(known, _)| known != other) {
                keys.push((*other, other.key(bytes)));
            }
        }
        Key::Macs(keys.into_boxed_slice())
    }
}

/// Whether a configured text is a public key in a form that cannot be mistaken: PEM, or one of Standard Webhooks.
fn is_public_key(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let label = text.strip_prefix(b"-----BEGIN ").and_then(|rest| rest.split(|byte| *byte == b'-').next());
    text.starts_with(b"whpk_")
        || label.is_some_and(|label| label.ends_with(b"PUBLIC KEY") || label == b"CERTIFICATE")
}

impl KeyRule {
    /// The key bytes of a configured text.
    fn decode(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let bare =
            self.prefixes.iter().find_map(|prefix| text.strip_prefix(prefix.as_bytes())).unwrap_or(text);
        let bytes = match self.form {
            KeyForm::Utf8 => Some(bare.to_vec()),
            KeyForm::Base64 => std::str::from_utf8(bare).ok().and_then(key_base64),
            KeyForm::Hex => data_encoding::HEXLOWER_PERMISSIVE.decode(bare.trim_ascii()).ok(),
            KeyForm::Sha1 => Some(digest(&SHA1_FOR_LEGACY_USE_ONLY, bare).as_ref().to_vec()),
        };
        let bytes = bytes.ok_or_else(|| {
            let form = if self.form == KeyForm::Hex { "hex" } else { "base64" };
            format!("a secret is not {form}, which this scheme asks for")
        })?;
        if bytes.is_empty() { Err("a secret holds no key bytes".to_owned()) } else { Ok(bytes) }
    }
}

impl<'k> Keys<'k> {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that count at `now`, with their position.
    pub(crate) fn live(&self, now: SystemTime) -> impl Iterator<Item = (usize, &'k Key)> {
        self.live_for(now, None)
    }

    /// The keys that count at `now` for that key id; a secret without an id counts for every id.
    pub(crate) fn live_for(
        &self,
        now: SystemTime,
        id: Option<&str>,
    ) -> impl Iterator<Item = (usize, &'k Key)> {
        let pairs = self.secrets.iter().zip(self.keys).enumerate();
        pairs
            .filter(move |(_, (secret, _))| {
                secret.is_live(now) && (id.is_none() || secret.id().is_none() || secret.id() == id)
            })
            .map(|(index, (_, key))| (index, key))
    }
}
