//! The headers of a delivery: which of the provider's own go on, and what the gateway says itself. Knows header rules;
//! knows nothing of connections or signatures.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::destination::metadata;
use crate::model::Message;

/// The longest value of a header that the gateway makes, in bytes before encoding; what is longer is cut. Common
/// servers refuse a request with more than 8 KiB of headers, and an event that nobody can receive helps nobody.
const VALUE_BYTES_MAX: usize = 2048;

/// Headers that belong to one connection, and not to the message (RFC 9110, section 7.6.1), with what the HTTP library
/// sets itself. `Expect` and `Accept-Encoding` are about the conversation with the sender: a handler must not compress
/// its answer for somebody who is not there.
const OF_THE_CONNECTION: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "max-forwards",
];

/// The Standard Webhooks headers: the gateway's own replace whatever came under these names.
pub(super) const WEBHOOK: [HeaderName; 3] = [
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("webhook-timestamp"),
    HeaderName::from_static("webhook-signature"),
];

/// The provider's own headers as a handler sees them.
/// - without those of the connection, and without every header that `Connection` names
/// - without `Forwarded` and `X-Forwarded-*`: the proxies in front of the gateway said these, not the provider, and a
///   handler may believe them
/// - without anything that a handler could take for the gateway's own: `tenterhook-*`, also written with `_` or in
///   another case (CGI-like servers do not see the difference)
/// - `webhook-id`, `webhook-timestamp` and `webhook-signature` as `tenterhook-original-webhook-*`
pub(super) fn forwarded(message: &Message) -> HeaderMap {
    let named = named_in_connection(&message.headers);
    let mut forwarded = HeaderMap::with_capacity(message.headers.len() + 16);
    for (name, value) in &message.headers {
        let plain = normal(name.as_str());
        let dropped = OF_THE_CONNECTION.contains(&plain.as_ref())
            || plain.starts_with("x-forwarded-")
            || plain.starts_with("tenterhook")
            || named.iter().any(|named| *named == plain);
        if dropped {
            continue;
        }
        if let Some(ours) = WEBHOOK.iter().find(|ours| ours.as_str() == plain) {
            if name == ours {
                forwarded.append(original(ours), value.clone());
            }
            continue;
        }
        forwarded.append(name.clone(), value.clone());
    }
    trace(&mut forwarded, message);
    forwarded
}

/// Adds what the gateway says about the event: `tenterhook-event-id` and so on.
pub(super) fn add_facts(headers: &mut HeaderMap, message: &Message) {
    for (fact, value) in metadata::facts(message) {
        let Some(name) = name_of(fact) else { continue };
        headers.insert(name, value_of(&value, fact == "original-url"));
    }
}

/// The header of a fact. The usual ones are made when this is compiled.
fn name_of(fact: &'static str) -> Option<HeaderName> {
    macro_rules! known {
        ($($known:literal)*) => {
            match fact {
                $($known => const { HeaderName::from_static(concat!("tenterhook-", $known)) },)*
                _ => return HeaderName::try_from(format!("tenterhook-{fact}")).ok(),
            }
        };
    }
    Some(known!(
        "event-id" "provider-event-id" "source" "provider" "event-type" "attempt" "first-received" "correlation-id"
        "original-url" "replay-suspect"
    ))
}

/// Sets a header, in place of everything that a handler could take for it.
pub(super) fn set(headers: &mut HeaderMap, name: &HeaderName, values: impl IntoIterator<Item = HeaderValue>) {
    let plain = normal(name.as_str());
    let alike: Vec<HeaderName> =
        headers.keys().filter(|key| normal(key.as_str()) == plain).cloned().collect();
    for key in alike {
        headers.remove(key);
    }
    for value in values {
        headers.append(name.clone(), value);
    }
}

/// Whether a config may set a header of that name on every delivery.
pub(super) fn is_settable(name: &HeaderName) -> bool {
    let plain = normal(name.as_str());
    let of_the_connection = OF_THE_CONNECTION.contains(&plain.as_ref()) && plain != "host";
    let ours = plain.starts_with("tenterhook") || WEBHOOK.iter().any(|ours| ours.as_str() == plain);
    !of_the_connection && !ours
}

/// The name under which the provider's own value of one of [`WEBHOOK`] goes on.
fn original(name: &HeaderName) -> HeaderName {
    HeaderName::try_from(format!("tenterhook-original-{name}")).unwrap_or_else(|_| name.clone())
}

fn trace(headers: &mut HeaderMap, message: &Message) {
    if metadata::given_traceparent(message).is_some() && headers.contains_key("traceparent") {
        return;
    }
    // A state without its parent means nothing.
    headers.remove("tracestate");
    let made = value_of(&metadata::traceparent(message), false);
    set(headers, &const { HeaderName::from_static("traceparent") }, [made]);
}

fn named_in_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.map(|name| normal(&String::from_utf8_lossy(name.trim_ascii())).into_owned()).collect()
}

/// A name as servers that cannot tell `-` from `_` see it.
fn normal(name: &str) -> Cow<'_, str> {
    let is_normal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().all(is_normal) {
        return Cow::Borrowed(name);
    }
    let seen = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
    Cow::Owned(name.chars().map(seen).collect())
}

/// Any text as a header value. Bytes that a value may not hold are percent-encoded, and so is `%` itself, so that
/// percent-decoding gives the text back; a URL is encoded already, so its own `%` stays. Never fails.
pub(super) fn value_of(text: &str, is_url: bool) -> HeaderValue {
    let kept = cut(text, VALUE_BYTES_MAX);
    if kept.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && (is_url || byte != b'%'))
        && let Ok(plain) = HeaderValue::from_str(kept)
    {
        return plain;
    }
    let trimmed = kept.trim_matches(' ');
    let start = kept.len() - kept.trim_start_matches(' ').len();
    let mut encoded = String::with_capacity(kept.len());
    for (at, byte) in kept.bytes().enumerate() {
        // A receiver strips blanks at the ends.
        let inner = (start..start + trimmed.len()).contains(&at);
        match byte {
            b'%' if !is_url => encoded.push_str("%25"),
            b' ' if inner => encoded.push(' '),
            0x21..=0x7e => encoded.push(char::from(byte)),
            _ => {
                use std::fmt::Write as _;
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_value_and_decoding_gives_it_back() {
        for (text, expected) in [
            ("payment_intent.succeeded", "payment_intent.succeeded"),
            ("a b", "a b"),
            (" a ", "%20a%20"),
            ("  ", "%20%20"),
            ("", ""),
            (
                "x\r\nX-Admin: 1\r\n\r\nGET /admin HTTP/1.1",
                "x%0D%0AX-Admin: 1%0D%0A%0D%0AGET /admin HTTP/1.1",
            ),
            ("nul\0tab\t", "nul%00tab%09"),
            ("prix€", "prix%E2%82%AC"),
            ("100%25", "100%2525"),
        ] {
            let value = value_of(text, false);
            assert_eq!(value.to_str().unwrap(), expected);
            let decoded = percent_encoding::percent_decode_str(expected).decode_utf8().unwrap();
            assert_eq!(decoded, text);
        }
        assert_eq!(value_of("/hooks?a=%20b", true), "/hooks?a=%20b");
        assert!(value_of(&"ü".repeat(70_000), false).len() <= 3 * VALUE_BYTES_MAX);
    }
}
