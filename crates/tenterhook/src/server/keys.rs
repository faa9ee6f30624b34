//! Fetches providers' keys: ingress asks, net fetches.

use std::sync::Arc;

use async_trait::async_trait;
use tenterhook_verify::KeyNeed;
use tenterhook_verify::remote::{KeyFile, Roots};
use tokio::sync::OnceCell;

use crate::ingress::FetchKey;
use crate::net::fetch::Fetcher;
use crate::net::guard::{Guard, SystemNames};

/// Fetches over the network, never into a private one, and judges chains by the system's own roots.
#[derive(Debug)]
pub(super) struct KeyFetcher {
    fetcher: Fetcher,
    roots: OnceCell<Arc<Roots>>,
}

impl KeyFetcher {
    pub(super) fn new() -> Arc<Self> {
        let fetcher = Fetcher::new(Guard::new(Arc::new(SystemNames), false));
        Arc::new(Self { fetcher, roots: OnceCell::new() })
    }
}

#[async_trait]
impl FetchKey for KeyFetcher {
    async fn fetch(&self, need: &KeyNeed) -> Result<Vec<u8>, String> {
        if need.kind() == KeyFile::PlaidKey {
            return Err(
                "Plaid's keys are asked for with credentials, which cannot be configured yet".to_owned()
            );
        }
        self.fetcher.file(need.url()).await
    }

    async fn roots(&self) -> Arc<Roots> {
        let read = || {
            let found = rustls_native_certs::load_native_certs();
            Arc::new(Roots::new(found.certs.iter().map(AsRef::as_ref)))
        };
        let cell =
            self.roots.get_or_init(|| async { tokio::task::spawn_blocking(read).await.unwrap_or_default() });
        Arc::clone(cell.await)
    }
}
