//! Gitea and its kin: a MAC over the JSON of the event, which arrives as the body, as the field `payload` of a form, or
//! in the query of a GET request. The signature is over the JSON in every case.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};

use super::form;
use super::{Call, Coded, KeyKind, decoded, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::Match;
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::verifier::{Facts, Sealed};

/// The field that holds the JSON.
const FIELD: &str = "payload";

/// A scheme of this kind. The signature is hex.
#[derive(Debug)]
pub(crate) struct PayloadScheme {
    header: HeaderName,
    prefix: &'static str,
}

impl PayloadScheme {
    pub(crate) fn gitea() -> Self {
        Self { header: HeaderName::from_static("x-gitea-signature"), prefix: "" }
    }

    pub(crate) fn forgejo() -> Self {
        Self { header: HeaderName::from_static("x-forgejo-signature"), prefix: "" }
    }

    /// Under GitHub's name, which all of them send as well.
    pub(crate) fn as_github() -> Self {
        Self { header: HeaderName::from_static("x-hub-signature-256"), prefix: "sha256=" }
    }
}

impl Coded for PayloadScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha256)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            Locator::Json(_) => true,
            Locator::Form(name) | Locator::Query(name) => name == FIELD,
            Locator::Header(_) => false,
        }
    }

    fn screen(&self, headers: &HeaderMap, _call: &Call<'_>) -> Result<(), VerifyError> {
        self.signature(headers).map(drop)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = self.signature(request.headers)?;
        let payload = payload(request)?;
        facts.note("payload", || format!("{} bytes signed", payload.len()));
        let content = Content::whole(payload);
        let index = call.mac(&content, &[signature], facts)?;
        Ok(Match::of(index, &content, request.body))
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let payload = payload(request).map_err(|error| SignError(error.detail))?;
        let tag = call.tag(&Content::whole(payload))?;
        Sealed::header(&self.header, &format!("{}{}", self.prefix, Encoding::Hex.encode(&tag)))
    }
}

impl PayloadScheme {
    fn signature(&self, headers: &HeaderMap) -> Result<Vec<u8>, VerifyError> {
        let text = required_signature(headers, &self.header)?;
        let bare =
            || refuse(Reason::MalformedSignature, format!("`{}` does not stand before it", self.prefix));
        let text = text.strip_prefix(self.prefix).ok_or_else(bare)?;
        decoded(Encoding::Hex, text, Mac::Sha256.tag_bytes())
    }
}

/// The JSON of the event. Beside it a form or a query holds nothing, as nothing would cover it.
fn payload<'r>(request: &Request<'r>) -> Result<Cow<'r, [u8]>, VerifyError> {
    let text = if *request.method == Method::GET {
        form::query(content::url(request)?).as_bytes()
    } else if form::is_form(request.headers) {
        request.body
    } else {
        return Ok(Cow::Borrowed(request.body));
    };
    let [(name, value)] = <[form::Field<'_>; 1]>::try_from(form::fields(text)?)
        .map_err(|_| refuse(Reason::MalformedContent, "the form has other fields than `payload`"))?;
    if name != FIELD || *request.method == Method::GET && !request.body.is_empty() {
        return Err(refuse(Reason::MalformedContent, "the form has other fields than `payload`"));
    }
    Ok(Cow::Owned(value.into_owned().into_bytes()))
}
