//! What a running gateway knows besides its store. A stopped store that is opened by the CLI has none of it.

use async_trait::async_trait;
use serde_json::Value;

use crate::model::{DestinationName, LaneView, Reply, SourceName};

/// The running gateway, read-only but for [`Live::test`] and [`Live::reload`].
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
    /// Reads the config again; the problems, rendered for people, when it is refused.
    async fn reload(&self) -> Result<(), String>;
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
