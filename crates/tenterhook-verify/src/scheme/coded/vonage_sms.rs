//! Vonage's signed SMS webhooks of the former sort (Nexmo): the parameters of the request, sorted and joined, with one of
//! five hashes, which an account chooses. They arrive in the query of a GET request, as a form, or as a flat JSON object.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderName, Method};

use super::form::{self, Field};
use super::md5::{hmac_md5, md5};
use super::scalar;
use super::{Call, Coded, KeyKind, decoded};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::content::{self, Content};
use crate::scheme::encoding::Encoding;
use crate::scheme::hmac::{self, Mac};
use crate::scheme::time::{TimeAt, TimeRule, Unit};
use crate::scheme::{Key, Match};
use crate::verifier::{Facts, Sealed};

/// Vonage's former scheme, with the hash that the account is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VonageSmsScheme {
    Hmac(Mac),
    HmacMd5,
    /// The MD5 of the parameters with the secret behind them.
    Md5Hash,
}

const SIGNATURE: &str = "sig";
const TIMESTAMP: &str = "timestamp";
/// A retry is sent hours later with the time of the first, so that none is too old.
const TIME: TimeRule = TimeRule { at: TimeAt::List, unit: Unit::Seconds, tolerance: None, future: true };
const MD5_BYTES: usize = 16;

impl Coded for VonageSmsScheme {
    fn key_kind(&self) -> KeyKind {
        match self {
            Self::Hmac(mac) => KeyKind::utf8(*mac),
            Self::HmacMd5 | Self::Md5Hash => KeyKind::Text,
        }
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

    /// In a request with a body its query is not signed, so that nothing in a query can be counted on.
    fn covers(&self, locator: &Locator) -> bool {
        match locator {
            Locator::Form(name) => name != SIGNATURE,
            Locator::Json(pointer) => pointer.strip_prefix('/').is_some_and(|name| name != SIGNATURE),
            Locator::Header(_) | Locator::Query(_) => false,
        }
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let fields = parameters(request)?;
        let signature = form::required(&fields, SIGNATURE, Reason::MissingSignature)?;
        let time = form::required(&fields, TIMESTAMP, Reason::MissingTimestamp)?;
        let signed_at = TIME.judge(time, call.tolerance, call.now)?;
        facts.note("timestamp", || time.to_owned());
        let signature = decoded(Encoding::Hex, signature, self.signature_bytes())?;
        let text = joined(&fields)?;
        let live = call.live(facts)?;
        let made = |key: &Key| verify_slices_are_equal(&self.hash(key, &text), &signature).is_ok();
        let found = live.iter().find(|(_, _, key)| made(key));
        let mismatch =
            || refuse(Reason::SignatureMismatch, format!("none of {} secrets made this", live.len()));
        let (index, _, _) = found.ok_or_else(mismatch)?;
        let content = Content::whole(text.as_bytes());
        Ok(Match { signed_at: Some(signed_at), ..Match::of(*index, &content, request.body) })
    }

    fn sign(&self, request: &Request<'_>, _id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let fault = |error: VerifyError| SignError(error.detail);
        let time = TIME.write(call.now).ok_or_else(|| SignError("the time is before 1970".to_owned()))?;
        let mut fields = parameters(request).map_err(fault)?;
        fields.retain(|(name, _)| name != TIMESTAMP);
        fields.push((TIMESTAMP.into(), time.as_str().into()));
        let text = joined(&fields).map_err(fault)?;
        let signature = Encoding::Hex.encode(&self.hash(call.signing()?.1, &text));
        let set = [(TIMESTAMP, time.as_str()), (SIGNATURE, &signature)];
        if in_query(request) {
            let url = content::url(request).map_err(fault)?;
            let query = form::with_fields(form::query(url).as_bytes(), &set);
            let url = Some(format!("{}?{query}", form::without_query(url)));
            return Ok(Sealed { url, ..Sealed::default() });
        }
        if form::is_form(request.headers) {
            return Ok(Sealed::body(form::with_fields(request.body, &set).into_bytes()));
        }
        let mut body: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(request.body)
            .map_err(|_| SignError("the body is not a JSON object".to_owned()))?;
        body.extend(set.map(|(name, value)| (name.to_owned(), value.into())));
        Ok(Sealed::body(serde_json::Value::Object(body).to_string().into_bytes()))
    }
}

impl VonageSmsScheme {
    fn signature_bytes(self) -> usize {
        match self {
            Self::Hmac(mac) => mac.tag_bytes(),
            Self::HmacMd5 | Self::Md5Hash => MD5_BYTES,
        }
    }

    /// The hash of the parameters; empty, which no signature is, for a key of another scheme.
    fn hash(self, key: &Key, text: &str) -> Vec<u8> {
        match (self, key) {
            (Self::Hmac(_), Key::Mac(key)) => {
                hmac::tag(key, &Content::whole(text.as_bytes())).as_ref().to_vec()
            }
            (Self::HmacMd5, Key::Token(secret)) => hmac_md5(secret, text.as_bytes()).to_vec(),
            (Self::Md5Hash, Key::Token(secret)) => md5(&[text.as_bytes(), secret].concat()).to_vec(),
            _ => Vec::new(),
        }
    }
}

fn in_query(request: &Request<'_>) -> bool {
    *request.method == Method::GET
}

/// The parameters of the request, from the one place where its sort has them.
fn parameters<'r>(request: &Request<'r>) -> Result<Vec<Field<'r>>, VerifyError> {
    if in_query(request) {
        if !request.body.is_empty() {
            return Err(refuse(Reason::MalformedContent, "a GET request with a body, which nothing covers"));
        }
        return form::fields(form::query(content::url(request)?).as_bytes());
    }
    if form::is_form(request.headers) {
        return form::fields(request.body);
    }
    scalar::object(request.body, form::FIELDS_MAX)
        .ok_or_else(|| refuse(Reason::MalformedContent, "neither a form nor a flat JSON object"))
}

/// `&name=value` by name, without the signature. In values `&` and `=` are written as `_`, so that no value looks like
/// another parameter.
fn joined(fields: &[Field<'_>]) -> Result<String, VerifyError> {
    let mut fields: Vec<&Field<'_>> = fields.iter().filter(|(name, _)| name != SIGNATURE).collect();
    fields.sort();
    let mut text = String::new();
    for (name, value) in &fields {
        if name.contains(['&', '=']) {
            return Err(refuse(Reason::MalformedContent, "the name of a parameter holds `&` or `=`"));
        }
        text.push('&');
        text.push_str(name);
        text.push('=');
        text.extend(value.chars().map(|c| if matches!(c, '&' | '=') { '_' } else { c }));
    }
    if fields.windows(2).any(|pair| matches!(pair, [one, other] if one.0 == other.0)) {
        return Err(refuse(Reason::MalformedContent, "a parameter is there twice"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn parameters_are_sorted_and_no_value_looks_like_another() {
        let fields = form::fields(b"b=x%26c%3D1&a=2&sig=0").unwrap();
        assert_eq!(joined(&fields).unwrap(), "&a=2&b=x_c_1");
        let named = [(Cow::Borrowed("a=1&b"), Cow::Borrowed("2"))];
        assert_eq!(joined(&named).unwrap_err().reason, Reason::MalformedContent);
        let twice = form::fields(b"a=1&a=2").unwrap();
        assert_eq!(joined(&twice).unwrap_err().reason, Reason::MalformedContent);
    }
}
