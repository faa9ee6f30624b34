//! Hears handlers for the door: ingress asks, the dispatcher tells; neither knows the other.

use std::fmt;
use std::sync::Arc;

use crate::dispatcher::Dispatcher;
use crate::ingress::{Listen, Listening};
use crate::model::DestinationName;

/// Listens at a dispatcher.
pub(super) struct Listener(Arc<Dispatcher>);

impl Listener {
    pub(super) fn new(dispatcher: &Arc<Dispatcher>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(dispatcher)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listen for Listener {
    fn listen(&self, destination: &DestinationName, correlation_id: &str) -> Option<Listening> {
        Some(Box::pin(self.0.listen(destination, correlation_id)?))
    }
}
