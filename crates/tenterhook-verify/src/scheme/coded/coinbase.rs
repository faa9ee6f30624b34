//! Coinbase Developer Platform, and others that send through Hook0: the signature header names the headers that it covers.
//! Where it names any (`v1`), only that counts; without (`v0`) time and body alone are signed.

use http::{HeaderMap, HeaderName};

use super::{Call, Coded, KeyKind, decoded, required_header, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::Match;
use crate::scheme::content::Content;
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::list::CANDIDATES_MAX;
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::verifier::{Facts, Sealed};

/// Hook0's scheme, under the name of its best known sender.
#[derive(Debug)]
pub(crate) struct CoinbaseScheme;

static HEADER: HeaderName = HeaderName::from_static("x-hook0-signature");
/// The header that is signed when nobody says which: the id of the event.
static ID: HeaderName = HeaderName::from_static("x-event-id");
const TIME: TimeRule = TimeRule {
    at: TimeAt::List,
    unit: Unit::Seconds,
    tolerance: Some(std::time::Duration::from_secs(300)),
    future: true,
};

/// The signature header, taken apart.
struct Parts<'h> {
    time: &'h str,
    /// The names of the covered headers as they are written, which is signed itself.
    headers: Option<&'h str>,
    candidates: Vec<Vec<u8>>,
}

impl Coded for CoinbaseScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha256)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![HEADER.clone()]
    }

    fn signs_time(&self) -> bool {
        true
    }

    /// Which headers are covered is for the sender to say, so that none can be counted on.
    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Json(_) | Locator::Form(_))
    }

    fn screen(&self, headers: &HeaderMap, call: &Call<'_>) -> Result<(), VerifyError> {
        let parts = parts(headers)?;
        TIME.judge(parts.time, call.tolerance, call.now)?;
        parts.values(headers).map(drop)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let parts = parts(request.headers)?;
        let signed_at = TIME.judge(parts.time, call.tolerance, call.now)?;
        facts.note("timestamp", || parts.time.to_owned());
        facts.note("headers", || parts.headers.unwrap_or("none is signed").to_owned());
        let content = content(parts.time, parts.headers, &parts.values(request.headers)?, request.body);
        let index = call.mac(&content, &parts.candidates, facts)?;
        Ok(Match { signed_at: Some(signed_at), ..Match::of(index, &content, request.body) })
    }

    fn sign(&self, request: &Request<'_>, id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let time = TIME.write(call.now).ok_or_else(|| SignError("the time is before 1970".to_owned()))?;
        let mut sealed = Sealed::default();
        if let Some(id) = id {
            sealed = sealed.and_header(&ID, id)?;
        }
        let values = match sealed.headers.get(&ID).or_else(|| request.headers.get(&ID)) {
            Some(value) => vec![value.to_str().map_err(|_| SignError("the id is not ASCII".to_owned()))?],
            None => Vec::new(),
        };
        let names = (!values.is_empty()).then_some(ID.as_str());
        let tag = Encoding::Hex.encode(&call.tag(&content(&time, names, &values, request.body))?);
        let value = match names {
            Some(names) => format!("t={time},h={names},v1={tag}"),
            None => format!("t={time},v0={tag}"),
        };
        sealed.and_header(&HEADER, &value)
    }
}

fn parts(headers: &HeaderMap) -> Result<Parts<'_>, VerifyError> {
    let malformed = |what: &str| refuse(Reason::MalformedSignature, format!("`{HEADER}`: {what}"));
    let (mut time, mut named, mut bodies, mut whole) = (None, None, Vec::new(), Vec::new());
    for (count, item) in required_signature(headers, &HEADER)?.split(',').enumerate() {
        if count > CANDIDATES_MAX {
            return Err(refuse(Reason::TooManyCandidates, "more signatures than any provider sends"));
        }
        let (key, value) = item.split_once('=').ok_or_else(|| malformed("an item without `=`"))?;
        let place = match key {
            "t" => &mut time,
            "h" => &mut named,
            "v0" | "v1" => {
                let code = decoded(Encoding::Hex, value, Mac::Sha256.tag_bytes())?;
                if key == "v1" {
                    whole.push(code);
                } else {
                    bodies.push(code);
                }
                continue;
            }
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(malformed("an item is there twice"));
        }
    }
    let time = time.ok_or_else(|| refuse(Reason::MissingTimestamp, "the signature holds no timestamp"))?;
    match (whole.is_empty(), bodies.is_empty(), named) {
        (false, _, Some(names)) => Ok(Parts { time, headers: Some(names), candidates: whole }),
        (false, _, None) => Err(malformed("`v1` without `h`")),
        (true, false, _) => Ok(Parts { time, headers: None, candidates: bodies }),
        (true, true, _) => Err(refuse(Reason::NoSupportedScheme, "neither `v0` nor `v1`")),
    }
}

impl Parts<'_> {
    /// The values of the covered headers, in their order.
    fn values<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, VerifyError> {
        let mut values = Vec::new();
        for name in self.headers.unwrap_or_default().split(' ').filter(|name| !name.is_empty()) {
            if values.len() == CANDIDATES_MAX {
                return Err(refuse(
                    Reason::MalformedSignature,
                    "more signed headers than any provider names",
                ));
            }
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| refuse(Reason::MalformedSignature, "what is named as a header is none"))?;
            let value = required_header(headers, &name)?;
            // Values and body are joined with dots. A JSON body begins with one of these, so that none of it can be moved
            // into a header.
            if value.contains(['{', '[']) {
                return Err(refuse(Reason::MalformedContent, format!("`{name}` holds a bracket")));
            }
            values.push(value);
        }
        Ok(values)
    }
}

fn content<'r>(time: &str, names: Option<&str>, values: &[&str], body: &'r [u8]) -> Content<'r> {
    let head = match names {
        Some(names) => format!("{time}.{names}.{}.", values.join(".")),
        None => format!("{time}."),
    };
    Content::of([head.into_bytes().into(), body.into()])
}
