//! Mailgun: a MAC over a timestamp and a random token, which stand in the body beside it: in an object of the JSON, or, in
//! webhooks of the former sort and inbound routes, in fields of a form. Nothing else of the body is signed.

use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderName;
use serde::Deserialize;

use super::form;
use super::scalar::Scalar;
use super::{Call, Coded, KeyKind, decoded};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::Match;
use crate::scheme::content::Content;
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::verifier::{Facts, Sealed};

/// The length of every token.
const TOKEN_BYTES: usize = 50;
const TIME: TimeRule = TimeRule { at: TimeAt::List, unit: Unit::Seconds, tolerance: None, future: true };

/// Where the three fields stand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MailgunScheme {
    /// In `/signature` of the JSON.
    Json,
    /// In fields of a form, be it multipart or not.
    Form,
}

#[derive(Deserialize)]
struct Body {
    signature: Option<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    timestamp: Scalar,
    #[serde(default)]
    token: Scalar,
    #[serde(default)]
    signature: Scalar,
}

impl Coded for MailgunScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha256)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn signs_inside(&self) -> bool {
        true
    }

    fn signs_time(&self) -> bool {
        true
    }

    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            Locator::Json(pointer) => {
                *self == Self::Json
                    && ["/signature/timestamp", "/signature/token"].contains(&pointer.as_str())
            }
            Locator::Form(name) => *self == Self::Form && ["timestamp", "token"].contains(&name.as_str()),
            Locator::Header(_) | Locator::Query(_) => false,
        }
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let Signature { timestamp, token, signature } = self.signature(request)?;
        let missing = |reason, name: &str| refuse(reason, format!("the body has no `{name}`"));
        let signature = signature.text().ok_or_else(|| missing(Reason::MissingSignature, "signature"))?;
        let time = timestamp.text().ok_or_else(|| missing(Reason::MissingTimestamp, "timestamp"))?;
        let token = token.text().ok_or_else(|| missing(Reason::MissingHeader, "token"))?;
        if token.len() != TOKEN_BYTES {
            return Err(refuse(Reason::MalformedContent, "the token is not fifty characters long"));
        }
        let signed_at = TIME.judge(time, call.tolerance, call.now)?;
        facts.note("timestamp", || time.to_owned());
        let signature = decoded(Encoding::Hex, signature, Mac::Sha256.tag_bytes())?;
        let content = Content::whole(format!("{time}{token}").into_bytes());
        let index = call.mac(&content, &[signature], facts)?;
        Ok(Match { signed_at: Some(signed_at), ..Match::of(index, &content, request.body) })
    }

    fn sign(&self, request: &Request<'_>, id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let time = TIME.write(call.now).ok_or_else(|| SignError("the time is before 1970".to_owned()))?;
        let token = token(request.body, id, call.now);
        let tag = call.tag(&Content::whole(format!("{time}{token}").into_bytes()))?;
        let signature = Encoding::Hex.encode(&tag);
        let body = match self {
            Self::Form if !form::is_form(request.headers) => {
                return Err(SignError("the body is not a form of one part".to_owned()));
            }
            Self::Form => {
                let set = [("timestamp", &*time), ("token", &token), ("signature", &signature)];
                form::with_fields(request.body, &set).into_bytes()
            }
            Self::Json => {
                let mut body: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_slice(request.body)
                        .map_err(|_| SignError("the body is not a JSON object".to_owned()))?;
                let object = serde_json::json!({"timestamp": time, "token": token, "signature": signature});
                body.insert("signature".to_owned(), object);
                serde_json::Value::Object(body).to_string().into_bytes()
            }
        };
        Ok(Sealed::body(body))
    }
}

impl MailgunScheme {
    fn signature(&self, request: &Request<'_>) -> Result<Signature, VerifyError> {
        if *self == Self::Json {
            let body: Body = serde_json::from_slice(request.body)
                .map_err(|_| refuse(Reason::MalformedContent, "the body is not JSON of Mailgun's form"))?;
            return body
                .signature
                .ok_or_else(|| refuse(Reason::MissingSignature, "the body has no `signature`"));
        }
        let field = |name| form::body_field(request, name).map(Option::unwrap_or_default);
        Ok(Signature {
            timestamp: Scalar(field("timestamp")?),
            token: Scalar(field("token")?),
            signature: Scalar(field("signature")?),
        })
    }
}

/// A token of the right form. It has to differ from request to request and need not be a secret.
fn token(body: &[u8], id: Option<&str>, now: SystemTime) -> String {
    let mut context = Context::new(&SHA256);
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    context.update(&since.as_nanos().to_be_bytes());
    context.update(id.unwrap_or_default().as_bytes());
    context.update(body);
    let mut token = Encoding::Hex.encode(context.finish().as_ref());
    token.truncate(TOKEN_BYTES);
    token
}
