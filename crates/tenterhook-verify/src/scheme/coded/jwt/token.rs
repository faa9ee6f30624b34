//! A compact JSON web token, read strictly: three parts of base64url without padding or stray bits, bounded sizes, and only
//! the members that some policy judges. A member that is there twice, or of another type, makes the token malformed.

use std::fmt;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::{Reason, VerifyError, refuse};

/// The longest token, in bytes. Headers rarely hold more.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The most audiences of one token.
const AUDIENCES_MAX: usize = 16;
/// The last moment that is taken for a date: the end of the year 9999, in Unix seconds.
const LAST_DATE: u64 = 253_402_300_799;

/// A token in its parts.
pub(crate) struct Token<'t> {
    pub(crate) head: Head,
    pub(crate) claims: Claims,
    pub(crate) claims_bytes: usize,
    /// Head and claims as they were signed.
    pub(crate) signed: &'t str,
    pub(crate) signature: Vec<u8>,
}

/// The head. `jku`, `x5u`, `jwk` and `x5c` are left unread.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) kid: Option<String>,
    #[serde(default)]
    crit: Option<de::IgnoredAny>,
}

/// The claims that some policy judges.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<String>,
    #[serde(skip_serializing_if = "Strings::is_empty")]
    pub(crate) aud: Strings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) appid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) azp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_body_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qsh: Option<String>,
}

impl Claims {
    /// The claim of that name that holds a hash of the body.
    pub(crate) fn body_hash(&self, claim: &str) -> Option<&str> {
        match claim {
            "request_body_sha256" => self.request_body_sha256.as_deref(),
            "payload_hash" => self.payload_hash.as_deref(),
            "sha256" => self.sha256.as_deref(),
            _ => None,
        }
    }

    /// Sets the claim of that name.
    pub(crate) fn set_body_hash(&mut self, claim: &str, hash: String) {
        match claim {
            "request_body_sha256" => self.request_body_sha256 = Some(hash),
            "payload_hash" => self.payload_hash = Some(hash),
            "sha256" => self.sha256 = Some(hash),
            _ => {}
        }
    }
}

impl<'t> Token<'t> {
    pub(crate) fn read(text: &'t str) -> Result<Self, VerifyError> {
        let malformed = |what: &str| refuse(Reason::MalformedSignature, format!("the token {what}"));
        if text.len() > TOKEN_BYTES_MAX {
            return Err(malformed("is longer than any provider's"));
        }
        let parts = || malformed("is not three parts");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(parts)?;
        let (head, claims) = signed.split_once('.').ok_or_else(parts)?;
        let decode =
            |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| malformed("is not base64url"));
        let (head, claims, signature) = (decode(head)?, decode(claims)?, decode(signature)?);
        // A list would pass for an object whose members come in order.
        if !head.starts_with(b"{") || !claims.starts_with(b"{") {
            return Err(malformed("is not of objects"));
        }
        let head: Head = serde_json::from_slice(&head).map_err(|_| malformed("has no readable head"))?;
        if head.crit.is_some() {
            return Err(malformed("asks for an extension"));
        }
        let claims_bytes = claims.len();
        let claims = serde_json::from_slice(&claims).map_err(|_| malformed("has no readable claims"))?;
        Ok(Self { head, claims, claims_bytes, signed, signature })
    }
}

/// A `NumericDate`: Unix seconds, of which fractions are cut off.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Date(pub(crate) u64);

impl Date {
    pub(crate) fn time(self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.0))
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DateVisitor)
    }
}

struct DateVisitor;

impl Visitor<'_> for DateVisitor {
    type Value = Date;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Date, E> {
        if seconds > LAST_DATE { Err(E::custom("too far ahead")) } else { Ok(Date(seconds)) }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Date, E> {
        if (0.0..253_402_300_800.0).contains(&seconds) {
            Ok(Date(seconds as u64))
        } else {
            Err(E::custom("no date"))
        }
    }
}

/// One text or several.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Strings(pub(crate) Vec<String>);

impl Strings {
    pub(crate) fn holds(&self, wanted: &str) -> bool {
        self.0.iter().any(|text| text == wanted)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringsVisitor)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Strings, E> {
        Ok(Strings(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strings, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            if texts.len() == AUDIENCES_MAX {
                return Err(de::Error::custom("too many texts"));
            }
            texts.push(text);
        }
        Ok(Strings(texts))
    }
}
