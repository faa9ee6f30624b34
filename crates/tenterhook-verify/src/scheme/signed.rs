//! What every signed scheme of the grammar does: find the signature, judge the timestamp, assemble the content, try
//! every live key. The arithmetic is in `hmac` and `asymmetric`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::asymmetric::PublicAlgorithm;
use super::content::{Content, Part};
use super::encoding::Encoding;
use super::hmac::{self, Mac};
use super::layout::{Layout, Signature, header_time, signed_header};
use super::list::{CANDIDATES_MAX, Candidate, Candidates, ListRule};
use super::place::SignatureAt;
use super::time::{TimeAt, TimeRule};
use super::trial::{SIGNATURE_BYTES_MAX, Trial};
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
        let mut buffer = [0; SIGNATURE_BYTES_MAX];
        for value in layout.signature.in_headers(headers)? {
            let found = self.candidates(value)?;
            self.each_live(layout, &found, tolerance, now, |group, _| {
                candidates += group.iter().filter(|one| self.decode(one.text, &mut buffer).is_some()).count();
                Ok(())
            })?;
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

    pub(crate) fn verify<'r>(
        &self,
        request: &Request<'r>,
        keys: &Keys<'_>,
        tolerance: Option<Duration>,
        now: SystemTime,
        facts: &mut Facts,
    ) -> Result<Match<'r>, VerifyError> {
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
        let key_id = layout.key_id(request.headers)?;
        if values.len() > 1 {
            self.all_in_form(layout, &values, tolerance, now)?;
        }
        let mut trial = Trial::of(layout, request, keys, now);
        for value in &values {
            let found = self.candidates(&value.text)?;
            facts.note("candidates", || {
                format!("{} to be read as {:?}", found.as_slice().len(), self.encoding)
            });
            let mut matched = None;
            self.each_live(layout, &found, tolerance, now, |group, time| {
                let own = group.first().and_then(|one| one.time);
                if let Some(text) = own {
                    facts.note("timestamp", || time_fact(text, &Ok(time)));
                }
                if matched.is_none() {
                    let hit =
                        trial.group(self, group, own.or(outer.as_deref()), value.slot.or(key_id), facts)?;
                    matched = hit.map(|hit| (hit, time));
                }
                Ok(())
            })?;
            if let Some(((index, content), time)) = matched {
                let found = Match::lazily(index, content, request.body);
                return Ok(Match { signed_at: time.or(signed_at), ..found });
            }
        }
        Err(self.refusal(&trial))
    }

    /// Refuses what the head of the request shows of several headers, before the first of them is tried.
    fn all_in_form(
        &self,
        layout: &Layout,
        values: &[Signature<'_>],
        tolerance: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), VerifyError> {
        let mut count = 0;
        for value in values {
            let found = self.candidates(&value.text)?;
            count += found.as_slice().len();
            self.each_live(layout, &found, tolerance, now, |_, _| Ok(()))?;
        }
        if count > CANDIDATES_MAX {
            return Err(refuse(Reason::TooManyCandidates, "more signatures than any provider sends"));
        }
        Ok(())
    }

    /// Why nothing matched.
    fn refusal(&self, trial: &Trial<'_, '_>) -> VerifyError {
        if trial.live_count == 0 {
            return refuse(Reason::NoLiveSecret, "no secret is live at this time");
        }
        if trial.decoded {
            let detail = format!("none of {} live secrets made this signature", trial.live_count);
            return refuse(Reason::SignatureMismatch, detail);
        }
        let detail =
            format!("no signature decodes as {:?} behind the prefix `{}`", self.encoding, self.prefix);
        refuse(Reason::MalformedSignature, detail)
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

    fn candidates<'v>(&self, value: &'v str) -> Result<Candidates<'v>, VerifyError> {
        match &self.list {
            Some(list) => list.read(value),
            None => Ok(Candidates::one(value)),
        }
    }

    /// Shows `visit` the groups whose own timestamp is in order, with it. Where none is, the last group's refusal.
    fn each_live<'g, 'v>(
        &self,
        layout: &Layout,
        found: &'g Candidates<'v>,
        tolerance: Option<Duration>,
        now: SystemTime,
        mut visit: impl FnMut(&'g [Candidate<'v>], Option<SystemTime>) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let in_list = matches!(&layout.time, Some(TimeRule { at: TimeAt::List, .. }));
        let mut live = false;
        let mut refusal = None;
        for group in found.groups() {
            let judged = match group.first().and_then(|one| one.time) {
                _ if !in_list => Ok(None),
                Some(text) => layout.judge(text, tolerance, now),
                None => Err(refuse(Reason::MissingTimestamp, "the signature list holds no timestamp")),
            };
            match judged {
                Ok(time) => {
                    live = true;
                    visit(group, time)?;
                }
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) if !live => Err(error),
            _ => Ok(()),
        }
    }

    /// The signature in a text, and by which algorithm, as its prefix says.
    pub(super) fn decode<'b>(&self, text: &str, buffer: &'b mut [u8]) -> Option<(Algorithm, &'b [u8])> {
        let macs = self.macs.iter().map(|(prefix, mac)| (prefix.as_str(), Algorithm::Mac(*mac)));
        let mut named = std::iter::once((self.prefix.as_str(), self.algorithm)).chain(macs);
        let (algorithm, len) = named.find_map(|(prefix, algorithm)| {
            let bytes = self.encoding.decode_into(text.strip_prefix(prefix)?, buffer)?;
            let fits = algorithm.signature_bytes().map_or(!bytes.is_empty(), |len| bytes.len() == len);
            fits.then_some((algorithm, bytes.len()))
        })?;
        Some((algorithm, buffer.get(..len)?))
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

impl Algorithm {
    /// Whether keys are public keys.
    pub(crate) fn is_asymmetric(self) -> bool {
        matches!(self, Self::Public(_))
    }
}

impl Key {
    fn sign(&self, content: &Content<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Mac(key) => Some(hmac::tag(key, content).as_ref().to_vec()),
            Self::Macs(keys) => keys.first().map(|(_, key)| hmac::tag(key, content).as_ref().to_vec()),
            Self::Public(key) => key.sign(&content.joined()),
            Self::Token(_) | Self::Remote(_) => None,
        }
    }
}

fn time_fact(text: &str, judged: &Result<Option<SystemTime>, VerifyError>) -> String {
    match judged {
        Ok(_) => format!("{text}, inside the tolerance"),
        Err(error) => format!("{text}: {}", error.detail),
    }
}
