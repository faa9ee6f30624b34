//! Fetches one URL, once: what a provider wants to be fetched. No redirects, no private addresses, and nobody reads the
//! answer. Knows nothing of providers.

use std::time::Duration;

use http::StatusCode;
use reqwest::redirect;

use super::guard::Guard;

/// A provider's own host answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest file.
const FILE_BYTES_MAX: usize = 512 * 1024;

/// Builds a client for each fetch: there is one in the life of a subscription, and root certificates are read for it.
#[derive(Clone, Debug)]
pub struct Fetcher {
    guard: Guard,
}

impl Fetcher {
    /// Names go through `guard`.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self { guard }
    }

    /// GETs an `https` URL. An error never holds the URL, which may be a secret.
    ///
    /// # Errors
    /// What kept the answer from coming.
    pub async fn get(&self, url: &str) -> Result<StatusCode, String> {
        Ok(self.send(url).await?.status())
    }

    async fn send(&self, url: &str) -> Result<reqwest::Response, String> {
        let this = self.clone();
        // Reading root certificates takes milliseconds of a thread.
        let client = tokio::task::spawn_blocking(move || this.client()).await;
        let client = client
            .map_err(|_| "no client could be built".to_owned())?
            .map_err(|error| format!("no client could be built: {}", error.without_url()))?;
        client.get(url).send().await.map_err(|error| error.without_url().to_string())
    }

    /// The body at an `https` URL, which has to be answered 200.
    ///
    /// # Errors
    /// As [`Self::get`]; and another status, or more than [`FILE_BYTES_MAX`].
    pub async fn file(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut answer = self.send(url).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("answered {}", answer.status()));
        }
        let mut file = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            if file.len() + chunk.len() > FILE_BYTES_MAX {
                return Err(format!("more than {FILE_BYTES_MAX} bytes"));
            }
            file.extend_from_slice(&chunk);
        }
        Ok(file)
    }

    fn client(&self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .https_only(true)
            .no_proxy()
            .dns_resolver(self.guard.clone())
            .timeout(TIMEOUT)
            .build()
    }
}
