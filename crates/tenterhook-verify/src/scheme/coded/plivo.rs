//! Plivo: HMAC-SHA256 over the URL with its query sorted, the sorted fields of a form, and a nonce (v3). The former
//! versions sign less: v2 neither query nor body, v1 with SHA-1 and without a nonce.

use http::{HeaderMap, HeaderName};

use super::form;
use super::{Call, Coded, KeyKind, required_header, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::Match;
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::list::CANDIDATES_MAX;
use crate::verifier::{Facts, Sealed};

/// Plivo's scheme, in one of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlivoScheme {
    V1,
    V2,
    V3,
}

static HEADER_V1: HeaderName = HeaderName::from_static("x-plivo-signature");
static HEADER_V2: HeaderName = HeaderName::from_static("x-plivo-signature-v2");
static NONCE_V2: HeaderName = HeaderName::from_static("x-plivo-signature-v2-nonce");
static HEADER_V3: HeaderName = HeaderName::from_static("x-plivo-signature-v3");
static NONCE_V3: HeaderName = HeaderName::from_static("x-plivo-signature-v3-nonce");
/// A nonce for those who give none when they sign.
const NONCE_BYTES_MAX: usize = 128;

impl Coded for PlivoScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(self.mac())
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        match self {
            Self::V1 => vec![HEADER_V1.clone()],
            Self::V2 => vec![HEADER_V2.clone(), NONCE_V2.clone()],
            Self::V3 => vec![HEADER_V3.clone(), NONCE_V3.clone()],
        }
    }

    fn signs_url(&self) -> bool {
        true
    }

    /// The nonce is another for every transmission.
    fn signs_time(&self) -> bool {
        *self == Self::V3
    }

    /// Of a form the signature covers what its fields say one after the other, but not where a name ends and its value
    /// begins.
    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            // Sorted and decoded it would read the same with `            Locator::Query(_) => *self != Self::V2,` or `=` in a value.
            Locator::Query(_) => *self == Self::V1,
            Locator::Header(name) => *self == Self::V3 && *name == NONCE_V3,
            Locator::Json(_) | Locator::Form(_) => false,
        }
    }

    fn screen(&self, headers: &HeaderMap, _call: &Call<'_>) -> Result<(), VerifyError> {
        self.candidates(headers)?;
        self.nonce(headers).map(drop)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let candidates = self.candidates(request.headers)?;
        let content = self.content(request, self.nonce(request.headers)?)?;
        facts.note("content", || format!("{} bytes signed", content.len()));
        let index = call.mac(&content, &candidates, facts)?;
        Ok(Match::of(index, &content, request.body))
    }

    fn sign(&self, request: &Request<'_>, id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let since = call.now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut nonce = since.as_micros().to_string();
        nonce.extend(id.unwrap_or_default().bytes().filter(u8::is_ascii_alphanumeric).map(char::from));
        nonce.truncate(NONCE_BYTES_MAX);
        let content = self.content(request, &nonce).map_err(|error| SignError(error.detail))?;
        let signature = Encoding::Base64.encode(&call.tag(&content)?);
        match self {
            Self::V1 => Sealed::header(&HEADER_V1, &signature),
            Self::V2 => Sealed::header(&HEADER_V2, &signature)?.and_header(&NONCE_V2, &nonce),
            Self::V3 => Sealed::header(&HEADER_V3, &signature)?.and_header(&NONCE_V3, &nonce),
        }
    }
}

impl PlivoScheme {
    fn mac(self) -> Mac {
        if self == Self::V1 { Mac::Sha1 } else { Mac::Sha256 }
    }

    /// The signatures between commas: while the token is changed there are two.
    fn candidates(self, headers: &HeaderMap) -> Result<Vec<Vec<u8>>, VerifyError> {
        let name = match self {
            Self::V1 => &HEADER_V1,
            Self::V2 => &HEADER_V2,
            Self::V3 => &HEADER_V3,
        };
        let entries: Vec<&str> =
            required_signature(headers, name)?.split(',').take(CANDIDATES_MAX + 1).collect();
        if entries.len() > CANDIDATES_MAX {
            return Err(refuse(Reason::TooManyCandidates, "more signatures than any provider sends"));
        }
        let read = |entry: &&str| Encoding::Base64.decode(entry.trim_matches(' '));
        let mut candidates: Vec<Vec<u8>> = entries.iter().filter_map(read).collect();
        candidates.retain(|candidate| candidate.len() == self.mac().tag_bytes());
        if candidates.is_empty() {
            return Err(refuse(Reason::MalformedSignature, format!("`{name}` holds no signature in base64")));
        }
        Ok(candidates)
    }

    /// The nonce; empty in the version that has none. Only letters and digits, so that nothing moves from it to what
    /// stands before it.
    fn nonce(self, headers: &HeaderMap) -> Result<&str, VerifyError> {
        let name = match self {
            Self::V1 => return Ok(""),
            Self::V2 => &NONCE_V2,
            Self::V3 => &NONCE_V3,
        };
        let nonce = required_header(headers, name)?;
        let sound = nonce.len() <= NONCE_BYTES_MAX && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let unsound = || refuse(Reason::MissingHeader, format!("`{name}` is not letters and digits"));
        sound.then_some(nonce).ok_or_else(unsound)
    }

    fn content<'r>(self, request: &Request<'r>, nonce: &str) -> Result<Content<'r>, VerifyError> {
        let url = content::url(request)?;
        let text = match self {
            Self::V2 => format!("{}{nonce}", form::without_query(url)),
            Self::V1 => format!("{url}{}", sorted(body_fields(request)?, "", "")),
            Self::V3 => {
                let query = sorted(form::fields(form::query(url).as_bytes())?, "=", "&");
                let fields = body_fields(request)?;
                let mut text = form::without_query(url).to_owned();
                if !query.is_empty() || !fields.is_empty() {
                    text.push('?');
                    text.push_str(&query);
                }
                if !query.is_empty() && !fields.is_empty() {
                    text.push('.');
                }
                text.push_str(&sorted(fields, "", ""));
                format!("{text}.{nonce}")
            }
        };
        Ok(Content::whole(text.into_bytes()))
    }
}

/// The fields of a form. Another body would be covered by nothing.
fn body_fields<'r>(request: &Request<'r>) -> Result<Vec<form::Field<'r>>, VerifyError> {
    if form::is_form(request.headers) || request.body.is_empty() {
        return form::fields(request.body);
    }
    Err(refuse(Reason::BodyHashMismatch, "the body is not a form, so nothing covers it"))
}

/// By name and then by value, decoded.
fn sorted(mut fields: Vec<form::Field<'_>>, within: &str, between: &str) -> String {
    fields.sort();
    let written = fields.iter().map(|(name, value)| format!("{name}{within}{value}"));
    written.collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, header};

    use super::*;

    fn signed(scheme: PlivoScheme, url: &str, body: &str) -> Result<String, Reason> {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
        let request =
            Request { method: &Method::POST, url: Some(url), headers: &headers, body: body.as_bytes() };
        let content = scheme.content(&request, "n1").map_err(|error| error.reason)?;
        Ok(String::from_utf8(content.joined().into_owned()).unwrap())
    }

    #[test]
    fn each_version_signs_what_it_says() {
        let (url, body) = ("https://a.example/x?b=2&a=%41", "To=1&From=2&To=0");
        assert_eq!(signed(PlivoScheme::V3, url, body).unwrap(), "https://a.example/x?a=A&b=2.From2To0To1.n1");
        assert_eq!(
            signed(PlivoScheme::V3, "https://a.example/x", body).unwrap(),
            "https://a.example/x?From2To0To1.n1"
        );
        assert_eq!(signed(PlivoScheme::V3, "https://a.example/x", "").unwrap(), "https://a.example/x.n1");
        assert_eq!(signed(PlivoScheme::V2, url, body).unwrap(), "https://a.example/xn1");
        assert_eq!(signed(PlivoScheme::V1, url, body).unwrap(), "https://a.example/x?b=2&a=%41From2To0To1");
    }
}
