//! Key material: does not print itself, is compared in constant time, and has a life span.

use std::fmt;
use std::time::SystemTime;

/// One secret or public key as a user configured it, with the time during which it counts.
#[derive(Clone)]
pub struct Secret {
    text: Box<[u8]>,
    id: Option<Box<str>>,
    not_before: Option<SystemTime>,
    not_after: Option<SystemTime>,
}

impl Secret {
    /// A secret without an end. `text` is what the user configured: its decoding (UTF-8, base64, hex, PEM) is the
    /// scheme's `key` rule.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into().into_boxed_slice(), id: None, not_before: None, not_after: None }
    }

    /// The same secret, counting only from `not_before` and until `not_after`.
    #[must_use]
    pub fn during(mut self, not_before: Option<SystemTime>, not_after: Option<SystemTime>) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    /// The same secret, under the id by which a provider's key-id header names it: it then counts only for requests
    /// with that id. A secret without one counts for every id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into().into_boxed_str());
        self
    }

    /// The id given with [`Secret::with_id`].
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether this secret counts at `now`.
    #[must_use]
    pub fn is_live(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|start| now >= start) && self.not_after.is_none_or(|end| now < end)
    }

    /// The configured text. Named so that every use is easy to find and to question.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(masked)")
    }
}
