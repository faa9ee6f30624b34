//! Which headers of a verified request are stored, and so forwarded. Everything is judged after verification: a sender
//! that names its own signature in `Connection` must not take it away from the verifier.

use std::collections::HashSet;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use super::Source;

/// About one connection, and never about the event: not even `forward_headers` keeps these.
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
];

/// Credentials, and the word of proxies (or of a sender that plays one): kept only where `forward_headers` says so.
const WITHHELD: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    PROXY_AUTHENTICATE,
    FORWARDED,
    HeaderName::from_static("x-real-ip"),
];

/// The headers that may be stored.
pub(super) fn stored(arrived: &HeaderMap, source: &Source) -> HeaderMap {
    let tokens = source.verifier.scheme().token_headers();
    let named = named_in_connection(arrived);
    let keeps = |name: &HeaderName| {
        let ours = name.as_str().starts_with("tenterhook-") || name.as_str().starts_with("tenterhook_");
        let withheld =
            WITHHELD.contains(name) || name.as_str().starts_with("x-forwarded-") || tokens.contains(name);
        !ours
            && !HOP_BY_HOP.contains(name)
            && !named.contains(name.as_str())
            && (!withheld || source.forward_headers.contains(name))
    };
    let mut stored = HeaderMap::with_capacity(arrived.keys_len());
    for (name, value) in arrived.iter().filter(|(name, _)| keeps(name)) {
        stored.append(name, value.clone());
    }
    stored
}

/// Every header that a `Connection` line names, in lower case.
fn named_in_connection(arrived: &HeaderMap) -> HashSet<String> {
    let lines = arrived.get_all(CONNECTION).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}
