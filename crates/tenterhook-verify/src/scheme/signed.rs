//! What every signed scheme of the grammar does: find the signature, judge the timestamp, assemble the content, try
//! every live key. The arithmetic is in `hmac` and `asymmetric`.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::asymmetric::PublicAlgorithm;
use super::content::{Content, Part, Template};
use super::encoding::Encoding;
use super::hmac::{self, Mac};
use super::list::{CANDIDATES_MAX, Group, ListRule};
use super::time::{TimeAt, TimeRule};
use super::{Key, Keys, Match};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::{Request, single_header};
use crate::verifier::Facts;

/// A signed scheme. A provider may send its headers under several families of names: each is a layout, and the first
/// whose signature is there is used.
#[derive(Clone, Debug)]
pub(crate) struct SignedScheme {
    pub(crate) layouts: Vec<Layout>,
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: String,
    pub(crate) list: Option<ListRule>,
}

/// How the content becomes a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Mac(Mac),
    Public(PublicAlgorithm),
}

impl Algorithm {
    /// How long a signature is, where every one is as long.
    fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::Mac(mac) => Some(mac.tag_bytes()),
            Self::Public(PublicAlgorithm::Ed25519) => Some(64),
            // RSA: as long as the key; ECDSA: DER, or raw.
            Self::Public(_) => None,
        }
    }
}

/// Where one family of headers has what.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) signature: SignatureAt,
    pub(crate) time: Option<TimeRule>,
    pub(crate) content: Template,
    pub(crate) require: Vec<(HeaderName, String)>,
    pub(crate) key_id: Option<HeaderName>,
}

/// Where a signature or a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAt {
    /// In these headers; any of them may match.
    Headers(Vec<HeaderPattern>),
    /// Elsewhere in the request.
    Located(Locator),
}

/// A header, or all headers that begin with a prefix (`X-DocuSign-Signature-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderPattern {
    Exact(HeaderName),
    Prefix(String),
}

impl SignatureAt {
    /// The values in headers; empty where there are none. A header that is sent twice is refused, not chosen from.
    pub(crate) fn in_headers<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, VerifyError> {
        let mut values = Vec::new();
        let Self::Headers(patterns) = self else { return Ok(values) };
        for pattern in patterns {
            match pattern {
                HeaderPattern::Exact(name) => values.extend(signature_header(headers, name)?),
                HeaderPattern::Prefix(prefix) => {
                    for name in headers.keys().filter(|name| name.as_str().starts_with(prefix.as_str())) {
                        values.extend(signature_header(headers, name)?);
                    }
                }
            }
            if values.len() > CANDIDATES_MAX {
                return Err(refuse(
                    Reason::TooManyCandidates,
                    "more signature headers than any provider sends",
                ));
            }
        }
        Ok(values)
    }

    /// The values; refuses a request that has none.
    pub(crate) fn values<'r>(&self, request: &Request<'r>) -> Result<Vec<Cow<'r, str>>, VerifyError> {
        let values: Vec<Cow<'r, str>> = match self {
            Self::Headers(_) => self.in_headers(request.headers)?.into_iter().map(Cow::Borrowed).collect(),
            Self::Located(locator) => locator.find(request).map(Cow::Owned).into_iter().collect(),
        };
        if values.is_empty() { Err(self.missing()) } else { Ok(values) }
    }

    /// The refusal of a request without a signature.
    fn missing(&self) -> VerifyError {
        let place = match self {
            Self::Located(locator) => locator.to_string(),
            Self::Headers(patterns) => {
                let names: Vec<&str> = patterns.iter().map(HeaderPattern::as_str).collect();
                names.join("`, `")
            }
        };
        refuse(Reason::MissingSignature, format!("`{place}` is missing or empty"))
    }

    /// The header that `sign` writes.
    pub(crate) fn header_to_sign(&self) -> Option<HeaderName> {
        match self {
            Self::Located(Locator::Header(name)) => Some(name.clone()),
            Self::Located(_) => None,
            Self::Headers(patterns) => patterns.iter().find_map(|pattern| match pattern {
                HeaderPattern::Exact(name) => Some(name.clone()),
                HeaderPattern::Prefix(prefix) => HeaderName::try_from(format!("{prefix}1")).ok(),
            }),
        }
    }

    /// The names that are known beforehand.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        match self {
            Self::Located(Locator::Header(name)) => vec![name.clone()],
            Self::Located(_) => Vec::new(),
            Self::Headers(patterns) => patterns
                .iter()
                .filter_map(|pattern| match pattern {
                    HeaderPattern::Exact(name) => Some(name.clone()),
                    HeaderPattern::Prefix(_) => None,
                })
                .collect(),
        }
    }
}

impl HeaderPattern {
    fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

impl SignedScheme {
    /// What the headers alone show. A layout whose signature is not in a header has nothing to show.
    pub(crate) fn screen(
        &self,
        headers: &HeaderMap,
        tolerance: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), VerifyError> {
        let Some(layout) = self.layout(headers)? else { return Ok(()) };
        if let Some(TimeAt::Header(name)) = layout.time.as_ref().map(|rule| &rule.at) {
            layout.judge(header_time(headers, name)?, tolerance, now)?;
        }
        layout.require(headers)?;
        for name in layout.content.headers() {
            signed_header(headers, name)?;
        }
        layout.key_id(headers)?;
        self.agree(layout, headers)?;
        let mut candidates = 0;
        for value in layout.signature.in_headers(headers)? {
            let groups = self.groups(value)?;
            for (group, _) in self.live_groups(layout, &groups, tolerance, now)? {
                candidates += group.signatures.iter().filter(|text| self.decode(text).is_some()).count();
            }
        }
        match candidates {
            0 if matches!(layout.signature, SignatureAt::Headers(_)) => {
                Err(refuse(Reason::MalformedSignature, "no signature of the scheme's encoding and length"))
            }
            some if some > CANDIDATES_MAX => {
                Err(refuse(Reason::TooManyCandidates, "more signatures than any provider sends"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn verify(
        &self,
        request: &Request<'_>,
        keys: &Keys<'_>,
        tolerance: Option<Duration>,
        now: SystemTime,
        facts: &mut Facts,
    ) -> Result<Match, VerifyError> {
        let layout = match self.layout(request.headers)? {
            Some(layout) => layout,
            None => self.layouts.first().ok_or_else(|| refuse(Reason::MissingSignature, "no signature"))?,
        };
        let values = layout.signature.values(request)?;
        facts.note("signature", || {
            format!("{} found, {} bytes", values.len(), values.iter().map(|v| v.len()).sum::<usize>())
        });
        let outer = layout.outer_time(request)?;
        let mut signed_at = None;
        if let Some(text) = &outer {
            let judged = layout.judge(text, tolerance, now);
            facts.note("timestamp", || time_fact(text, &judged));
            signed_at = judged?;
        }
        layout.require(request.headers)?;
        self.agree(layout, request.headers)?;
        let mut attempts = Vec::new();
        for value in &values {
            let groups = self.groups(value)?;
            for (group, time) in self.live_groups(layout, &groups, tolerance, now)? {
                if let Some(text) = group.time {
                    facts.note("timestamp", || time_fact(text, &Ok(time)));
                }
                attempts.push(Attempt {
                    time: group.time.or(outer.as_deref()).map(str::to_owned),
                    signed_at: time.or(signed_at),
                    candidates: group.signatures.iter().filter_map(|text| self.decode(text)).collect(),
                });
            }
        }
        let candidates: usize = attempts.iter().map(|attempt| attempt.candidates.len()).sum();
        facts.note("candidates", || format!("{candidates} decoded as {:?}", self.encoding));
        if candidates > CANDIDATES_MAX {
            return Err(refuse(Reason::TooManyCandidates, "more signatures than any provider sends"));
        }
        self.try_keys(layout, request, &attempts, keys, now, facts)
    }

    /// Tries every live key on every attempt.
    fn try_keys(
        &self,
        layout: &Layout,
        request: &Request<'_>,
        attempts: &[Attempt],
        keys: &Keys<'_>,
        now: SystemTime,
        facts: &mut Facts,
    ) -> Result<Match, VerifyError> {
        let key_id = layout.key_id(request.headers)?;
        let live: Vec<(usize, &Key)> = keys.live_for(now, key_id).collect();
        facts.note("secrets", || format!("{} live of {}", live.len(), keys.len()));
        if live.is_empty() {
            return Err(refuse(Reason::NoLiveSecret, "no secret is live at this time"));
        }
        let mut decoded = false;
        for attempt in attempts {
            let content = layout.content.assemble(request, attempt.time.as_deref())?;
            facts.note("content", || {
                format!("{} bytes signed, sha256 {}", content.len(), hex(&content.sha256()))
            });
            if attempt.candidates.is_empty() {
                continue;
            }
            decoded = true;
            for (index, key) in &live {
                if key.matches(&content, &attempt.candidates) {
                    let content_sha256 = content.sha256();
                    return Ok(Match {
                        secret_index: Some(*index),
                        signed_at: attempt.signed_at,
                        content_sha256,
                        content_is_body: content.is(request.body),
                    });
                }
            }
        }
        if decoded {
            Err(refuse(
                Reason::SignatureMismatch,
                format!("none of {} live secrets made this signature", live.len()),
            ))
        } else {
            let detail =
                format!("no signature decodes as {:?} behind the prefix `{}`", self.encoding, self.prefix);
            Err(refuse(Reason::MalformedSignature, detail))
        }
    }

    /// The layout whose signature headers are there; `None` where the signature is not in a header.
    fn layout(&self, headers: &HeaderMap) -> Result<Option<&Layout>, VerifyError> {
        for layout in &self.layouts {
            if matches!(layout.signature, SignatureAt::Located(_)) {
                return Ok(None);
            }
            if !layout.signature.in_headers(headers)?.is_empty() {
                return Ok(Some(layout));
            }
        }
        match self.layouts.first() {
            Some(layout) => Err(layout.signature.missing()),
            None => Err(refuse(Reason::MissingSignature, "no signature")),
        }
    }

    /// Refuses a request whose other families of names contradict what is signed: whoever reads an id or a time under
    /// one of those would read what nobody signed.
    fn agree(&self, used: &Layout, headers: &HeaderMap) -> Result<(), VerifyError> {
        for other in &self.layouts {
            for (signed, twin) in used.signed_names().zip(other.signed_names()) {
                if signed == twin || !headers.contains_key(twin) {
                    continue;
                }
                if signed_header(headers, twin)? != signed_header(headers, signed)? {
                    let detail = format!("`{twin}` is not the same as `{signed}`, which is signed");
                    return Err(refuse(Reason::MissingHeader, detail));
                }
            }
        }
        Ok(())
    }

    fn groups<'v>(&self, value: &'v str) -> Result<Vec<Group<'v>>, VerifyError> {
        match &self.list {
            Some(list) => list.read(value),
            None => Ok(vec![Group { time: None, signatures: vec![value] }]),
        }
    }

    /// The groups whose own timestamp is in order, with it. Where none is, the last group's refusal.
    fn live_groups<'g, 'v>(
        &self,
        layout: &Layout,
        groups: &'g [Group<'v>],
        tolerance: Option<Duration>,
        now: SystemTime,
    ) -> Result<Vec<(&'g Group<'v>, Option<SystemTime>)>, VerifyError> {
        let in_list = matches!(&layout.time, Some(TimeRule { at: TimeAt::List, .. }));
        let mut live = Vec::with_capacity(groups.len());
        let mut refusal = None;
        for group in groups {
            if !in_list {
                live.push((group, None));
                continue;
            }
            let judged = match group.time {
                Some(text) => layout.judge(text, tolerance, now),
                None => Err(refuse(Reason::MissingTimestamp, "the signature list holds no timestamp")),
            };
            match judged {
                Ok(time) => live.push((group, time)),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) if live.is_empty() => Err(error),
            _ => Ok(live),
        }
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = self.encoding.decode(text.strip_prefix(self.prefix.as_str())?)?;
        let fits = match self.algorithm.signature_bytes() {
            Some(length) => bytes.len() == length,
            None => !bytes.is_empty(),
        };
        fits.then_some(bytes)
    }

    /// The headers that make `request` verify, in the first layout.
    pub(crate) fn sign(
        &self,
        request: &Request<'_>,
        id: Option<&str>,
        keys: &Keys<'_>,
        now: SystemTime,
    ) -> Result<HeaderMap, SignError> {
        let fault = |text: &str| SignError(text.to_owned());
        let layout = self.layouts.first().ok_or_else(|| fault("the scheme has no layout"))?;
        let signature_header = layout.signature.header_to_sign().ok_or_else(|| {
            fault("this scheme carries its signature inside the request, which signing cannot write")
        })?;
        let mut headers = request.headers.clone();
        let mut made = HeaderMap::new();
        let mut put = |name: &HeaderName, value: &str| -> Result<(), SignError> {
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| SignError(format!("`{name}` cannot hold a control character")))?;
            headers.insert(name.clone(), value.clone());
            made.insert(name.clone(), value);
            Ok(())
        };
        let time =
            layout.time.as_ref().map(|rule| rule.write(now).ok_or_else(|| fault("the time is before 1970")));
        let time = time.transpose()?;
        if let (Some(TimeRule { at: TimeAt::Header(name), .. }), Some(text)) = (&layout.time, &time) {
            put(name, text)?;
        }
        for (name, value) in &layout.require {
            put(name, value)?;
        }
        if let (Some(name), Some(id)) = (layout.id_header(), id) {
            put(name, id)?;
        }
        let signed = Request { headers: &headers, ..*request };
        let content = layout.content.assemble(&signed, time.as_deref()).map_err(|error| {
            let hint = if layout.id_header().is_some() { "; give an id, or the header itself" } else { "" };
            SignError(format!("{}{hint}", error.detail))
        })?;
        let key = keys
            .live(now)
            .next()
            .map(|(_, key)| key)
            .ok_or_else(|| fault("no secret is live at this time"))?;
        let bytes = key.sign(&content).ok_or_else(|| {
            fault("the scheme is asymmetric and only a public key is configured; give the private key (`whsk_…` or PEM)")
        })?;
        let text = format!("{}{}", self.prefix, self.encoding.encode(&bytes));
        let value = match &self.list {
            Some(list) => list.write(time.as_deref(), &text),
            None => text,
        };
        let value =
            HeaderValue::from_str(&value).map_err(|_| fault("the signature cannot stand in a header"))?;
        made.insert(signature_header, value);
        Ok(made)
    }

    /// Every header that the scheme reads.
    pub(crate) fn headers(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> = Vec::new();
        for layout in &self.layouts {
            names.extend(layout.signature.header_names());
            if let Some(TimeRule { at: TimeAt::Header(name), .. }) = &layout.time {
                names.push(name.clone());
            }
            names.extend(layout.content.headers().cloned());
            names.extend(layout.require.iter().map(|(name, _)| name.clone()));
            names.extend(layout.key_id.clone());
        }
        let mut unique: Vec<HeaderName> = Vec::with_capacity(names.len());
        for name in names {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        unique
    }

    pub(crate) fn signs_url(&self) -> bool {
        self.layouts.iter().any(|layout| layout.content.has(&Part::Url))
    }

    pub(crate) fn signs_time(&self) -> bool {
        self.layouts.iter().all(Layout::signs_time)
    }

    pub(crate) fn covers(&self, locator: &Locator) -> bool {
        self.layouts.iter().any(|layout| layout.covers(locator))
    }
}

/// One group's signatures with the timestamp that they cover.
struct Attempt {
    time: Option<String>,
    signed_at: Option<SystemTime>,
    candidates: Vec<Vec<u8>>,
}

impl Layout {
    fn judge(
        &self,
        text: &str,
        tolerance: Option<Duration>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, VerifyError> {
        self.time.as_ref().map(|rule| rule.judge(text, tolerance, now)).transpose()
    }

    /// The timestamp outside the signature list, as written.
    fn outer_time<'r>(&self, request: &Request<'r>) -> Result<Option<Cow<'r, str>>, VerifyError> {
        match self.time.as_ref().map(|rule| &rule.at) {
            None | Some(TimeAt::List) => Ok(None),
            Some(TimeAt::Header(name)) => {
                header_time(request.headers, name).map(|text| Some(Cow::Borrowed(text)))
            }
            Some(TimeAt::Json(locator)) => {
                let missing = || refuse(Reason::MissingTimestamp, format!("`{locator}` is not there"));
                locator.find(request).ok_or_else(missing).map(|text| Some(Cow::Owned(text)))
            }
        }
    }

    fn require(&self, headers: &HeaderMap) -> Result<(), VerifyError> {
        for (name, expected) in &self.require {
            if signed_header(headers, name)? != expected {
                return Err(refuse(Reason::MissingHeader, format!("`{name}` is not `{expected}`")));
            }
        }
        Ok(())
    }

    fn key_id<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, VerifyError> {
        self.key_id.as_ref().map(|name| signed_header(headers, name)).transpose()
    }

    /// The headers that the signature covers, in the same order for every family of names.
    fn signed_names(&self) -> impl Iterator<Item = &HeaderName> {
        let time = match self.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Header(name)) => Some(name),
            _ => None,
        };
        time.into_iter().chain(self.content.headers())
    }

    /// The header that carries the message id: the signed one that is not the timestamp.
    fn id_header(&self) -> Option<&HeaderName> {
        let time = match self.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Header(name)) => Some(name),
            _ => None,
        };
        self.content
            .headers()
            .find(|name| Some(*name) != time && !self.require.iter().any(|(required, _)| required == *name))
    }

    fn signs_time(&self) -> bool {
        match self.time.as_ref().map(|rule| &rule.at) {
            None => false,
            Some(TimeAt::List) => self.content.has(&Part::Time),
            Some(TimeAt::Header(name)) => {
                self.content.has(&Part::Time) || self.content.headers().any(|header| header == name)
            }
            Some(TimeAt::Json(locator)) => {
                self.content.has(&Part::Time)
                    || self.content.has(&Part::Body)
                    || self.content.has(&Part::Located(locator.clone()))
            }
        }
    }

    fn covers(&self, locator: &Locator) -> bool {
        let in_time = matches!((&self.time, locator),
            (Some(TimeRule { at: TimeAt::Header(name), .. }), Locator::Header(header)) if name == header);
        let whole = match locator {
            Locator::Header(_) => in_time && self.content.has(&Part::Time),
            Locator::Json(_) | Locator::Form(_) => self.content.has(&Part::Body),
            Locator::Query(_) => self.content.has(&Part::Url),
        };
        whole || self.content.has(&Part::Located(locator.clone()))
    }
}

impl Algorithm {
    /// Whether keys are public keys.
    pub(crate) fn is_asymmetric(self) -> bool {
        matches!(self, Self::Public(_))
    }
}

impl Key {
    fn matches(&self, content: &Content<'_>, candidates: &[Vec<u8>]) -> bool {
        match self {
            Self::Mac(key) => hmac::any_matches(key, content, candidates),
            Self::Public(key) => {
                let message = content.joined();
                candidates.iter().any(|candidate| key.verifies(&message, candidate))
            }
            Self::Token(_) => false,
        }
    }

    fn sign(&self, content: &Content<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Mac(key) => Some(hmac::tag(key, content).as_ref().to_vec()),
            Self::Public(key) => key.sign(&content.joined()),
            Self::Token(_) => None,
        }
    }
}

/// A signature header's value; `None` where it is absent or empty.
pub(crate) fn signature_header<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, VerifyError> {
    match single_header(headers, name) {
        Ok(value) => Ok(value.filter(|value| !value.is_empty())),
        Err(problem) => Err(refuse(Reason::MalformedSignature, format!("`{name}` {problem}"))),
    }
}

fn header_time<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, VerifyError> {
    match single_header(headers, name) {
        Ok(Some(text)) if !text.is_empty() => Ok(text),
        Ok(_) => Err(refuse(Reason::MissingTimestamp, format!("`{name}` is missing or empty"))),
        Err(problem) => Err(refuse(Reason::MalformedTimestamp, format!("`{name}` {problem}"))),
    }
}

fn signed_header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, VerifyError> {
    match single_header(headers, name) {
        Ok(Some(value)) if !value.is_empty() => Ok(value),
        Ok(_) => Err(refuse(Reason::MissingHeader, format!("`{name}` is missing or empty"))),
        Err(problem) => Err(refuse(Reason::MissingHeader, format!("`{name}` {problem}"))),
    }
}

fn time_fact(text: &str, judged: &Result<Option<SystemTime>, VerifyError>) -> String {
    match judged {
        Ok(_) => format!("{text}, inside the tolerance"),
        Err(error) => format!("{text}: {}", error.detail),
    }
}

fn hex(bytes: &[u8]) -> String {
    Encoding::Hex.encode(bytes)
}
