//! Fetches providers' keys: ingress asks, net fetches.

use std::sync::Arc;

use async_trait::async_trait;
use tenterhook_verify::KeyNeed;
use tenterhook_verify::remote::{KeyFile, Roots};
use tokio::sync::OnceCell;

use crate::ingress::FetchKey;
use crate::net::fetch::Fetcher;
use crate::net::guard::{Guard, SystemNames};
use crate::source::KeyCredentials;

/// Fetches over the network, never into a private one, and judges chains by the system's own roots. A server that stands in
/// for the providers' own is asked instead, where one is configured.
#[derive(Debug)]
pub(super) struct KeyFetcher {
    fetcher: Fetcher,
    stand_in: Option<String>,
    roots: OnceCell<Arc<Roots>>,
}

impl KeyFetcher {
    /// `stand_in` is a URL without a path.
    pub(super) fn new(stand_in: Option<&str>) -> Arc<Self> {
        let guard = Guard::new(Arc::new(SystemNames), false);
        let stand_in = stand_in.map(|url| url.trim_end_matches('/').to_owned());
        let fetcher = if stand_in.is_some() { Fetcher::unguarded(&guard) } else { Fetcher::new(guard) };
        Arc::new(Self { fetcher, stand_in, roots: OnceCell::new() })
    }

    /// Where a need is really asked for. Its own URL is `https://HOST/PATH`, on a host of a built-in list.
    fn place(&self, need: &KeyNeed) -> String {
        let Some(stand_in) = &self.stand_in else { return need.url().to_owned() };
        let bare = need.url().strip_prefix("https://").unwrap_or_default();
        let path = bare.find('/').map_or("", |start| &bare[start..]);
        format!("{stand_in}{path}")
    }
}

#[async_trait]
impl FetchKey for KeyFetcher {
    async fn fetch(&self, need: &KeyNeed, who: Option<&KeyCredentials>) -> Result<Vec<u8>, String> {
        let place = self.place(need);
        if need.kind() != KeyFile::PlaidKey {
            return self.fetcher.file(&place).await;
        }
        let who = who.ok_or("`settings.client_id` and `settings.secret` of the source are missing")?;
        let secret = std::str::from_utf8(who.secret.expose()).map_err(|_| "`settings.secret` is no text")?;
        let question =
            serde_json::json!({ "client_id": who.client_id, "secret": secret, "key_id": need.key_id() });
        let answer = self.fetcher.answer(&place, question.to_string().into_bytes()).await;
        answer.map_err(|why| {
            format!(
                "{why}; `settings.client_id` and `settings.secret` have to be those of `settings.environment`"
            )
        })
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
