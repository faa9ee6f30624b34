//! A configured place that events go to. Each kind is a file of its own and knows nothing of retries, breakers or of
//! its siblings: it tries once, and says what it saw.

mod answer;
pub mod command;
pub mod http;
mod metadata;

use async_trait::async_trait;

use crate::model::{HandlerAnswer, Message, Reply};

/// One destination, connected and ready.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The kind, as in `type = "http"`.
    fn kind(&self) -> &'static str;

    /// Tries once.
    /// - returns only after the receiver has confirmed (2xx, exit 0, broker ack), or has failed to
    /// - one reply per message, in order; a destination without batches is given one message at a time
    /// - keeps its own timeout; safe to call concurrently; safe to drop at any await point
    async fn deliver(&self, batch: &[Message]) -> Vec<Reply>;

    /// Tries one event once, as [`Self::deliver`] does, for somebody who waits for what the receiver itself answers: that
    /// too, where it confirmed the event and may be passed on. A kind whose receivers do not answer in HTTP has nothing.
    async fn ask(&self, message: &Message) -> (Option<Reply>, Option<HandlerAnswer>) {
        (self.deliver(std::slice::from_ref(message)).await.pop(), None)
    }

    /// Whether the destination could be delivered to, without delivering: for `check` and start-up.
    async fn check(&self) -> Result<(), CheckError>;
}

/// Why a destination cannot be delivered to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CheckError {
    /// What is wrong, one line, no secret.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Whether the gateway must not start with it (a name that resolves to a private address), or may (it is down).
    pub refuses_start: bool,
}

impl CheckError {
    /// The gateway may start with it: it can heal.
    pub(crate) fn down(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), refuses_start: false }
    }

    /// The gateway must not start with it: only a change of the config heals it.
    pub(crate) fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), refuses_start: true }
    }
}
