//! A registration: the time in which a provider may bring its key. Knows neither keys nor requests.

use std::time::Duration;

/// What a person orders when a source is to be registered at its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// How long the provider may take; zero: not any more.
    pub open_for: Duration,
    /// What becomes of the keys that were learnt before.
    pub former: FormerKeys,
}

impl Default for Registration {
    /// Ten minutes, and a day for what is still on its way under the former key.
    fn default() -> Self {
        Self { open_for: Duration::from_secs(600), former: FormerKeys::For(Duration::from_secs(24 * 3600)) }
    }
}

/// How long the keys that were learnt before count on, once a new one came. Keys that are configured are never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerKeys {
    /// So long; zero: not at all.
    For(Duration),
    /// For good: a provider that gives each subscription a key of its own needs all of them.
    Always,
}
