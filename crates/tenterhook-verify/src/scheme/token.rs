//! Shared tokens and basic credentials: nothing is signed, the sender only knows a secret. Compared by digest, so that
//! not even the length shows in the time it takes.

use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::content::Content;
use super::list::CANDIDATES_MAX;
use super::place::SignatureAt;
use super::{Covered, Key, Keys, Match};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::{self, Locator};
use crate::request::Request;
use crate::verifier::Facts;

/// A scheme in which a shared secret travels with the request.
#[derive(Clone, Debug)]
pub(crate) struct TokenScheme {
    pub(crate) at: SignatureAt,
    /// Where it may stand if it does not stand there; without the prefix.
    pub(crate) elsewhere: Option<Locator>,
    pub(crate) prefix: String,
    /// `user:password` in base64 behind `Basic `.
    pub(crate) basic: bool,
}

impl TokenScheme {
    pub(crate) fn screen(&self, headers: &HeaderMap) -> Result<(), VerifyError> {
        let values = self.at.in_headers(headers)?;
        if values.is_empty() && self.elsewhere.is_none() && matches!(self.at, SignatureAt::Headers(_)) {
            return Err(self.at.missing());
        }
        for value in values {
            self.presented(value, &self.prefix)?;
        }
        Ok(())
    }

    pub(crate) fn verify<'r>(
        &self,
        request: &Request<'r>,
        keys: &Keys<'_>,
        now: SystemTime,
        facts: &mut Facts,
    ) -> Result<Match<'r>, VerifyError> {
        let tokens = self.tokens(request)?;
        facts.note("token", || format!("{} presented", tokens.list.len()));
        let mut live = false;
        let mut matched: Vec<Option<usize>> = vec![None; tokens.list.len()];
        for (index, key) in keys.live(now) {
            let Key::Token(expected) = key else { continue };
            live = true;
            let expected = digest(&SHA256, expected);
            for (token, matched) in tokens.list.iter().zip(&mut matched) {
                let hit = verify_slices_are_equal(digest(&SHA256, token).as_ref(), expected.as_ref()).is_ok();
                *matched = matched.or(hit.then_some(index));
            }
        }
        if !live {
            return Err(refuse(Reason::NoLiveSecret, "no secret is live at this time"));
        }
        let enough = !tokens.all || matched.iter().all(Option::is_some);
        let Some(secret_index) = matched.into_iter().flatten().next().filter(|_| enough) else {
            return Err(refuse(Reason::TokenMismatch, "the token is none of the configured ones"));
        };
        Ok(Match {
            secret_index: Some(secret_index),
            signed_at: None,
            content: Covered::Content(Content::whole(request.body)),
            content_is_body: true,
        })
    }

    /// What the request shows.
    fn tokens(&self, request: &Request<'_>) -> Result<Tokens, VerifyError> {
        if let SignatureAt::Located(Locator::Json(pointer)) = &self.at
            && pointer.split('/').any(|token| token == "*")
        {
            return self.each(request, pointer);
        }
        let mut list = Vec::new();
        match (self.at.values(request), &self.elsewhere) {
            (Ok(values), _) => {
                for value in values {
                    list.push(self.presented(&value, &self.prefix)?);
                }
            }
            (Err(error), Some(place)) if error.reason == Reason::MissingSignature => {
                list.push(self.presented(&place.find(request).ok_or(error)?, "")?);
            }
            (Err(error), _) => return Err(error),
        }
        Ok(Tokens { list, all: false })
    }

    /// The tokens of all items of a batch: one item without the right one spoils it.
    fn each(&self, request: &Request<'_>, pointer: &str) -> Result<Tokens, VerifyError> {
        let found = locate::each_item(request.body, pointer, CANDIDATES_MAX);
        if found.len() > CANDIDATES_MAX {
            return Err(refuse(Reason::TooManyCandidates, "more different tokens than any provider sends"));
        }
        let mut list = Vec::with_capacity(found.len());
        for value in found {
            let missing = || refuse(Reason::MissingSignature, format!("an item has nothing at `{pointer}`"));
            list.push(self.presented(&value.ok_or_else(missing)?, &self.prefix)?);
        }
        if list.is_empty() { Err(self.at.missing()) } else { Ok(Tokens { list, all: true }) }
    }

    /// The token within a value.
    fn presented(&self, value: &str, prefix: &str) -> Result<Vec<u8>, VerifyError> {
        let malformed = |what: &str| refuse(Reason::MalformedSignature, what);
        let rest = strip_scheme(value, prefix)
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

/// The tokens that a request shows.
struct Tokens {
    list: Vec<Vec<u8>>,
    /// Whether all of them have to match, and not any.
    all: bool,
}

/// `value` behind `prefix`. The name of an HTTP authentication scheme (`Bearer `, `Basic `) has no case.
fn strip_scheme<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    let same = if prefix.ends_with(' ') { head.eq_ignore_ascii_case(prefix) } else { head == prefix };
    same.then_some(rest)
}
