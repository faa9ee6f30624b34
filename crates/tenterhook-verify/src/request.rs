//! The request as a provider signed it. Knows nothing of sockets or of who asked.

use http::{HeaderMap, Method};

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
