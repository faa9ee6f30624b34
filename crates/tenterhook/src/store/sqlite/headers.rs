//! How headers are written down: in order, repeats repeated, and names that most requests carry as one byte each. The names are
//! a quarter of a small event otherwise, and pages are what an accept costs. Reading never panics: whatever a stored byte
//! says, the answer is a map or `None`.
//!
//! Today's form is [`MARK`], then for each header the name (`0`, length, bytes; or its place in [`NAMES`]) and the value
//! (length, bytes). The form before had no mark: `[name length u16][name][value length u32][value]…`, little endian; a name
//! of length 0 never began it.

use std::collections::HashMap;
use std::sync::LazyLock;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// What no header of the former form begins with.
const MARK: [u8; 2] = [0, 0];
/// A name that is written out.
const LITERAL: u8 = 0;

/// Stored as their place in this list, counted from 1: only ever append, and never beyond 255.
#[rustfmt::skip]
const NAMES: [&str; 99] = [
    "accept", "accept-encoding", "accept-language", "authorization", "cache-control", "cdn-loop", "cf-connecting-ip",
    "cf-ipcountry", "cf-ray", "cf-visitor", "connection", "content-encoding", "content-length", "content-type", "cookie", "date",
    "digest", "forwarded", "host", "idempotency-key", "origin", "pragma", "referer", "request-id", "traceparent", "tracestate",
    "transfer-encoding", "user-agent", "via", "x-amzn-trace-id", "x-cloud-trace-context", "x-correlation-id",
    "x-datadog-trace-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-newrelic-id",
    "x-newrelic-transaction", "x-real-ip", "x-request-id", "ce-id", "ce-source", "ce-specversion", "ce-type", "linear-delivery",
    "linear-event", "linear-signature", "paddle-signature", "paypal-auth-algo", "paypal-cert-url", "paypal-transmission-id",
    "paypal-transmission-sig", "paypal-transmission-time", "sentry-hook-resource", "sentry-hook-signature",
    "sentry-hook-timestamp", "stripe-signature", "svix-id", "svix-signature", "svix-timestamp",
    "twitch-eventsub-message-id", "twitch-eventsub-message-signature", "twitch-eventsub-message-timestamp",
    "twitch-eventsub-message-type", "twitch-eventsub-subscription-type", "typeform-signature", "webhook-id",
    "webhook-signature", "webhook-timestamp", "x-amz-sns-message-id", "x-amz-sns-message-type", "x-amz-sns-topic-arn",
    "x-event-key", "x-github-delivery", "x-github-event", "x-github-hook-id", "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type", "x-gitlab-event", "x-gitlab-event-uuid", "x-gitlab-token",
    "x-hook-signature", "x-hub-signature", "x-hub-signature-256", "x-shopify-api-version", "x-shopify-event-id",
    "x-shopify-hmac-sha256", "x-shopify-shop-domain", "x-shopify-topic", "x-shopify-triggered-at", "x-shopify-webhook-id",
    "x-signature", "x-signature-ed25519", "x-signature-timestamp", "x-slack-request-timestamp", "x-slack-signature",
    "x-twilio-signature", "x-webhook-id",
];

static PLACES: LazyLock<HashMap<&str, u8>> = LazyLock::new(|| NAMES.into_iter().zip(1..).collect());

/// Headers as they are stored.
pub(super) fn encode(headers: &HeaderMap) -> Vec<u8> {
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8).sum::<usize>();
    let mut out = Vec::with_capacity(MARK.len() + bytes);
    out.extend_from_slice(&MARK);
    for (name, value) in headers {
        match PLACES.get(name.as_str()) {
            Some(place) => out.push(*place),
            None => {
                out.push(LITERAL);
                put(&mut out, name.as_str().as_bytes());
            }
        }
        put(&mut out, value.as_bytes());
    }
    out
}

/// The headers back; `None` where these bytes were never written by [`encode`] of this or a former version.
pub(super) fn decode(bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(mut bytes) = bytes.strip_prefix(&MARK) else { return decode_former(bytes) };
    while let Some((place, rest)) = bytes.split_first() {
        let (name, rest) = match usize::from(*place).checked_sub(1) {
            None => take(rest).and_then(|(name, rest)| Some((HeaderName::from_bytes(name).ok()?, rest)))?,
            Some(place) => (HeaderName::from_static(NAMES.get(place)?), rest),
        };
        let (value, rest) = take(rest)?;
        headers.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
        bytes = rest;
    }
    Some(headers)
}

fn decode_former(mut bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        headers.try_append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?).ok()?;
        bytes = rest;
    }
    Some(headers)
}

/// A length in groups of seven bits, the lowest first, and so many bytes.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut len = bytes.len();
    while len > 0x7f {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

fn take(mut bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0;
    // `http` bounds a value far below four groups' 256 MiB.
    for shift in [0, 7, 14, 21] {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return bytes.split_at_checked(len);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_bytes(b"caf\xe9").expect("a value"));
        headers.append("x-a", HeaderValue::from_static(""));
        headers.append("content-type", HeaderValue::from_static("application/json"));
        headers.append("x-b", HeaderValue::from_bytes(&[b'v'; 20_000]).expect("a value"));
        headers.append("content-type", HeaderValue::from_static("again"));
        headers
    }

    #[test]
    fn headers_come_back_in_order_with_odd_bytes_and_repeats() {
        assert_eq!(decode(&encode(&odd())), Some(odd()));
        assert_eq!(decode(&encode(&HeaderMap::new())), Some(HeaderMap::new()));
    }

    #[test]
    fn known_names_take_a_byte_and_each_is_found_by_its_place() {
        for (name, place) in NAMES.into_iter().zip(1..) {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("v"));
            assert_eq!(encode(&headers), [0, 0, place, 1, b'v'], "{name}");
        }
        // Stored rows depend on these.
        assert_eq!((NAMES[0], NAMES[57], NAMES[98]), ("accept", "stripe-signature", "x-webhook-id"));
    }

    #[test]
    fn rows_of_the_former_form_are_read() {
        let stored = b"\x03\x00x-a\x02\x00\x00\x00v1\x0c\x00content-type\x00\x00\x00\x00";
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("v1"));
        headers.append("content-type", HeaderValue::from_static(""));
        assert_eq!(decode(stored), Some(headers));
        assert_eq!(decode(b""), Some(HeaderMap::new()));
    }

    #[test]
    fn damaged_headers_are_refused_and_never_panic() {
        let whole = encode(&odd());
        let known: usize = whole.len() - (2 + 20_000 + 3);
        for cut in (3..whole.len()).filter(|cut| *cut < known || cut % 501 == 0) {
            let same = decode(&whole[..cut]).is_some_and(|headers| headers == odd());
            assert!(!same, "cut at {cut}");
        }
        for at in (0..whole.len()).step_by(7) {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _ = decode(&flipped);
            }
        }
        assert_eq!(decode(&[0, 0, 200, 0]), None, "a place that no version wrote");
        assert_eq!(decode(&[0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff]), None, "a length without an end");
    }
}
