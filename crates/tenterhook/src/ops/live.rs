//! What a running gateway knows besides its store. A stopped store that is opened by the CLI has none of it.

use async_trait::async_trait;
use serde_json::Value;

use crate::model::{DestinationName, LaneView, Registration, Reply, SourceName, Timestamp};

/// The running gateway, read-only but for [`Live::test`], [`Live::register`] and [`Live::reload`].
#[async_trait]
pub trait Live: Send + Sync {
    /// Every lane as it stands now.
    fn lanes(&self) -> Vec<LaneView>;
    /// Every configured source.
    fn sources(&self) -> Vec<SourceView>;
    /// Every configured destination.
    fn destinations(&self) -> Vec<DestinationView>;
    /// The config with every secret masked.
    fn config(&self) -> Value;
    /// Delivers a test message to a destination, once, outside of queue and breaker; `None` when there is no such one.
    async fn test(&self, destination: &DestinationName) -> Option<Reply>;
    /// Opens the window in which a source's provider may bring its key, or closes it; until when it is open.
    fn register(
        &self,
        source: &SourceName,
        order: Registration,
    ) -> Result<Option<Timestamp>, RegistrationError>;
    /// Reads the config again; the problems, rendered for people, when it is refused.
    async fn reload(&self) -> Result<(), String>;
}

/// Why no registration can be pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationError {
    /// There is no such source.
    UnknownSource,
    /// Its provider brings no key, and sends no test that nobody signed.
    NothingToAwait,
    /// The store ends with its process, and so would the key.
    NowhereToKeep,
}

/// A source, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// Its name.
    pub name: SourceName,
    /// The provider's catalog name, or `custom`.
    pub provider: String,
    /// Its path on the ingress listener.
    pub path: String,
    /// How many secrets count now.
    pub secrets_live: usize,
    /// How many of all its secrets the provider brought.
    pub secrets_learnt: usize,
    /// Until when its provider may bring a key, while a registration is pending.
    pub registration_until: Option<Timestamp>,
    /// Its routes, one line each: `payment_intent.* -> app (high)`.
    pub routes: Vec<String>,
    /// What should be known about it (an old secret, no verification).
    pub warnings: Vec<String>,
}

/// A destination, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationView {
    /// Its name.
    pub name: DestinationName,
    /// Its kind: `http`, `command`.
    pub kind: String,
    /// One line: where to, without credentials.
    pub target: String,
}
