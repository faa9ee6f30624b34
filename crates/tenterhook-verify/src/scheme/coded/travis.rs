//! Travis CI: RSA with SHA-1 over the field `payload` of a form, as it reads once decoded. The key stands in the public
//! configuration of the API.

use data_encoding::BASE64;
use http::HeaderName;

use super::{Call, Coded, KeyKind, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::remote::key::Signing;
use crate::remote::{KeyFile, KeyNeed};
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::{Covered, Match};
use crate::verifier::{Facts, Sealed};

/// Where the key is.
const CONFIG: &str = "https://api.travis-ci.com/config";

const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// Travis CI's scheme.
#[derive(Debug)]
pub(crate) struct TravisScheme;

impl Coded for TravisScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::Remote
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![SIGNATURE]
    }

    fn fetches_keys(&self) -> bool {
        true
    }

    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Form(field) if field == "payload")
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = required_signature(request.headers, &SIGNATURE)?;
        let signature = BASE64
            .decode(signature.as_bytes())
            .map_err(|_| refuse(Reason::MalformedSignature, "`signature` is not base64"))?;
        let mut payloads = form_urlencoded::parse(request.body).filter(|(field, _)| field == "payload");
        // Two readers of a form with two of them would choose differently.
        let (Some((_, payload)), None) = (payloads.next(), payloads.next()) else {
            return Err(refuse(Reason::MalformedContent, "the form has not exactly one `payload`"));
        };
        let need = KeyNeed::new(KeyFile::TravisConfig, CONFIG, None);
        let secret_index = call.remote(&need, Signing::RsaSha1, payload.as_bytes(), &signature, facts)?;
        Ok(Match {
            secret_index,
            signed_at: None,
            content: Covered::Digest(Content::whole(payload.into_owned().into_bytes()).sha256()),
            content_is_body: false,
        })
    }

    fn sign(&self, _: &Request<'_>, _: Option<&str>, _: &Call<'_>) -> Result<Sealed, SignError> {
        Err(SignError(
            "Travis CI signs with SHA-1 and its own key, which nobody else should do any more".to_owned(),
        ))
    }
}
