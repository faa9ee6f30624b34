//! PayPal: RSA over four fields, of which the last is the CRC-32 of the body. A header names the certificate; it is held to
//! PayPal's hosts and path before anything else is done with it.
//!
//! A CRC is no hash: whoever has one signed delivery can make other bodies with the same one. The scheme proves where a
//! delivery came from, and its body is a hint.

use data_encoding::BASE64;
use http::HeaderName;

use super::{Call, Coded, KeyKind, required_header, required_signature};
use crate::error::{Reason, SignError, VerifyError, refuse};
use crate::locate::Locator;
use crate::remote::host::Hosts;
use crate::remote::key::Signing;
use crate::remote::{KeyFile, KeyNeed};
use crate::request::Request;
use crate::scheme::content::Content;
use crate::scheme::time::rfc3339;
use crate::scheme::{Covered, Key, Match};
use crate::settings::{Setting, SettingKind};
use crate::verifier::{Facts, Sealed};

/// The hosts that certificates come from.
const HOSTS: [&str; 4] =
    ["api.paypal.com", "api.sandbox.paypal.com", "api-m.paypal.com", "api-m.sandbox.paypal.com"];
/// The path below which they are.
const PATH: &str = "/v1/notifications/certs/";
const ALGORITHM: &str = "SHA256withRSA";

const SIGNATURE: HeaderName = HeaderName::from_static("paypal-transmission-sig");
const ID: HeaderName = HeaderName::from_static("paypal-transmission-id");
const TIME: HeaderName = HeaderName::from_static("paypal-transmission-time");
const AUTH_ALGO: HeaderName = HeaderName::from_static("paypal-auth-algo");
const CERT_URL: HeaderName = HeaderName::from_static("paypal-cert-url");

/// PayPal's scheme.
#[derive(Debug)]
pub(crate) struct PayPalScheme {
    hosts: Option<Hosts>,
}

impl PayPalScheme {
    pub(crate) fn new() -> Self {
        Self { hosts: Hosts::new(&HOSTS.map(str::to_owned)).ok() }
    }

    /// The certificate that a request names, if it may be fetched at all.
    fn need(&self, url: &str) -> Result<KeyNeed, VerifyError> {
        let path = url.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
        let name = path.and_then(|path| path.strip_prefix(PATH)).unwrap_or_default();
        let plain = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if plain && self.hosts.as_ref().is_some_and(|hosts| hosts.allow(url)) {
            return Ok(KeyNeed::new(KeyFile::PayPalCertificate, url, None));
        }
        Err(refuse(Reason::KeyUrlNotAllowed, format!("`{CERT_URL}` is no certificate on a host of PayPal")))
    }
}

/// What is signed.
fn content(id: &str, time: &str, webhook_id: &str, body: &[u8]) -> String {
    format!("{id}|{time}|{webhook_id}|{}", crc32(body))
}

impl Coded for PayPalScheme {
    fn key_kind(&self) -> KeyKind {
        KeyKind::Remote
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![SIGNATURE, ID, TIME, AUTH_ALGO, CERT_URL]
    }

    fn settings(&self) -> &'static [Setting] {
        &[Setting {
            name: "webhook_id",
            kind: SettingKind::Text,
            required: true,
            help: "the id of the webhook, as the developer dashboard shows it",
        }]
    }

    fn signs_time(&self) -> bool {
        true
    }

    fn fetches_keys(&self) -> bool {
        true
    }

    fn covers(&self, locator: &Locator) -> bool {
        matches!(locator, Locator::Header(name) if *name == ID || *name == TIME)
    }

    fn verify(
        &self,
        request: &Request<'_>,
        call: &Call<'_>,
        facts: &mut Facts,
    ) -> Result<Match<'static>, VerifyError> {
        let signature = required_signature(request.headers, &SIGNATURE)?;
        let id = required_header(request.headers, &ID)?;
        let time = required_header(request.headers, &TIME)?;
        if required_header(request.headers, &AUTH_ALGO)? != ALGORITHM {
            return Err(refuse(
                Reason::UnsupportedAlgorithm,
                format!("`{AUTH_ALGO}` is not what PayPal sends"),
            ));
        }
        let malformed = || refuse(Reason::MalformedTimestamp, format!("`{TIME}` is no date of RFC 3339"));
        let signed_at = rfc3339(time).ok_or_else(malformed)?;
        // The fields are signed one after the other, with nothing but this between them.
        if id.contains('|') || time.contains('|') {
            return Err(refuse(Reason::MalformedContent, "a signed header holds a separator"));
        }
        let need = self.need(required_header(request.headers, &CERT_URL)?)?;
        let webhook_id = call.required("webhook_id")?;
        let signature = BASE64
            .decode(signature.as_bytes())
            .map_err(|_| refuse(Reason::MalformedSignature, format!("`{SIGNATURE}` is not base64")))?;
        let content = content(id, time, webhook_id, request.body);
        facts.note("content", || format!("`{content}`"));
        let secret_index = call.remote(&need, Signing::RsaSha256, content.as_bytes(), &signature, facts)?;
        Ok(Match {
            secret_index,
            signed_at: Some(signed_at),
            content: Covered::Digest(Content::whole(content.into_bytes()).sha256()),
            content_is_body: false,
        })
    }

    fn sign(&self, request: &Request<'_>, id: Option<&str>, call: &Call<'_>) -> Result<Sealed, SignError> {
        let given = |name: &HeaderName| required_header(request.headers, name).ok();
        let id =
            id.or_else(|| given(&ID)).ok_or_else(|| SignError("PayPal signs an id; give one".to_owned()))?;
        let now = jiff::Timestamp::try_from(call.now)
            .map_err(|_| SignError("the clock is out of range".to_owned()))?;
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let url = given(&CERT_URL).unwrap_or("https://api.paypal.com/v1/notifications/certs/CERT-test");
        self.need(url).map_err(|error| SignError(error.detail))?;
        let webhook_id = call.required("webhook_id").map_err(|error| SignError(error.detail))?;
        let content = content(id, &time, webhook_id, request.body);
        let Ok((_, Key::Remote(key))) = call.signing() else {
            return Err(SignError("PayPal signs with a private key; give one".to_owned()));
        };
        let signature = key.sign(Signing::RsaSha256, content.as_bytes()).ok_or_else(|| {
            SignError("a certificate signs nothing; give the private key, as PEM (`PRIVATE KEY`)".to_owned())
        })?;
        Sealed::header(&SIGNATURE, &BASE64.encode(&signature))?
            .and_header(&ID, id)?
            .and_header(&TIME, &time)?
            .and_header(&AUTH_ALGO, ALGORITHM)?
            .and_header(&CERT_URL, url)
    }
}

/// CRC-32 as in Ethernet and zip, a half byte at a time: the table is small enough to be read.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 4 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    let step = |crc: u32, half: u32| TABLE[((crc ^ half) & 0xf) as usize] ^ crc >> 4;
    let crc =
        bytes.iter().fold(u32::MAX, |crc, byte| step(step(crc, u32::from(*byte)), u32::from(*byte >> 4)));
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_crc_is_the_one_of_its_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
