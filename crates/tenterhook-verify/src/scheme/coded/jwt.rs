//! JSON web tokens (RFC 7515, 7519), one policy for each provider: where the token stands, which algorithms it may name,
//! whose key counts, what its claims must say, and what of the request they hash.
//!
//! The token chooses nothing but one entry of a short list. `none` is on no list, and no list holds a MAC beside a public
//! key, so that a public key can never be taken for a secret. `jku`, `x5u`, `jwk` and `x5c` are not read; a `crit` is
//! refused, since nothing here would heed it.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName};

use super::{Call, Coded, KeyKind, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::{Covered, Key, Match};
use crate::settings::Setting;
use crate::verifier::{Facts, Sealed};
use token::Token;

mod algorithm;
pub(crate) mod policies;
mod policy;
mod qsh;
mod sign;
mod token;

use algorithm::Algorithm;
use policy::{Audience, BodyHash, Policy, Source, Times, UrlHash};

/// One provider's scheme.
#[derive(Debug)]
pub(crate) struct JwtScheme {
    policy: &'static Policy,
    header: HeaderName,
}

impl JwtScheme {
    pub(crate) fn new(policy: &'static Policy) -> Self {
        Self { policy, header: HeaderName::from_static(policy.header) }
    }

    /// The token, its algorithm, and times that hold: what the headers alone show.
    fn read<'h>(
        &self,
        headers: &'h HeaderMap,
        call: &Call<'_>,
    ) -> Result<(Token<'h>, Algorithm), VerifyError> {
        let value = required_signature(headers, &self.header)?;
        let token = Token::read(bare(value, self.policy.prefix)?)?;
        let algorithm = self.policy.algorithms.iter().find(|known| known.name() == token.head.alg);
        let Some(algorithm) = algorithm else {
            let taken: Vec<&str> = self.policy.algorithms.iter().map(|known| known.name()).collect();
            let detail = format!("the token names an algorithm that is none of {}", taken.join(", "));
            return Err(refuse(Reason::UnsupportedAlgorithm, detail));
        };
        self.policy.check_times(&token.claims, call)?;
        Ok((token, *algorithm))
    }

    /// Which secret signed, where it was one.
    fn check_signature(
        &self,
        token: &Token<'_>,
        algorithm: Algorithm,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Option<usize>, VerifyError> {
        let pinned = call.keys.len() > 0 || self.policy.source == Source::Secrets;
        if pinned {
            return self.check_pinned(token, algorithm, call, facts).map(Some);
        }
        let need = self.policy.need(token, call)?;
        let key = call.fetched(&need)?;
        facts.note("key", || format!("fetched from {}", need.url()));
        if algorithm.verifies_with(&key, token) {
            return Ok(None);
        }
        Err(refuse(Reason::SignatureMismatch, "the token was not signed with the key that it names"))
    }

    /// The configured keys. A key with an id counts only for tokens that name it.
    fn check_pinned(
        &self,
        token: &Token<'_>,
        algorithm: Algorithm,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<usize, VerifyError> {
        let live = call.live(facts)?;
        let named: Vec<_> = live
            .iter()
            .filter(|(_, secret, _)| secret.id().is_none() || secret.id() == token.head.kid.as_deref())
            .collect();
        if named.is_empty() {
            return Err(refuse(Reason::UnknownKey, "no configured key has the id that the token names"));
        }
        let signed = |key: &Key| match key {
            Key::Token(secret) => algorithm.verifies_mac(secret, token),
            Key::Remote(key) => algorithm.verifies_with(key, token),
            Key::Mac(_) | Key::Macs(_) | Key::Public(_) => false,
        };
        let hit = named.iter().find(|(_, _, key)| signed(key));
        hit.map(|(index, _, _)| *index).ok_or_else(|| {
            let detail = format!("none of {} live keys signed this token", named.len());
            refuse(Reason::SignatureMismatch, detail)
        })
    }
}

impl Coded for JwtScheme {
    fn key_kind(&self) -> KeyKind {
        if self.policy.algorithms.iter().any(|algorithm| algorithm.is_asymmetric()) {
            KeyKind::Remote
        } else {
            KeyKind::Text
        }
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    /// A token that covers no body lets whoever holds it send any.
    fn token_headers(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    fn settings(&self) -> &'static [Setting] {
        self.policy.settings
    }

    fn signs_url(&self) -> bool {
        self.policy.url != UrlHash::None || matches!(self.policy.audience, Audience::SettingOrUrl(_))
    }

    /// Only where the token covers the body too: else one token may come with many.
    fn signs_time(&self) -> bool {
        self.policy.times != Times::None && self.policy.body != BodyHash::None
    }

    fn fetches_keys(&self) -> bool {
        self.policy.source != Source::Secrets
    }

    fn fetches_with_credentials(&self) -> bool {
        self.policy.source == Source::Plaid
    }

    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            Locator::Query(_) => self.policy.url != UrlHash::None,
            Locator::Header(name) => *name == self.header,
            _ => self.policy.body != BodyHash::None,
        }
    }

    fn screen(&self, headers: &HeaderMap, call: &Call<'_>) -> Result<(), VerifyError> {
        self.read(headers, call).map(drop)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let (token, algorithm) = self.read(request.headers, call)?;
        facts.note("token", || format!("{}, {} bytes of claims", algorithm.name(), token.claims_bytes));
        let secret_index = self.check_signature(&token, algorithm, call, facts)?;
        self.policy.check_claims(&token.claims, request, call)?;
        let covers_body = self.policy.body != BodyHash::None;
        let signed_at = token.claims.iat.or(token.claims.nbf);
        let content = if covers_body { token.signed.as_bytes() } else { request.body };
        Ok(Match {
            secret_index,
            signed_at: signed_at.filter(|_| self.signs_time()).and_then(token::Date::time),
            content: Covered::Digest(Content::whole(content).sha256()),
            content_is_body: !covers_body,
        })
    }

    fn sign(&self, request: &Request<'_>, id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let token = sign::token(self.policy, request, id, call)?;
        Sealed::header(&self.header, &format!("{}{token}", self.policy.prefix))
    }
}

/// The token behind the name of its authentication scheme, which has no case.
fn bare<'v>(value: &'v str, prefix: &str) -> Result<&'v str, VerifyError> {
    match value.split_at_checked(prefix.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(prefix) => Ok(rest),
        _ => Err(refuse(Reason::MalformedSignature, format!("the header does not begin with `{prefix}`"))),
    }
}

/// The SHA-256 of `content`, in hex.
pub(crate) fn hex_sha256(content: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, content).as_ref())
}
