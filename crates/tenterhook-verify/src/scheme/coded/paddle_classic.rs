//! Paddle Classic: an RSA signature over all other fields of the form, written as PHP's `serialize` writes an array of
//! strings. Paddle's present scheme needs no code.

use http::HeaderName;

use super::form;
use super::{Call, Coded, KeyKind};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::request::Request;
use crate::scheme::asymmetric::PublicAlgorithm;
use crate::scheme::content::Content;
use crate::scheme::encoding::Encoding;
use crate::scheme::{Key, KeyRule, Match};
use crate::verifier::{Facts, Sealed};

/// Paddle's former scheme.
#[derive(Debug)]
pub(crate) struct PaddleClassicScheme;

const SIGNATURE: &str = "p_signature";

impl Coded for PaddleClassicScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::Public(PublicAlgorithm::RsaSha1, KeyRule::default())
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn signs_inside(&self) -> bool {
        true
    }

    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Form(name) if name != SIGNATURE)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let fields = form::fields(request.body)?;
        let signature = form::required(&fields, SIGNATURE, Reason::MissingSignature)?;
        let signature = Encoding::Base64
            .decode(signature)
            .ok_or_else(|| refuse(Reason::MalformedSignature, "the signature is not base64"))?;
        let text = serialized(&fields)?;
        facts.note("content", || format!("{} bytes signed", text.len()));
        let live = call.live(facts)?;
        let made = |key: &Key| matches!(key, Key::Public(key) if key.verifies(text.as_bytes(), &signature));
        match live.iter().find(|(_, _, key)| made(key)) {
            Some((index, _, _)) => Ok(Match::of(*index, &Content::whole(text.as_bytes()), request.body)),
            None => Err(refuse(Reason::SignatureMismatch, format!("none of {} keys made this", live.len()))),
        }
    }

    /// Paddle alone has the private key, and SHA-1 is nothing to begin with.
    fn sign(&self, _request: &Request<'_>, _id: Option<&str>, _call: &Call<'_>) -> Result<Sealed, SignError> {
        Err(SignError(
            "Paddle Classic signs with RSA and SHA-1, with which nothing is signed here".to_owned(),
        ))
    }
}

/// The fields but for the signature, by name, as PHP serialises them: lengths are in bytes.
fn serialized(fields: &[form::Field<'_>]) -> Result<String, VerifyError> {
    let mut fields: Vec<_> = fields.iter().filter(|(name, _)| name != SIGNATURE).collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    if fields.windows(2).any(|pair| matches!(pair, [one, other] if one.0 == other.0)) {
        return Err(refuse(Reason::MalformedContent, "a field is there twice"));
    }
    let mut text = format!("a:{}:{{", fields.len());
    for (name, value) in fields {
        for part in [name, value] {
            text.push_str(&format!("s:{}:\"{part}\";", part.len()));
        }
    }
    text.push('}');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_php_writes_them() {
        let fields = form::fields("b=%C3%BC&a=\"x\"&p_signature=s".as_bytes()).unwrap();
        assert_eq!(serialized(&fields).unwrap(), "a:2:{s:1:\"a\";s:3:\"\"x\"\";s:1:\"b\";s:2:\"ü\";}");
        let twice = form::fields(b"a=1&a=2").unwrap();
        assert_eq!(serialized(&twice).unwrap_err().reason, Reason::MalformedContent);
    }
}
