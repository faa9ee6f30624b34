//! What a world is configured like: sources, routes, destinations and policies, drawn at random. The routes are a table,
//! so that the rig knows what is owed without asking the gateway.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tenterhook::dispatcher::LanePolicy;
use tenterhook::ingress::{Generation, IngressSettings};
use tenterhook::model::{
    DedupePolicy, DestinationName, OnConflict, OnDead, OnDuplicateOfDead, OnRepeat, Priority,
};
use tenterhook::policy::backoff::RetryPolicy;
use tenterhook::policy::breaker::BreakerPolicy;
use tenterhook::policy::route::{Glob, Route};
use tenterhook::source::{IdRule, ResponsePolicy, Source, SourceLimits, Unmatched};
use tenterhook::store::Retention;
use tenterhook_verify::{HandshakeSettings, Locators, Provider, Secret, Verifier, provider};

/// The sources: two of one provider with the same secret, so that an id can come to the wrong one, and one whose
/// signature covers a time.
pub(super) const SOURCES: [(&str, &str); 3] =
    [("hub", "github"), ("hub-too", "github"), ("standard", "standard-webhooks")];

/// The destinations. `STEADY` is healthy enough that its attempts are never late.
pub(super) const DESTINATIONS: [&str; 3] = ["bad", "batch", "steady"];
/// Fails in every way.
pub(super) const BAD: usize = 0;
/// Takes several events at once.
pub(super) const BATCH: usize = 1;
/// Only ever fails now and then.
pub(super) const STEADY: usize = 2;

/// What is owed for an event type: to whom, how urgently, and whether in the order of its key.
pub(super) const ROUTES: [(&str, usize, Priority, bool); 9] = [
    ("push", STEADY, Priority::Normal, false),
    ("push", BAD, Priority::Normal, false),
    ("order", STEADY, Priority::Normal, true),
    ("order", BATCH, Priority::Normal, true),
    ("alert", BAD, Priority::High, false),
    ("alert", BATCH, Priority::High, false),
    ("bulk", BAD, Priority::Low, false),
    ("bulk", BATCH, Priority::Low, false),
    ("both", STEADY, Priority::High, false),
];

/// Event types; nothing is owed for the last.
pub(super) const TYPES: [&str; 6] = ["push", "order", "alert", "bulk", "both", "noise"];

/// The longest that an accept may take.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that a body may take to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// One world's config.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How long the faults last.
    pub(super) chaos: Duration,
    /// Logical events.
    pub(super) events: usize,
    pub(super) retry: RetryPolicy,
    pub(super) on_dead: OnDead,
    pub(super) dedupe: DedupePolicy,
    pub(super) retention: Retention,
    /// The disk leases in the step that accepts, where it may.
    pub(super) hands_out: bool,
    /// Of each destination.
    pub(super) timeouts: [Duration; 3],
    concurrency: [u32; 3],
    breaker_failures: u32,
}

impl Settings {
    /// Draws one.
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let pick = |rng: &mut fastrand::Rng, from: &[u64]| from[rng.usize(..from.len())];
        let chaos = pick(rng, &[20, 60, 60, 300, 300, 300, 1200, 1200, 7200, 86_400]);
        let window = Duration::from_secs(pick(rng, &[3600, 86_400, 7 * 86_400]));
        let retry = RetryPolicy {
            base: Duration::from_secs(pick(rng, &[1, 1, 2, 5])),
            cap: Duration::from_secs(pick(rng, &[10, 60, 600, 6 * 3600])),
            jitter: 0.2,
            attempts_max: pick(rng, &[2, 3, 5, 8, 27]) as u32,
        };
        Self {
            chaos: Duration::from_secs(chaos),
            events: rng.usize(1..=20),
            retry,
            on_dead: if rng.bool() { OnDead::Hold } else { OnDead::Continue },
            dedupe: DedupePolicy {
                window,
                on_repeat: if rng.u8(..4) == 0 { OnRepeat::Duplicate } else { OnRepeat::Deliver },
                on_conflict: if rng.u8(..4) == 0 { OnConflict::Deliver } else { OnConflict::Keep },
                on_duplicate_of_dead: if rng.u8(..4) == 0 {
                    OnDuplicateOfDead::Report
                } else {
                    OnDuplicateOfDead::Redrive
                },
            },
            retention: Retention {
                events: Duration::from_secs(pick(rng, &[10, 60, 600])),
                dead: (rng.u8(..3) == 0).then(|| Duration::from_secs(pick(rng, &[30, 300]))),
                audit: Duration::from_secs(600),
                rows_max: 1000,
            },
            hands_out: rng.bool(),
            timeouts: [5, 10, 30].map(Duration::from_secs),
            concurrency: [rng.u32(1..=3), rng.u32(1..=2), 1000],
            breaker_failures: rng.u32(2..=5),
        }
    }

    /// A generation of sources that takes these secrets.
    pub(super) fn generation(&self, secrets: &[String]) -> anyhow::Result<Generation> {
        let sources = SOURCES.iter().map(|(name, provider)| self.source(name, provider, secrets));
        let settings = IngressSettings { commit_timeout: COMMIT_TIMEOUT, ..IngressSettings::default() };
        Ok(Generation { sources: sources.collect::<anyhow::Result<_>>()?, settings })
    }

    fn source(&self, name: &str, provider: &str, secrets: &[String]) -> anyhow::Result<Arc<Source>> {
        let catalog = catalog(provider)?;
        Ok(Arc::new(Source {
            name: name.parse()?,
            path: format!("/webhooks/{name}"),
            provider: Some(catalog),
            verifier: verifier(catalog, secrets)?,
            secrets_configured: secrets.len(),
            key_credentials: None,
            handshakes: catalog.handshakes.clone(),
            handshake_settings: HandshakeSettings::default(),
            event_id: IdRule::Located(catalog.event_id.clone()),
            event_type: None,
            events: Vec::new(),
            routes: self.routes(),
            unmatched: Unmatched::Ignore,
            limits: SourceLimits {
                body_bytes_max: 1 << 20,
                rate: None,
                rate_per_address: None,
                allow_from: Vec::new(),
                body_timeout: BODY_TIMEOUT,
            },
            dedupe: self.dedupe,
            response: ResponsePolicy::default(),
            respond: None,
            public_url: None,
            forward_headers: Vec::new(),
        }))
    }

    fn routes(&self) -> Vec<Route> {
        let route = |&(kind, to, priority, ordered): &(&str, usize, Priority, bool)| Route {
            events: vec![Glob::new(kind)],
            destination: destination(to),
            priority,
            ordering_key: ordered.then(|| KEY.clone()),
            on_dead: self.on_dead,
        };
        ROUTES.iter().map(route).collect()
    }

    /// The policy of a destination's lane. The steady one has no breaker and room for everything.
    pub(super) fn lane(&self, destination: usize) -> LanePolicy {
        let failures = if destination == STEADY { u32::MAX } else { self.breaker_failures };
        LanePolicy {
            concurrency: self.concurrency[destination],
            rate: None,
            timeout: self.timeouts[destination],
            retry: self.retry,
            breaker: BreakerPolicy { failures, ..BreakerPolicy::default() },
            batch_max: if destination == BATCH { 4 } else { 1 },
        }
    }

    /// How long a lease of it lasts, by the contract: its timeout and ten seconds.
    pub(super) fn lease(&self, destination: usize) -> Duration {
        self.timeouts[destination] + Duration::from_secs(10)
    }
}

static KEY: LazyLock<Locators> = LazyLock::new(|| Locators {
    alternatives: "json:/key".parse().map(|key| vec![vec![key]]).unwrap_or_default(),
});

static NAMES: LazyLock<Vec<DestinationName>> =
    LazyLock::new(|| DESTINATIONS.iter().filter_map(|name| name.parse().ok()).collect());

/// The name of a destination.
pub(super) fn destination(index: usize) -> DestinationName {
    NAMES[index].clone()
}

/// The destination of that name.
pub(super) fn index_of(name: &DestinationName) -> usize {
    DESTINATIONS.iter().position(|it| *it == name.as_str()).unwrap_or(BAD)
}

/// A catalog entry.
pub(super) fn catalog(name: &str) -> anyhow::Result<&'static Provider> {
    provider::provider(name).ok_or_else(|| anyhow::anyhow!("no provider `{name}`"))
}

/// A verifier of that provider.
pub(super) fn verifier(catalog: &Provider, secrets: &[String]) -> anyhow::Result<Verifier> {
    let secrets = secrets.iter().map(|secret| Secret::new(secret.as_bytes())).collect();
    Verifier::new(catalog.scheme.clone(), secrets).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

/// The `n`-th secret of a world: what Standard Webhooks takes, and so good for all.
pub(super) fn secret(number: u64) -> String {
    // 32 bytes as base64: ten digits say which, the rest is the same for all.
    let digits = format!("{number:08}").into_bytes();
    let letters: String = digits.iter().map(|digit| char::from(b'A' + (digit - b'0'))).collect();
    format!("whsec_{letters}MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmM0")
}
