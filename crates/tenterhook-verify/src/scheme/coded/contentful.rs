//! Contentful: HMAC-SHA256 over a canonical request: method, path with query, the headers that a header names, and the body.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::{Call, Coded, KeyKind, decoded, required_header, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::Match;
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::{COMPONENT, Encoding};
use crate::scheme::hmac::Mac;
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::verifier::{Facts, Sealed};

/// Contentful's scheme.
#[derive(Debug)]
pub(crate) struct ContentfulScheme;

static HEADER: HeaderName = HeaderName::from_static("x-contentful-signature");
static NAMES: HeaderName = HeaderName::from_static("x-contentful-signed-headers");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-contentful-timestamp");
/// A request as old as 30 s is refused already.
const TIME: TimeRule = TimeRule {
    at: TimeAt::List,
    unit: Unit::Millis,
    tolerance: Some(Duration::from_millis(29_999)),
    future: true,
};
/// More signed headers than Contentful names.
const NAMES_MAX: usize = 64;
/// What JavaScript's `encodeURI` leaves alone.
const URI: &AsciiSet = &COMPONENT
    .remove(b';')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b',')
    .remove(b'#');

impl Coded for ContentfulScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha256)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![HEADER.clone(), NAMES.clone(), TIMESTAMP.clone()]
    }

    fn signs_url(&self) -> bool {
        true
    }

    fn signs_time(&self) -> bool {
        true
    }

    /// Which headers are covered beside these is for the sender to say, so that none can be counted on.
    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            Locator::Header(name) => *name == TIMESTAMP,
            Locator::Json(_) | Locator::Form(_) | Locator::Query(_) => true,
        }
    }

    fn screen(&self, headers: &HeaderMap, call: &Call<'_>) -> Result<(), VerifyError> {
        signature(headers)?;
        TIME.judge(time(headers)?, call.tolerance, call.now)?;
        signed_headers(headers).map(drop)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = [signature(request.headers)?];
        let time = time(request.headers)?;
        let signed_at = TIME.judge(time, call.tolerance, call.now)?;
        facts.note("timestamp", || time.to_owned());
        let headers = signed_headers(request.headers)?;
        let target = target(content::url(request)?);
        // Its own toolkit encodes the query once more before it signs.
        let contents = [&encoded(target), target].map(|target| content(request, target, &headers));
        let found = call.mac(&contents[0], &signature, facts);
        let index = found.or_else(|_| call.mac(&contents[1], &signature, facts))?;
        Ok(Match { signed_at: Some(signed_at), ..Match::of(index, &contents[1], request.body) })
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let fault = |error: VerifyError| SignError(error.detail);
        let time = TIME.write(call.now).ok_or_else(|| SignError("the time is before 1970".to_owned()))?;
        let made = Sealed::header(&NAMES, &format!("{NAMES},{TIMESTAMP}"))?.and_header(&TIMESTAMP, &time)?;
        let headers = signed_headers(&made.headers).map_err(fault)?;
        let target = encoded(target(content::url(request).map_err(fault)?));
        let tag = call.tag(&content(request, &target, &headers))?;
        made.and_header(&HEADER, &Encoding::Hex.encode(&tag))
    }
}

fn signature(headers: &HeaderMap) -> Result<Vec<u8>, VerifyError> {
    decoded(Encoding::Hex, required_signature(headers, &HEADER)?, Mac::Sha256.tag_bytes())
}

fn time(headers: &HeaderMap) -> Result<&str, VerifyError> {
    let missing = |error: VerifyError| VerifyError { reason: Reason::MissingTimestamp, ..error };
    required_header(headers, &TIMESTAMP).map_err(missing)
}

/// The named headers with their values, by name. The list itself and the timestamp have to be among them.
fn signed_headers(headers: &HeaderMap) -> Result<String, VerifyError> {
    let malformed = |what: &str| refuse(Reason::MissingHeader, format!("`{NAMES}`: {what}"));
    let mut signed = Vec::new();
    for name in required_header(headers, &NAMES)?.split(',') {
        if signed.len() == NAMES_MAX {
            return Err(malformed("more headers than Contentful signs"));
        }
        let name = HeaderName::from_bytes(name.trim_matches(' ').as_bytes());
        signed.push(name.map_err(|_| malformed("what is named as a header is none"))?);
    }
    signed.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    if signed.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(malformed("a header is named twice"));
    }
    if ![&NAMES, &TIMESTAMP].into_iter().all(|name| signed.contains(name)) {
        return Err(malformed("the list and the timestamp are not signed"));
    }
    let mut lines = Vec::with_capacity(signed.len());
    for name in &signed {
        lines.push(format!("{name}:{}", required_header(headers, name)?.trim_matches([' ', '\t'])));
    }
    Ok(lines.join(";"))
}

/// Path and query of a URL.
fn target(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or(url);
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// The target as JavaScript's `encodeURI` writes it, with the query as one component.
fn encoded(target: &str) -> String {
    let text = match target.split_once('?') {
        Some((path, query)) => format!("{path}?{}", utf8_percent_encode(query, COMPONENT)),
        None => target.to_owned(),
    };
    utf8_percent_encode(&text, URI).to_string()
}

fn content<'r>(request: &Request<'r>, target: &str, headers: &str) -> Content<'r> {
    let head = format!("{}\n{target}\n{headers}\n", request.method);
    Content::of([head.into_bytes().into(), request.body.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_encoded_as_the_toolkit_encodes_it() {
        assert_eq!(target("https://a.example/x?b=1#c"), "/x?b=1");
        assert_eq!(target("https://a.example"), "/");
        assert_eq!(encoded("/x é?b=2&a=1 x"), "/x%20%C3%A9?b%253D2%2526a%253D1%2520x");
        assert_eq!(encoded("/x"), "/x");
    }
}
