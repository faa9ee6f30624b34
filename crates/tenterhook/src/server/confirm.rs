//! Confirms subscriptions: ingress asks, net fetches.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ingress::Confirm;
use crate::net::fetch::Fetcher;
use crate::net::guard::{Guard, SystemNames};

/// Fetches over the network, never into a private one.
#[derive(Debug)]
pub(super) struct Confirmer(Fetcher);

impl Confirmer {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Fetcher::new(Guard::new(Arc::new(SystemNames), false))))
    }
}

#[async_trait]
impl Confirm for Confirmer {
    async fn confirm(&self, url: &str) -> Result<(), String> {
        match self.0.get(url).await? {
            status if status.is_success() => Ok(()),
            status => Err(format!("the provider answered {status} to the confirmation")),
        }
    }
}
