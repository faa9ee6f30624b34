//! Shared tokens and basic credentials: nothing is signed, the sender only knows a secret. Compared by digest, so that
//! not even the length shows in the time it takes.

use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::signed::SignatureAt;
use super::{Key, Keys, Match};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::request::Request;
use crate::verifier::Facts;

/// A scheme in which a shared secret travels with the request.
#[derive(Clone, Debug)]
pub(crate) struct TokenScheme {
    pub(crate) at: SignatureAt,
    pub(crate) prefix: String,
    /// `user:password` in base64 behind `Basic `.
    pub(crate) basic: bool,
}

impl TokenScheme {
    pub(crate) fn screen(&self, headers: &HeaderMap) -> Result<(), VerifyError> {
        for value in self.at.in_headers(headers)? {
            self.presented(value)?;
        }
        Ok(())
    }

    pub(crate) fn verify(
        &self,
        request: &Request<'_>,
        keys: &Keys<'_>,
        now: SystemTime,
        facts: &mut Facts,
    ) -> Result<Match, VerifyError> {
        let mut presented = Vec::new();
        for value in self.at.values(request)? {
            presented.push(self.presented(&value)?);
        }
        facts.note("token", || format!("{} presented", presented.len()));
        let mut live = false;
        for (index, key) in keys.live(now) {
            let Key::Token(expected) = key else { continue };
            live = true;
            let expected = digest(&SHA256, expected);
            let hit = presented.iter().any(|token| {
                verify_slices_are_equal(digest(&SHA256, token).as_ref(), expected.as_ref()).is_ok()
            });
            if hit {
                let content_sha256 = digest(&SHA256, request.body).as_ref().try_into().unwrap_or_default();
                return Ok(Match {
                    secret_index: Some(index),
                    signed_at: None,
                    content_sha256,
                    content_is_body: true,
                });
            }
        }
        if live {
            Err(refuse(Reason::TokenMismatch, "the token is none of the configured ones"))
        } else {
            Err(refuse(Reason::NoLiveSecret, "no secret is live at this time"))
        }
    }

    /// The token within a value.
    fn presented(&self, value: &str) -> Result<Vec<u8>, VerifyError> {
        let malformed = |what: &str| refuse(Reason::MalformedSignature, what);
        let rest = strip_scheme(value, &self.prefix)
            .ok_or_else(|| malformed("the token does not begin with the scheme's prefix"))?;
        if rest.is_empty() {
            return Err(refuse(Reason::MissingSignature, "the token is empty"));
        }
        if self.basic {
            return BASE64.decode(rest.as_bytes()).map_err(|_| malformed("the credentials are not base64"));
        }
        Ok(rest.as_bytes().to_vec())
    }

    pub(crate) fn sign(&self, keys: &Keys<'_>, now: SystemTime) -> Result<HeaderMap, SignError> {
        let name = self.at.header_to_sign().ok_or_else(|| {
            SignError(
                "this scheme does not carry its token in a header; put it where the scheme reads it"
                    .to_owned(),
            )
        })?;
        let token = keys.live(now).find_map(|(_, key)| match key {
            Key::Token(token) => Some(token),
            _ => None,
        });
        let token = token.ok_or_else(|| SignError("no secret is live at this time".to_owned()))?;
        let mut bytes = self.prefix.clone().into_bytes();
        if self.basic {
            bytes.extend_from_slice(BASE64.encode(token).as_bytes());
        } else {
            bytes.extend_from_slice(token);
        }
        let mut value = HeaderValue::from_bytes(&bytes)
            .map_err(|_| SignError("the token cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(name, value)]))
    }

    pub(crate) fn headers(&self) -> Vec<HeaderName> {
        self.at.header_names()
    }
}

/// `value` behind `prefix`. The name of an HTTP authentication scheme (`Bearer `, `Basic `) has no case.
fn strip_scheme<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    let same = if prefix.ends_with(' ') { head.eq_ignore_ascii_case(prefix) } else { head == prefix };
    same.then_some(rest)
}
