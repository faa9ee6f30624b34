//! What every signed scheme of the grammar does: find the signature, judge the timestamp, assemble the content, try
//! every live key. The arithmetic is in `hmac` and `asymmetric`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::asymmetric::PublicAlgorithm;
use super::content::{Content, Part};
use super::encoding::Encoding;
use super::hmac::{self, Mac};
use super::layout::{Layout, header_time, signed_header};
use super::list::{CANDIDATES_MAX, Group, ListRule};
use super::place::SignatureAt;
use super::time::{TimeAt, TimeRule};
use super::{Key, Keys, Match};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::secret::Secret;
use crate::verifier::Facts;

/// A signed scheme. A provider may send its headers under several families of names: each is a layout, and the first
/// whose signature is there is used.
#[derive(Clone, Debug)]
pub(crate) struct SignedScheme {
    pub(crate) layouts: Vec<Layout>,
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: String,
    /// Further MACs that a sender may choose, by the prefix that names them (WebSub); never used to sign.
    pub(crate) macs: Vec<(String, Mac)>,
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
        let values = layout.signatures(request)?;
        facts.note("signature", || {
            let bytes: usize = values.iter().map(|value| value.text.len()).sum();
            format!("{} found, {bytes} bytes", values.len())
        });
        let outer = layout.outer_time(request)?;
        let mut signed_at = None;
        if let Some(text) = &outer {
            let judged = layout.judge(text, tolerance, now);
            facts.note("timestamp", || time_fact(text, &judged));
            signed_at = judged?;
        }
        layout.require(request.headers)?;
        layout.require_body(request)?;
        self.agree(layout, request.headers)?;
        let mut attempts = Vec::new();
        for value in &values {
            let groups = self.groups(&value.text)?;
            for (group, time) in self.live_groups(layout, &groups, tolerance, now)? {
                if let Some(text) = group.time {
                    facts.note("timestamp", || time_fact(text, &Ok(time)));
                }
                attempts.push(Attempt {
                    time: group.time.or(outer.as_deref()).map(str::to_owned),
                    signed_at: time.or(signed_at),
                    slot: value.slot,
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
        attempts: &[Attempt<'_>],
        keys: &Keys<'_>,
        now: SystemTime,
        facts: &mut Facts,
    ) -> Result<Match, VerifyError> {
        let key_id = layout.key_id(request.headers)?;
        let live_for = attempts.iter().map(|attempt| keys.live_for(now, attempt.slot.or(key_id)).count());
        let live_count = live_for.max().unwrap_or_default();
        facts.note("secrets", || format!("{live_count} live of {}", keys.len()));
        if live_count == 0 {
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
            for (index, key) in keys.live_for(now, attempt.slot.or(key_id)) {
                if key.matches(&content, &attempt.candidates) {
                    let content_sha256 = content.sha256();
                    return Ok(Match {
                        secret_index: Some(index),
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
                format!("none of {live_count} live secrets made this signature"),
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

    /// The signature in a text, with the MAC that its prefix names.
    fn decode(&self, text: &str) -> Option<Candidate> {
        let named = |prefix: &str, algorithm: Algorithm| {
            let bytes = self.encoding.decode(text.strip_prefix(prefix)?)?;
            let fits = match algorithm.signature_bytes() {
                Some(length) => bytes.len() == length,
                None => !bytes.is_empty(),
            };
            fits.then_some(Candidate { algorithm, bytes })
        };
        named(&self.prefix, self.algorithm)
            .or_else(|| self.macs.iter().find_map(|(prefix, mac)| named(prefix, Algorithm::Mac(*mac))))
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
        let (index, key) = keys.live(now).next().ok_or_else(|| fault("no secret is live at this time"))?;
        let secret_id = keys.secrets.get(index).and_then(Secret::id);
        let signature_header = layout.header_to_sign(secret_id).ok_or_else(|| {
            fault("this scheme carries its signature inside the request, which signing cannot write")
        })?;
        layout.require_body(request).map_err(|error| SignError(error.detail))?;
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
        if let (Some(name), Some(id)) = (&layout.key_id, secret_id) {
            put(name, id)?;
        }
        let signed = Request { headers: &headers, ..*request };
        let content = layout.content.assemble(&signed, time.as_deref()).map_err(|error| {
            let hint = if layout.id_header().is_some() { "; give an id, or the header itself" } else { "" };
            SignError(format!("{}{hint}", error.detail))
        })?;
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
struct Attempt<'r> {
    time: Option<String>,
    signed_at: Option<SystemTime>,
    /// The id of the secret that its header is for.
    slot: Option<&'r str>,
    candidates: Vec<Candidate>,
}

/// One signature that arrived.
pub(crate) struct Candidate {
    pub(crate) algorithm: Algorithm,
    pub(crate) bytes: Vec<u8>,
}

impl Algorithm {
    /// Whether keys are public keys.
    pub(crate) fn is_asymmetric(self) -> bool {
        matches!(self, Self::Public(_))
    }
}

impl Key {
    fn matches(&self, content: &Content<'_>, candidates: &[Candidate]) -> bool {
        match self {
            Self::Mac(key) => hmac::any_of(key, content, candidates.iter().map(Candidate::as_slice)),
            Self::Macs(keys) => keys.iter().any(|(mac, key)| {
                let of_mac =
                    candidates.iter().filter(|candidate| candidate.algorithm == Algorithm::Mac(*mac));
                let mut of_mac = of_mac.map(Candidate::as_slice).peekable();
                of_mac.peek().is_some() && hmac::any_of(key, content, of_mac)
            }),
            Self::Public(key) => {
                let message = content.joined();
                candidates.iter().any(|candidate| key.verifies(&message, &candidate.bytes))
            }
            Self::Token(_) | Self::Remote(_) => false,
        }
    }

    fn sign(&self, content: &Content<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Mac(key) => Some(hmac::tag(key, content).as_ref().to_vec()),
            Self::Macs(keys) => keys.first().map(|(_, key)| hmac::tag(key, content).as_ref().to_vec()),
            Self::Public(key) => key.sign(&content.joined()),
            Self::Token(_) | Self::Remote(_) => None,
        }
    }
}

impl Candidate {
    fn as_slice(&self) -> &[u8] {
        &self.bytes
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
