//! What a provider's tokens have to be, and whether the times and claims of one are that.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};

use super::algorithm::Algorithm;
use super::token::{Claims, Token};
use super::{policies, qsh};
use crate::error::{Reason, VerifyError, refuse};
use crate::remote::{KeyFile, KeyNeed};
use crate::request::Request;
use crate::scheme::coded::Call;
use crate::scheme::content;
use crate::settings::Setting;

/// What one provider's tokens have to be.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) header: &'static str,
    /// Before the token: `Bearer `, `JWT ` or nothing. Without case.
    pub(crate) prefix: &'static str,
    /// Either MACs or public-key algorithms, never both.
    pub(crate) algorithms: &'static [Algorithm],
    pub(crate) source: Source,
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    pub(crate) times: Times,
    /// How long after its end a token still counts, unless the source has a tolerance of its own.
    pub(crate) leeway: Duration,
    /// How far ahead of the clock a token may have been made: the provider's clock and ours never quite agree.
    pub(crate) ahead: Duration,
    pub(crate) body: BodyHash,
    pub(crate) url: UrlHash,
    /// Claims that must agree with a setting: claim, setting, and what counts where it is not set.
    pub(crate) pinned: &'static [(Pinned, &'static str, Option<&'static str>)],
    /// Whether every token has to have its own id.
    pub(crate) needs_id: bool,
    pub(crate) settings: &'static [Setting],
}

/// Whose keys count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The configured secrets.
    Secrets,
    /// A key set at a fixed URL; `{tenant}` in it is a setting.
    Set(&'static str),
    /// Keys by id from an API at a URL that the setting `environment` picks.
    Plaid,
}

/// What `iss` must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Issuer {
    Any,
    OneOf(&'static [&'static str]),
    /// `{tenant}` in it is a setting.
    Tenant(&'static [&'static str]),
    /// A setting, where it is set.
    Setting(&'static str),
}

/// What `aud` must be or hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Audience {
    Any,
    /// A setting.
    Setting(&'static str),
    /// A setting, else the public URL.
    SettingOrUrl(&'static str),
}

/// Which times a token must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// None; those that are there are heeded.
    None,
    /// `exp`.
    Expiry,
    /// `iat`, which may be as old as the tolerance.
    IssuedWithin(Duration),
    /// `exp` and `nbf`.
    Window,
}

/// How a claim covers the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyHash {
    /// Not at all.
    None,
    /// A claim with the SHA-256 of the body, in hex.
    Always(&'static str),
    /// The same, needed where there is a body.
    WithBody(&'static str),
    /// The same, there exactly where there is a body.
    ExactlyWithBody(&'static str),
}

/// How a claim covers the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlHash {
    None,
    /// `url_hash`: the SHA-256 of the public URL, in hex.
    Url,
    /// `qsh`: the SHA-256 of method, path and sorted query (Atlassian Connect).
    Query,
}

/// A claim that a setting pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// `email`, which `email_verified` must confirm.
    Email,
    /// `appid` or `azp`: the application that asked for the token.
    App,
}

impl Policy {
    pub(super) fn check_times(&self, claims: &Claims, call: &Call<'_>) -> Result<(), VerifyError> {
        let missing = |claim| refuse(Reason::MissingTimestamp, format!("the token has no `{claim}`"));
        let now = call.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // A tolerance is an age where the provider has one for ages, and a leeway elsewhere.
        let (age_max, leeway) = match self.times {
            Times::IssuedWithin(age) => (Some(call.tolerance.unwrap_or(age)), call.tolerance.unwrap_or(age)),
            _ => (None, call.tolerance.unwrap_or(self.leeway)),
        };
        let leeway = leeway.as_secs();
        match self.times {
            Times::Expiry | Times::Window if claims.exp.is_none() => return Err(missing("exp")),
            Times::Window if claims.nbf.is_none() => return Err(missing("nbf")),
            Times::IssuedWithin(_) if claims.iat.is_none() => return Err(missing("iat")),
            _ => {}
        }
        if claims.exp.is_some_and(|exp| now > exp.0.saturating_add(leeway)) {
            return Err(refuse(Reason::TimestampTooOld, "the token has ended"));
        }
        for (claim, at) in [("nbf", claims.nbf), ("iat", claims.iat)] {
            if at.is_some_and(|at| at.0 > now.saturating_add(leeway.max(self.ahead.as_secs()))) {
                return Err(refuse(Reason::TimestampInFuture, format!("`{claim}` is ahead of the clock")));
            }
        }
        match (age_max, claims.iat) {
            (Some(age), Some(iat)) if now.saturating_sub(iat.0) > age.as_secs() => {
                let detail = format!(
                    "the token is {} s old, tolerance {} s",
                    now.saturating_sub(iat.0),
                    age.as_secs()
                );
                Err(refuse(Reason::TimestampTooOld, detail))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_claims(
        &self,
        claims: &Claims,
        request: &Request<'_>,
        call: &Call<'_>,
    ) -> Result<(), VerifyError> {
        let wrong =
            |claim: &str| refuse(Reason::ClaimMismatch, format!("`{claim}` is not what it has to be"));
        if self.needs_id && claims.jti.as_deref().unwrap_or_default().is_empty() {
            return Err(wrong("jti"));
        }
        let issuers = self.issuers(call)?;
        if issuers.as_ref().is_some_and(|known| !known.iter().any(|known| claims.iss.as_ref() == Some(known)))
        {
            return Err(wrong("iss"));
        }
        if self.audience(request, call)?.is_some_and(|wanted| !claims.aud.holds(wanted)) {
            return Err(wrong("aud"));
        }
        for (pinned, setting, default) in self.pinned {
            let wanted = match default {
                Some(default) => call.settings.text(setting).unwrap_or(default),
                None => call.required(setting)?,
            };
            let holds = match pinned {
                Pinned::Email => {
                    claims.email_verified == Some(true) && claims.email.as_deref() == Some(wanted)
                }
                Pinned::App => claims.appid.as_deref().or(claims.azp.as_deref()) == Some(wanted),
            };
            if !holds {
                return Err(wrong(if *pinned == Pinned::Email { "email" } else { "appid" }));
            }
        }
        self.check_body(claims, request)?;
        self.check_url(claims, request, call)
    }

    pub(super) fn issuers(&self, call: &Call<'_>) -> Result<Option<Vec<String>>, VerifyError> {
        Ok(match self.issuer {
            Issuer::Any => None,
            Issuer::OneOf(known) => Some(known.iter().map(|known| (*known).to_owned()).collect()),
            Issuer::Tenant(known) => {
                let tenant = call.required("tenant")?;
                Some(known.iter().map(|known| known.replace("{tenant}", tenant)).collect())
            }
            Issuer::Setting(name) => call.settings.text(name).map(|known| vec![known.to_owned()]),
        })
    }

    pub(super) fn audience<'c>(
        &self,
        request: &Request<'c>,
        call: &Call<'c>,
    ) -> Result<Option<&'c str>, VerifyError> {
        match self.audience {
            Audience::Any => Ok(None),
            Audience::Setting(name) => call.required(name).map(Some),
            Audience::SettingOrUrl(name) => match call.settings.text(name) {
                Some(audience) => Ok(Some(audience)),
                None => content::url(request).map(Some),
            },
        }
    }

    fn check_body(&self, claims: &Claims, request: &Request<'_>) -> Result<(), VerifyError> {
        let mismatch = |detail: String| Err(refuse(Reason::BodyHashMismatch, detail));
        let (BodyHash::Always(claim) | BodyHash::WithBody(claim) | BodyHash::ExactlyWithBody(claim)) =
            self.body
        else {
            return Ok(());
        };
        let empty = request.body.is_empty();
        match (claims.body_hash(claim), self.body) {
            (None, BodyHash::WithBody(_) | BodyHash::ExactlyWithBody(_)) if empty => Ok(()),
            (None, _) => mismatch(format!("the token has no `{claim}`, so the body is not covered")),
            (Some(_), BodyHash::ExactlyWithBody(_)) if empty => {
                mismatch(format!("the token has a `{claim}`, and there is no body"))
            }
            (Some(hash), _) if same_hex(hash, request.body) => Ok(()),
            (Some(_), _) => mismatch(format!("`{claim}` is the hash of another body")),
        }
    }

    fn check_url(&self, claims: &Claims, request: &Request<'_>, call: &Call<'_>) -> Result<(), VerifyError> {
        let (claim, hash, content) = match self.url {
            UrlHash::None => return Ok(()),
            UrlHash::Url => ("url_hash", &claims.url_hash, content::url(request)?.to_owned()),
            UrlHash::Query => {
                let base = call.settings.text("base_path").unwrap_or_default();
                ("qsh", &claims.qsh, qsh::canonical(request.method, content::url(request)?, base)?)
            }
        };
        if hash.as_deref().is_some_and(|hash| same_hex(hash, content.as_bytes())) {
            return Ok(());
        }
        let detail =
            format!("`{claim}` is not that of the public URL; is it the one configured at the provider?");
        Err(refuse(Reason::ClaimMismatch, detail))
    }

    /// The key that a token asks for: from a fixed place, never from one that the token names.
    pub(super) fn need(&self, token: &Token<'_>, call: &Call<'_>) -> Result<KeyNeed, VerifyError> {
        let unknown =
            || refuse(Reason::UnknownKey, "the token names its key in no form that the provider uses");
        let key_id = token.head.kid.as_deref().filter(|id| is_key_id(id)).ok_or_else(unknown)?;
        match self.source {
            Source::Secrets => Err(unknown()),
            Source::Plaid => {
                let host = call.settings.text("environment").unwrap_or("production");
                let url = policies::plaid_url(host).ok_or_else(|| {
                    refuse(Reason::MissingSetting, "`environment` is neither `production` nor `sandbox`")
                })?;
                Ok(KeyNeed::new(KeyFile::PlaidKey, url, Some(key_id)))
            }
            Source::Set(url) if url.contains("{tenant}") => {
                let tenant = call.required("tenant")?;
                if !is_key_id(tenant) {
                    return Err(refuse(Reason::MissingSetting, "`tenant` is not the id of a tenant"));
                }
                Ok(KeyNeed::new(KeyFile::Jwks, &url.replace("{tenant}", tenant), Some(key_id)))
            }
            Source::Set(url) => Ok(KeyNeed::new(KeyFile::Jwks, url, Some(key_id))),
        }
    }
}

/// Whether two digests agree: `hash` in hex of either case, and the SHA-256 of `content`.
fn same_hex(hash: &str, content: &[u8]) -> bool {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(hash.as_bytes())
        .is_ok_and(|hash| hash == digest(&SHA256, content).as_ref())
}

/// What providers write as the id of a key.
fn is_key_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
