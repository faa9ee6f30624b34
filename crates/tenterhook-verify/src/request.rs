//! The request as a provider signed it. Knows nothing of sockets or of who asked.

use http::{HeaderMap, HeaderName, Method};

/// One request, borrowed. `body` is the exact bytes that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The request method.
    pub method: &'r Method,
    /// The public URL as configured at the provider (never rebuilt from the request's own `Host`), with the path and
    /// query that arrived. `None` where nobody configured one; a scheme that signs the URL then refuses.
    pub url: Option<&'r str>,
    /// The headers as they arrived.
    pub headers: &'r HeaderMap,
    /// The exact bytes of the body.
    pub body: &'r [u8],
}

/// The one value of a header that counts for verification. Sent twice, or not in UTF-8, it is a problem and not a
/// choice: two readers would choose differently.
pub(crate) fn single_header<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("was sent more than once");
    }
    std::str::from_utf8(value.as_bytes()).map(Some).map_err(|_| "is not UTF-8")
}
