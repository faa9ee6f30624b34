//! A sender: signs events the way GitHub does and sends them over a kept-alive connection.

use std::time::SystemTime;

use reqwest::StatusCode;
use serde_json::Value;
use tenterhook_verify::{Request, Secret, Verifier, provider};

/// The secret of the rigs' sources.
pub(crate) const SECRET: &str = "a-secret-for-the-rigs-only-0123456789";

/// Signs with one provider's scheme.
pub(crate) struct Sender {
    client: reqwest::Client,
    verifier: Verifier,
}

impl Sender {
    /// A sender of that provider, with [`SECRET`].
    pub(crate) fn new(name: &str) -> Self {
        Self::with_secret(name, SECRET)
    }

    /// A sender of that provider.
    pub(crate) fn with_secret(name: &str, secret: &str) -> Self {
        let entry = provider::provider(name).unwrap();
        let verifier = Verifier::new(entry.scheme(None).unwrap().clone(), vec![Secret::new(secret)]).unwrap();
        Self { client: reqwest::Client::new(), verifier }
    }

    /// A signed request, ready to be sent.
    pub(crate) fn request(&self, url: &str, id: &str, body: &[u8]) -> reqwest::RequestBuilder {
        let headers = http::HeaderMap::new();
        let request = Request { method: &http::Method::POST, url: Some(url), headers: &headers, body };
        #[expect(
            clippy::disallowed_methods,
            reason = "a sender outside of the gateway has a clock of its own"
        )]
        let now = SystemTime::now();
        let signature = self.verifier.sign(&request, Some(id), now).unwrap();
        self.client
            .post(url)
            .headers(signature)
            .header("content-type", "application/json")
            .body(body.to_vec())
            .timeout(super::PATIENCE)
    }

    /// Sends one push event as GitHub does; the answer's status and body, or `None` where there was no answer.
    pub(crate) async fn github(&self, url: &str, id: &str, body: &[u8]) -> Option<(StatusCode, Value)> {
        let request =
            self.request(url, id, body).header("x-github-event", "push").header("x-github-delivery", id);
        let response = request.send().await.ok()?;
        let status = response.status();
        let text = response.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}
