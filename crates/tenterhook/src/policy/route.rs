//! Which events go where.

use tenterhook_verify::Locators;

use crate::model::{DestinationName, OnDead, Priority};

/// A glob on event types: `*` matches any characters, and `pull_request` also matches `pull_request.opened`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(String);

impl Glob {
    /// Takes the pattern as written.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One `[[routes]]` entry, for one source.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which event types; empty: all.
    pub events: Vec<Glob>,
    /// Where to.
    pub destination: DestinationName,
    /// How urgent.
    pub priority: Priority,
    /// Deliveries with equal keys go one after another.
    pub ordering_key: Option<Locators>,
    /// What a dead letter does to the ones behind it.
    pub on_dead: OnDead,
}
