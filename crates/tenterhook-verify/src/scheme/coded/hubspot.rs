//! HubSpot: HMAC-SHA256 over method, URL, body and time (v3), or, formerly, a plain SHA-256 over the secret and what it is
//! to protect (v1, v2), which whoever knows one signature can lengthen, and which never grows old.

use std::borrow::Cow;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName};

use super::{Call, Coded, KeyKind, decoded, required_header, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::{Request, single_header};
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::scheme::{Key, Match};
use crate::verifier::{Facts, Sealed};

/// HubSpot's scheme, in one of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HubspotScheme {
    V1,
    V2,
    V3,
}

static HEADER: HeaderName = HeaderName::from_static("x-hubspot-signature");
static VERSION: HeaderName = HeaderName::from_static("x-hubspot-signature-version");
static HEADER_V3: HeaderName = HeaderName::from_static("x-hubspot-signature-v3");
static TIMESTAMP: HeaderName = HeaderName::from_static("x-hubspot-request-timestamp");
const TIME: TimeRule = TimeRule {
    at: TimeAt::List,
    unit: Unit::Millis,
    tolerance: Some(Duration::from_secs(300)),
    future: true,
};
/// What HubSpot decodes in the URL before it signs.
const DECODED: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

impl Coded for HubspotScheme {
    fn key_kind(&self) -> KeyKind {
        if *self == Self::V3 { KeyKind::utf8(Mac::Sha256) } else { KeyKind::Text }
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        match self {
            Self::V1 | Self::V2 => vec![HEADER.clone(), VERSION.clone()],
            Self::V3 => vec![HEADER_V3.clone(), TIMESTAMP.clone()],
        }
    }

    fn signs_url(&self) -> bool {
        *self != Self::V1
    }

    fn signs_time(&self) -> bool {
        *self == Self::V3
    }

    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            Locator::Json(_) | Locator::Form(_) => true,
            Locator::Query(_) => self.signs_url(),
            Locator::Header(name) => *self == Self::V3 && *name == TIMESTAMP,
        }
    }

    fn screen(&self, headers: &HeaderMap, call: &Call<'_>) -> Result<(), VerifyError> {
        self.signature(headers)?;
        match self {
            Self::V3 => TIME.judge(time(headers)?, call.tolerance, call.now).map(drop),
            Self::V1 | Self::V2 => self.check_version(headers),
        }
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = self.signature(request.headers)?;
        if *self == Self::V3 {
            let time = time(request.headers)?;
            let signed_at = TIME.judge(time, call.tolerance, call.now)?;
            facts.note("timestamp", || time.to_owned());
            let spelled = decoded_url(content::url(request)?);
            let contents = [Self::content(request, Some(time))?, head(request, &spelled, Some(time))];
            let candidates = [signature];
            let found = call.mac(&contents[0], &candidates, facts);
            let index = found.or_else(|_| call.mac(&contents[1], &candidates, facts))?;
            // Over one spelling of the URL, so that another makes no new transmission.
            return Ok(Match { signed_at: Some(signed_at), ..Match::of(index, &contents[1], request.body) });
        }
        self.check_version(request.headers)?;
        let content = match self {
            Self::V1 => Content::whole(request.body),
            _ => Self::content(request, None)?,
        };
        let live = call.live(facts)?;
        let made = |key: &Key| match key {
            Key::Token(secret) => verify_slices_are_equal(&hash(secret, &content), &signature).is_ok(),
            _ => false,
        };
        match live.iter().find(|(_, _, key)| made(key)) {
            Some((index, _, _)) => Ok(Match::of(*index, &content, request.body)),
            None => {
                Err(refuse(Reason::SignatureMismatch, format!("none of {} secrets made this", live.len())))
            }
        }
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let fault = |error: VerifyError| SignError(error.detail);
        if *self == Self::V3 {
            let time = TIME.write(call.now).ok_or_else(|| SignError("the time is before 1970".to_owned()))?;
            let tag = call.tag(&Self::content(request, Some(&time)).map_err(fault)?)?;
            return Sealed::header(&TIMESTAMP, &time)?.and_header(&HEADER_V3, &Encoding::Base64.encode(&tag));
        }
        let (content, version) = match self {
            Self::V1 => (Content::whole(request.body), None),
            _ => (Self::content(request, None).map_err(fault)?, Some("v2")),
        };
        let Key::Token(secret) = call.signing()?.1 else { return Err(SignError("no secret".to_owned())) };
        let signature = Encoding::Hex.encode(&hash(secret, &content));
        let sealed = Sealed::header(&HEADER, &signature)?;
        match version {
            Some(version) => sealed.and_header(&VERSION, version),
            None => Ok(sealed),
        }
    }
}

impl HubspotScheme {
    fn signature(self, headers: &HeaderMap) -> Result<Vec<u8>, VerifyError> {
        let (name, encoding) = match self {
            Self::V3 => (&HEADER_V3, Encoding::Base64),
            Self::V1 | Self::V2 => (&HEADER, Encoding::Hex),
        };
        decoded(encoding, required_signature(headers, name)?, Mac::Sha256.tag_bytes())
    }

    /// The version is no part of what is signed; without one it is the first.
    fn check_version(self, headers: &HeaderMap) -> Result<(), VerifyError> {
        let version = single_header(headers, &VERSION);
        match (self, version) {
            (Self::V1, Ok(None | Some("v1"))) | (Self::V2, Ok(Some("v2"))) => Ok(()),
            _ => Err(refuse(Reason::NoSupportedScheme, format!("`{VERSION}` is not the configured one"))),
        }
    }

    fn content<'r>(request: &Request<'r>, time: Option<&str>) -> Result<Content<'r>, VerifyError> {
        Ok(head(request, content::url(request)?, time))
    }
}

/// Method, URL, body, and the time where there is one.
fn head<'r>(request: &Request<'r>, url: &str, time: Option<&str>) -> Content<'r> {
    let head = format!("{}{url}", request.method).into_bytes();
    let time = time.unwrap_or_default().to_owned().into_bytes();
    Content::of([Cow::Owned(head), Cow::Borrowed(request.body), Cow::Owned(time)])
}

fn time(headers: &HeaderMap) -> Result<&str, VerifyError> {
    let missing = |error: VerifyError| VerifyError { reason: Reason::MissingTimestamp, ..error };
    required_header(headers, &TIMESTAMP).map_err(missing)
}

/// The URL as HubSpot spells it: what stands encoded in its query without need is decoded.
fn decoded_url(url: &str) -> String {
    DECODED.iter().fold(url.to_owned(), |url, (code, text)| {
        url.replace(code, text).replace(&code.to_ascii_lowercase(), text)
    })
}

fn hash(secret: &[u8], content: &Content<'_>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(secret);
    for piece in content.pieces() {
        context.update(piece);
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_decoded_where_hubspot_decodes_it() {
        assert_eq!(
            decoded_url("https://a.example/x?u=https%3A%2f%2Fb&c=%20%25"),
            "https://a.example/x?u=https://b&c=%20%25"
        );
    }
}
