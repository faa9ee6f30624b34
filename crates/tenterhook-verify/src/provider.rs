//! The catalog: what is known about each provider, as data, in the grammar that users write.

use std::time::Duration;

use crate::{Locators, Scheme, SchemeSpec};

/// What the catalog knows about one provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in configs: `stripe`.
    pub name: String,
    /// The name for people: `Stripe`.
    pub display: String,
    /// Where the provider documents its scheme.
    pub docs_url: String,
    /// The default scheme as written.
    pub spec: SchemeSpec,
    /// The default scheme, checked.
    pub scheme: Scheme,
    /// Schemes that have to be chosen by name (`svix-asymmetric`, `github-sha1`); never accepted by default.
    pub alternatives: Vec<(String, Scheme)>,
    /// The provider's id, unique per notification; empty where there is none.
    pub event_id: Locators,
    /// The event type.
    pub event_type: Locators,
    /// How long the provider goes on retrying; the dedupe window is max(7 days, this).
    pub retry_horizon: Duration,
    /// The largest body the provider documents, in bytes.
    pub body_bytes_max: Option<u64>,
    /// Shortest secret a config may hold, in bytes, where the entry says less than the config's own 16.
    pub secret_bytes_min: Option<usize>,
    /// Public keys that the provider publishes, by environment (Wise: `production`, `sandbox`), as PEM.
    pub public_keys: Vec<(String, String)>,
    /// Facts that were not verified in a source.
    pub unverified: Vec<String>,
    /// What people get wrong with this provider.
    pub pitfalls: Vec<String>,
    /// A sample event: type, headers, body; for demos, `send` and `fixture`.
    pub samples: Vec<Sample>,
}

/// A sample event of a provider. `{id}` and `{now}` in the body and the headers are filled in by the caller.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The event type.
    pub event_type: String,
    /// Headers besides the signature's own.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Provider {
    /// The scheme by name: the default for `None`.
    #[must_use]
    pub fn scheme(&self, _name: Option<&str>) -> Option<&Scheme> {
        todo!()
    }

    /// The event type of a request, by the provider's own rule (GitHub: `event.action`).
    #[must_use]
    pub fn event_type(&self, _request: &crate::Request<'_>) -> Option<String> {
        todo!()
    }
}

/// Every provider, sorted by name.
#[must_use]
pub fn catalog() -> &'static [Provider] {
    todo!()
}

/// The provider of that name.
#[must_use]
pub fn provider(_name: &str) -> Option<&'static Provider> {
    todo!()
}
