//! The Standard Webhooks signature that every delivery carries: one verifier serves every provider. Knows the scheme;
//! knows nothing of which headers go beside it.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::{BASE64, BASE64_NOPAD};
use http::HeaderValue;
use tenterhook_verify::Secret;

use crate::destination::CheckError;

/// The key of `signing_secret`.
pub(crate) struct Signer(hmac::Key);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(masked)")
    }
}

impl Signer {
    /// Reads `whsec_` and the base64 of 24 to 64 bytes.
    pub(crate) fn new(secret: &Secret) -> Result<Self, CheckError> {
        let decoded = secret.expose().strip_prefix(b"whsec_").and_then(|text| {
            BASE64
                .decode(text)
                .or_else(|_| BASE64_NOPAD.decode(text))
                .ok()
                .filter(|key| (24..=64).contains(&key.len()))
        });
        match decoded {
            Some(key) => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key))),
            None => Err(CheckError::wrong(
                "`signing_secret` is not `whsec_` and the base64 of 24 to 64 bytes",
                "make one: `echo whsec_$(openssl rand -base64 32)`",
            )),
        }
    }

    /// `v1,` and the signature of `id`, `timestamp` (Unix seconds) and body.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> HeaderValue {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        let text = format!("v1,{}", BASE64.encode(context.sign().as_ref()));
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = Signer::new(&secret).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_of_another_form_is_refused_without_being_repeated() {
        let short = format!("whsec_{}", BASE64.encode(&[7; 23]));
        let long = format!("whsec_{}", BASE64.encode(&[7; 65]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!", &short, &long] {
            let refusal = Signer::new(&Secret::new(text)).unwrap_err();
            assert!(refusal.refuses_start);
            assert!(text.len() < 10 || !format!("{refusal} {}", refusal.hint).contains(text));
        }
    }
}
