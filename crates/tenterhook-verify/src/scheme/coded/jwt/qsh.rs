//! The canonical request of Atlassian Connect, whose hash a token carries as `qsh`: method, path below the app's base, and
//! the sorted query without the token itself.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::error::{Reason, VerifyError, refuse};

/// What RFC 3986 leaves alone.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The most query parameters that are sorted.
const PARAMETERS_MAX: usize = 256;

/// `METHOD&path&query`. `base` is the path of the app's own base URL, which is not part of it.
pub(super) fn canonical(method: &Method, url: &str, base: &str) -> Result<String, VerifyError> {
    let bare = url.split('#').next().unwrap_or_default();
    let (location, query) = bare.split_once('?').unwrap_or((bare, ""));
    let path =
        location.split_once("://").map_or(location, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    let path = path.strip_prefix(base.trim_end_matches('/')).unwrap_or(path).trim_end_matches('/');
    let path = if path.is_empty() { "/" } else { path };
    let path = path.replace('&', "%26");
    Ok(format!("{}&{path}&{}", method.as_str(), sorted(query)?))
}

/// Parameters sorted by their encoded names, the values of one name joined by commas.
fn sorted(query: &str) -> Result<String, VerifyError> {
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count == PARAMETERS_MAX {
            return Err(refuse(Reason::MalformedContent, "too many parameters in the URL"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "jwt" {
            parameters.entry(encoded(name)).or_default().push(encoded(value));
        }
    }
    let pairs = parameters.into_iter().map(|(name, mut values)| {
        values.sort_unstable();
        format!("{name}={}", values.join(","))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// Decoded as a query, and encoded again in the one way that RFC 3986 knows.
fn encoded(text: &str) -> String {
    let plain = text.replace('+', "%20");
    let bytes: Vec<u8> = percent_decode_str(&plain).collect();
    percent_encode(&bytes, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_canonical_form() {
        for (method, url, base, expected) in [
            (Method::POST, "https://app.example.com/hook", "", "POST&/hook&"),
            (Method::POST, "https://app.example.com/base/hook/?b=2&a=1", "/base", "POST&/hook&a=1&b=2"),
            (Method::GET, "https://app.example.com", "", "GET&/&"),
            (Method::GET, "https://app.example.com/base", "/base/", "GET&/&"),
            (
                Method::GET,
                "https://a.example/x?a=c&a=b+d&jwt=token&e%2Af=%7e",
                "",
                "GET&/x&a=b%20d,c&e%2Af=~",
            ),
            (Method::GET, "https://a.example/x&y?a", "", "GET&/x%26y&a="),
        ] {
            assert_eq!(canonical(&method, url, base).unwrap(), expected);
        }
        let many = "a=1&".repeat(PARAMETERS_MAX + 1);
        assert!(canonical(&Method::GET, &format!("https://a.example/?{many}"), "").is_err());
    }
}
