//! What is never shown, although a source may choose to store it: credentials in headers and in the URL.

use http::HeaderMap;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

/// Parts of a header's or query parameter's name that tell of a credential. Signatures are no secrets.
const SECRET_WORDS: [&str; 10] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "api-key",
    "api_key",
    "apikey",
    "credential",
];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The headers as shown, in stored order.
pub(super) fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let shown = if is_secret(name.as_str()) {
                MASK.to_owned()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

/// A path and query as shown.
pub(super) fn url(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| {
            let decoded = form_urlencoded::parse(pair.as_bytes()).next();
            match (pair.split_once('='), decoded) {
                (Some((name, _)), Some((plain, _))) if is_secret(&plain) => format!("{name}={MASK}"),
                _ => pair.to_owned(),
            }
        })
        .collect();
    format!("{path}?{}", shown.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked_and_signatures_are_not() {
        let mut stored = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Basic canary"),
            ("proxy-authorization", "canary"),
            ("cookie", "session=canary"),
            ("x-gitlab-token", "canary"),
            ("x-api-key", "canary"),
            ("x-hub-signature-256", "sha256=00"),
            ("content-type", "application/json"),
        ] {
            stored.insert(name, value.parse().unwrap());
        }
        let shown = headers(&stored);
        assert_eq!(shown.len(), 7);
        assert!(shown.iter().all(|(_, value)| !value.contains("canary")));
        assert!(shown.contains(&("x-hub-signature-256".to_owned(), "sha256=00".to_owned())));
    }

    #[test]
    fn a_token_in_the_query_is_masked() {
        assert_eq!(
            url("/webhooks/x?a=1&token=canary&%74oken=canary&b"),
            "/webhooks/x?a=1&token=***&%74oken=***&b"
        );
        assert_eq!(url("/webhooks/x"), "/webhooks/x");
    }
}
