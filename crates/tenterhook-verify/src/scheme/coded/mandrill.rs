//! Mandrill (Mailchimp Transactional): HMAC-SHA1 over the URL as it was registered and the sorted fields of the form, each
//! as name and value without a separator.

use http::HeaderName;

use super::form;
use super::{Call, Coded, KeyKind, decoded, required_signature};
use crate::error::{SignError, VerifyError};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::Match;
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::Mac;
use crate::verifier::{Facts, Sealed};

/// Mandrill's scheme.
#[derive(Debug)]
pub(crate) struct MandrillScheme;

static HEADER: HeaderName = HeaderName::from_static("x-mandrill-signature");

impl Coded for MandrillScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::utf8(Mac::Sha1)
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![HEADER.clone()]
    }

    fn signs_url(&self) -> bool {
        true
    }

    /// Of a form the signature covers what its fields say one after the other, but not where a name ends and its value
    /// begins.
    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Query(_))
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = required_signature(request.headers, &HEADER)?;
        let signature = decoded(Encoding::Base64, signature, Mac::Sha1.tag_bytes())?;
        let content = content(request)?;
        facts.note("content", || format!("{} bytes signed", content.len()));
        let index = call.mac(&content, &[signature], facts)?;
        Ok(Match::of(index, &content, request.body))
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let content = content(request).map_err(|error| SignError(error.detail))?;
        Sealed::header(&HEADER, &Encoding::Base64.encode(&call.tag(&content)?))
    }
}

/// The URL, then the fields by name. Fields of one name keep their order.
fn content<'r>(request: &Request<'r>) -> Result<Content<'r>, VerifyError> {
    let mut text = content::url(request)?.to_owned();
    let mut fields = form::fields(request.body)?;
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in &fields {
        text.push_str(name);
        text.push_str(value);
    }
    Ok(Content::whole(text.into_bytes()))
}
