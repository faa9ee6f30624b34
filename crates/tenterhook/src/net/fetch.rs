//! Fetches one URL, once: what a provider wants to be fetched, or what it publishes. No redirects, no private addresses, and
//! a bound on whatever is answered. Knows nothing of providers.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
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
    https_only: bool,
}

impl Fetcher {
    /// Names go through `guard`.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self { guard, https_only: true }
    }

    /// Reaches any address, also without TLS: for a server of one's own that stands in for a provider's.
    #[must_use]
    pub fn unguarded(guard: &Guard) -> Self {
        Self { guard: guard.permissive(), https_only: false }
    }

    /// GETs an `https` URL. An error never holds the URL, which may be a secret.
    ///
    /// # Errors
    /// What kept the answer from coming.
    pub async fn get(&self, url: &str) -> Result<StatusCode, String> {
        Ok(self.send(url, None).await?.status())
    }

    async fn send(&self, url: &str, json: Option<Vec<u8>>) -> Result<reqwest::Response, String> {
        let this = self.clone();
        // Reading root certificates takes milliseconds of a thread.
        let client = tokio::task::spawn_blocking(move || this.client()).await;
        let client = client
            .map_err(|_| "no client could be built".to_owned())?
            .map_err(|error| format!("no client could be built: {}", error.without_url()))?;
        let request = match json {
            None => client.get(url),
            Some(json) => client.post(url).header(CONTENT_TYPE, "application/json").body(json),
        };
        request.send().await.map_err(|error| error.without_url().to_string())
    }

    /// The body at an `https` URL, which has to be answered 200.
    ///
    /// # Errors
    /// As [`Self::get`]; and another status, or more than [`FILE_BYTES_MAX`].
    pub async fn file(&self, url: &str) -> Result<Vec<u8>, String> {
        read(self.send(url, None).await?).await
    }

    /// The answer to a POST of JSON, which has to be 200. An error holds nothing of what was sent.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn answer(&self, url: &str, json: Vec<u8>) -> Result<Vec<u8>, String> {
        read(self.send(url, Some(json)).await?).await
    }

    fn client(&self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .https_only(self.https_only)
            .no_proxy()
            .dns_resolver(self.guard.clone())
            .timeout(TIMEOUT)
            .build()
    }
}

/// The body of an answer that has to be 200.
async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
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
