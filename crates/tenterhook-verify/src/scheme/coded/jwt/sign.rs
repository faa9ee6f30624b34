//! The mirror of verification: a token that the same policy takes.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use super::policy::{BodyHash, Pinned, Policy, Times, UrlHash};
use super::token::{Claims, Date, Strings};
use super::{hex_sha256, qsh};
use crate::Request;
use crate::error::{SignError, VerifyError};
use crate::scheme::Key;
use crate::scheme::coded::Call;
use crate::scheme::content;

/// How long a token of ours counts.
const LIFE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Head<'h> {
    alg: &'h str,
    typ: &'h str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'h str>,
}

/// The token for a request, signed with the first live secret.
pub(super) fn token(
    policy: &Policy,
    request: &Request<'_>,
    id: Option<&str>,
    call: &Call<'_>,
) -> Result<String, SignError> {
    let (secret, key) = call.signing()?;
    let algorithm = *policy.algorithms.first().ok_or_else(|| SignError("nothing signs".to_owned()))?;
    let head = Head { alg: algorithm.name(), typ: "JWT", kid: secret.id() };
    let claims = policy.claims(request, id, call).map_err(|error| SignError(error.detail))?;
    let unwritable = |_| SignError("the token cannot be written".to_owned());
    let head = serde_json::to_vec(&head).map_err(unwritable)?;
    let claims = serde_json::to_vec(&claims).map_err(unwritable)?;
    let signed = format!("{}.{}", BASE64URL_NOPAD.encode(&head), BASE64URL_NOPAD.encode(&claims));
    let signature = match key {
        Key::Token(secret) => algorithm.sign_mac(secret, &signed),
        Key::Remote(key) => algorithm.sign_with(key, &signed),
        Key::Mac(_) | Key::Macs(_) | Key::Public(_) => None,
    };
    let signature = signature.ok_or_else(|| {
        SignError("a public key signs nothing; give the private one, as PEM (`PRIVATE KEY`)".to_owned())
    })?;
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}

impl Policy {
    fn claims(
        &self,
        request: &Request<'_>,
        id: Option<&str>,
        call: &Call<'_>,
    ) -> Result<Claims, VerifyError> {
        let now = call.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = |at: Duration| Some(Date(at.as_secs()));
        let mut claims = Claims {
            iss: self.issuers(call)?.and_then(|known| known.into_iter().next()),
            aud: Strings(self.audience(request, call)?.map(str::to_owned).into_iter().collect()),
            jti: self.needs_id.then(|| id.map_or_else(|| hex_sha256(request.body), str::to_owned)),
            ..Claims::default()
        };
        match self.times {
            Times::None => {}
            Times::IssuedWithin(_) => claims.iat = date(now),
            Times::Expiry => (claims.iat, claims.exp) = (date(now), date(now + LIFE)),
            Times::Window => (claims.nbf, claims.exp) = (date(now), date(now + LIFE)),
        }
        match self.body {
            BodyHash::None => {}
            BodyHash::WithBody(_) | BodyHash::ExactlyWithBody(_) if request.body.is_empty() => {}
            BodyHash::Always(claim) | BodyHash::WithBody(claim) | BodyHash::ExactlyWithBody(claim) => {
                claims.set_body_hash(claim, hex_sha256(request.body));
            }
        }
        match self.url {
            UrlHash::None => {}
            UrlHash::Url => claims.url_hash = Some(hex_sha256(content::url(request)?.as_bytes())),
            UrlHash::Query => {
                let base = call.settings.text("base_path").unwrap_or_default();
                let url = content::url(request)?;
                claims.qsh = Some(hex_sha256(qsh::canonical(request.method, url, base)?.as_bytes()));
            }
        }
        for (pinned, setting, default) in self.pinned {
            let value = call.settings.text(setting).or(*default).map(str::to_owned);
            match pinned {
                Pinned::Email => (claims.email, claims.email_verified) = (value, Some(true)),
                Pinned::App => claims.azp = value,
            }
        }
        Ok(claims)
    }
}
