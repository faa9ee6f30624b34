//! Braintree: a form with a payload in base64 and a list of signatures, each behind the public key whose private key made
//! it. The MAC's key is the SHA-1 of the private key.

use http::HeaderName;

use super::form;
use super::{Call, Coded, KeyKind, decoded};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::{self, Mac};
use crate::scheme::list::CANDIDATES_MAX;
use crate::scheme::{Key, KeyForm, KeyRule, Match};
use crate::settings::{Setting, SettingKind};
use crate::verifier::{Facts, Sealed};

/// Braintree's scheme.
#[derive(Debug)]
pub(crate) struct BraintreeScheme;

const SIGNATURE: &str = "bt_signature";
const PAYLOAD: &str = "bt_payload";
/// The public key belongs to the private key that is the secret. Where secrets are rotated each has its own: it is then
/// the id of the secret.
const PUBLIC_KEY: &str = "public_key";

impl Coded for BraintreeScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::Mac(Mac::Sha1, KeyRule { form: KeyForm::Sha1, prefixes: Vec::new() })
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn signs_inside(&self) -> bool {
        true
    }

    fn settings(&self) -> &'static [Setting] {
        &[Setting {
            name: PUBLIC_KEY,
            kind: SettingKind::Text,
            required: true,
            help: "the public key that Braintree shows beside the private key",
        }]
    }

    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Form(name) if name == PAYLOAD)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let public_key = call.required(PUBLIC_KEY)?;
        let fields = form::fields(request.body)?;
        let signatures = form::required(&fields, SIGNATURE, Reason::MissingSignature)?;
        let payload = payload(&fields)?;
        let pairs = pairs(signatures)?;
        facts.note("signatures", || format!("{} pairs", pairs.len()));
        let live = call.live(facts)?;
        let (bare, ended) = (payload.trim_end_matches('\n'), format!("{payload}\n"));
        let mut ours = false;
        for (index, secret, key) in live {
            let id = secret.id().unwrap_or(public_key);
            let Key::Mac(key) = key else { continue };
            let mut candidates = Vec::new();
            for (_, text) in pairs.iter().filter(|(name, _)| *name == id) {
                candidates.push(decoded(Encoding::Hex, text, Mac::Sha1.tag_bytes())?);
            }
            ours |= !candidates.is_empty();
            // The last line break of the payload gets lost on the way of some senders, but is signed.
            for text in [payload, &ended] {
                if hmac::any_matches(key, &Content::whole(text.as_bytes()), &candidates) {
                    return Ok(Match::of(index, &Content::whole(bare.as_bytes()), request.body));
                }
            }
        }
        if ours {
            Err(refuse(Reason::SignatureMismatch, "no signature behind the public key is of its private key"))
        } else {
            Err(refuse(Reason::NoSupportedScheme, "no signature stands behind the configured public key"))
        }
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let fault = |error: VerifyError| SignError(error.detail);
        let fields = form::fields(request.body).map_err(fault)?;
        let payload = payload(&fields).map_err(fault)?;
        let (secret, _) = call.signing()?;
        let id = match secret.id() {
            Some(id) => id,
            None => call.required(PUBLIC_KEY).map_err(fault)?,
        };
        let tag = call.tag(&Content::whole(payload.as_bytes()))?;
        let signature = format!("{id}|{}", Encoding::Hex.encode(&tag));
        Ok(Sealed::body(form::with_fields(request.body, &[(SIGNATURE, &signature)]).into_bytes()))
    }
}

/// The payload: base64 with line breaks, and nothing else.
fn payload<'f>(fields: &'f [form::Field<'_>]) -> Result<&'f str, VerifyError> {
    let payload = form::required(fields, PAYLOAD, Reason::MalformedContent)?;
    if payload.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\n".contains(&byte)) {
        Ok(payload)
    } else {
        Err(refuse(Reason::MalformedContent, "the payload is not base64"))
    }
}

/// Public key and signature of each entry.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>, VerifyError> {
    let pairs: Vec<_> =
        text.split('&').take(CANDIDATES_MAX + 1).filter_map(|pair| pair.split_once('|')).collect();
    if pairs.len() > CANDIDATES_MAX {
        return Err(refuse(Reason::TooManyCandidates, "more signatures than any provider sends"));
    }
    Ok(pairs)
}
