//! The policies, one for each provider that sends tokens. What is not said here is not asked for: a claim that no
//! provider documents is no ground for a refusal.

use std::time::Duration;

use super::algorithm::Algorithm::{Es256, Hs256, Hs384, Hs512, Rs256};
use super::policy::{Audience, BodyHash, Issuer, Pinned, Policy, Source, Times, UrlHash};
use crate::settings::{Setting, SettingKind};

/// What most of them have in common: one HS256 secret, and `exp`.
const COMMON: Policy = Policy {
    header: "authorization",
    prefix: "",
    algorithms: &[Hs256],
    source: Source::Secrets,
    issuer: Issuer::Any,
    audience: Audience::Any,
    times: Times::Expiry,
    leeway: Duration::ZERO,
    ahead: Duration::from_secs(30),
    body: BodyHash::None,
    url: UrlHash::None,
    pinned: &[],
    needs_id: false,
    settings: &[],
};

const AUDIENCE: Setting = Setting {
    name: "expected_audience",
    kind: SettingKind::Text,
    required: false,
    help: "what `aud` must be, where it is not the public URL",
};

const TENANT: Setting = Setting {
    name: "tenant",
    kind: SettingKind::Text,
    required: true,
    help: "the id of the Entra tenant that issues the tokens",
};

/// Microsoft's own application that delivers for Event Grid.
const EVENT_GRID_APP: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";

/// Azure Event Grid with an Entra token.
pub(crate) static EVENT_GRID_ENTRA: Policy = Policy {
    prefix: "Bearer ",
    algorithms: &[Rs256],
    source: Source::Set("https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys"),
    issuer: Issuer::Tenant(&[
        "https://login.microsoftonline.com/{tenant}/v2.0",
        "https://sts.windows.net/{tenant}/",
    ]),
    audience: Audience::Setting("expected_audience"),
    pinned: &[(Pinned::App, "expected_app", Some(EVENT_GRID_APP))],
    settings: &[
        Setting {
            name: "expected_app",
            kind: SettingKind::Text,
            required: false,
            help: "the application that delivers, where it is not Event Grid of the public cloud",
        },
        Setting { required: true, help: "the id or URI of your own application", ..AUDIENCE },
        TENANT,
    ],
    ..COMMON
};

/// Google Cloud Pub/Sub. Any service account of Google's can have a token for any audience, so the account is pinned.
pub(crate) static GOOGLE_PUBSUB: Policy = Policy {
    prefix: "Bearer ",
    algorithms: &[Rs256],
    source: Source::Set("https://www.googleapis.com/oauth2/v3/certs"),
    issuer: Issuer::OneOf(&["https://accounts.google.com", "accounts.google.com"]),
    audience: Audience::SettingOrUrl("expected_audience"),
    // As Google's own library does it.
    ahead: Duration::ZERO,
    pinned: &[(Pinned::Email, "expected_email", None)],
    settings: &[
        AUDIENCE,
        Setting {
            name: "expected_email",
            kind: SettingKind::Text,
            required: true,
            help: "the service account that the subscription authenticates as, such as `push@project.iam.gserviceaccount.com`",
        },
    ],
    ..COMMON
};

/// Atlassian Connect.
pub(crate) static JIRA_CONNECT: Policy = Policy {
    prefix: "JWT ",
    issuer: Issuer::Setting("client_key"),
    url: UrlHash::Query,
    settings: &[
        Setting {
            name: "base_path",
            kind: SettingKind::Text,
            required: false,
            help: "the path of the app's base URL, where it is not `/`",
        },
        Setting {
            name: "client_key",
            kind: SettingKind::Text,
            required: false,
            help: "the client key that the site sent when the app was installed",
        },
    ],
    ..COMMON
};

/// MessageBird.
pub(crate) static MESSAGEBIRD: Policy = Policy {
    header: "messagebird-signature-jwt",
    algorithms: &[Hs256, Hs384, Hs512],
    issuer: Issuer::OneOf(&["MessageBird"]),
    times: Times::Window,
    leeway: Duration::from_secs(5),
    ahead: Duration::from_secs(5),
    body: BodyHash::ExactlyWithBody("payload_hash"),
    url: UrlHash::Url,
    needs_id: true,
    ..COMMON
};

/// monday.com. The audience is the endpoint.
pub(crate) static MONDAY: Policy =
    Policy { audience: Audience::SettingOrUrl("expected_audience"), settings: &[AUDIENCE], ..COMMON };

/// Netlify. Its tokens have no time.
pub(crate) static NETLIFY: Policy = Policy {
    header: "x-webhook-signature",
    issuer: Issuer::OneOf(&["netlify"]),
    times: Times::None,
    body: BodyHash::Always("sha256"),
    ..COMMON
};

/// Plaid.
pub(crate) static PLAID: Policy = Policy {
    header: "plaid-verification",
    algorithms: &[Es256],
    source: Source::Plaid,
    times: Times::IssuedWithin(Duration::from_secs(300)),
    body: BodyHash::Always("request_body_sha256"),
    settings: &[Setting {
        name: "environment",
        kind: SettingKind::Text,
        required: false,
        help: "`production` (default) or `sandbox`: whose keys are asked for",
    }],
    ..COMMON
};

/// Vonage.
pub(crate) static VONAGE: Policy =
    Policy { prefix: "Bearer ", body: BodyHash::WithBody("payload_hash"), ..COMMON };

/// Where Plaid's keys of an environment are.
pub(crate) fn plaid_url(environment: &str) -> Option<&'static str> {
    match environment {
        "production" => Some("https://production.plaid.com/webhook_verification_key/get"),
        "sandbox" => Some("https://sandbox.plaid.com/webhook_verification_key/get"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_policy_takes_a_mac_beside_a_public_key() {
        for policy in [
            &EVENT_GRID_ENTRA,
            &GOOGLE_PUBSUB,
            &JIRA_CONNECT,
            &MESSAGEBIRD,
            &MONDAY,
            &NETLIFY,
            &PLAID,
            &VONAGE,
        ] {
            let public = policy.algorithms.iter().filter(|algorithm| algorithm.is_asymmetric()).count();
            assert!(!policy.algorithms.is_empty(), "{policy:?}");
            assert!(public == 0 || public == policy.algorithms.len(), "{policy:?}");
            assert_eq!(public == 0, policy.source == Source::Secrets, "{policy:?}");
        }
    }
}
