//! What the gateway tells a handler about an event, whatever the kind of destination: names, values, a trace. Knows
//! neither headers nor environment variables: each kind writes these in its own form.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::model::Message;

/// The facts about an event, as name and value. A header is `tenterhook-` and the name, an environment variable
/// `TENTERHOOK_` and the name in upper case with `_`.
/// - `event-id`: our id (`evt_…`), the same on every attempt: what a handler that must not act twice remembers
/// - `provider-event-id`: the provider's own id, where it gave one
/// - `source`, `provider`, `event-type`, `attempt` (from 1), `correlation-id`, `original-url` (path and query)
/// - `first-received`: RFC 3339 in UTC with milliseconds
/// - `replay-suspect`: `true` where the same signed content came before under another id; else absent
pub(super) fn facts(message: &Message) -> Vec<(&'static str, Cow<'_, str>)> {
    let mut facts = vec![("event-id", Cow::Owned(message.id.to_string()))];
    if let Some(id) = &message.provider_event_id {
        facts.push(("provider-event-id", Cow::Borrowed(id.as_str())));
    }
    facts.extend([
        ("source", Cow::Borrowed(message.source.as_str())),
        ("provider", Cow::Borrowed(message.provider.as_str())),
        ("event-type", Cow::Borrowed(message.event_type.as_str())),
        ("attempt", Cow::Owned(message.attempt.to_string())),
        ("first-received", Cow::Owned(message.first_received.rfc3339())),
        ("correlation-id", Cow::Borrowed(message.correlation_id.as_str())),
        ("original-url", Cow::Borrowed(message.original_url.as_str())),
    ]);
    if message.replay_suspect {
        facts.push(("replay-suspect", Cow::Borrowed("true")));
    }
    facts
}

/// The trace of this attempt in W3C form. The sender's own stays; where it gave none, or one that is not valid, all
/// attempts of the event share a new trace, each with a span of its own, and the flag says that nobody records it.
pub(super) fn traceparent(message: &Message) -> Cow<'_, str> {
    if let Some(given) = given_traceparent(message) {
        return Cow::Borrowed(given);
    }
    let event = message.id.raw().to_be_bytes();
    let trace = xxh3_128(&[&event[..], message.correlation_id.as_bytes()].concat()).max(1);
    let span = xxh3_64(&[&event[..], &message.attempt.to_be_bytes()].concat()).max(1);
    Cow::Owned(format!("00-{trace:032x}-{span:016x}-00"))
}

/// The sender's trace, if there is exactly one and it is valid.
pub(super) fn given_traceparent(message: &Message) -> Option<&str> {
    let mut values = message.headers.get_all("traceparent").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().filter(|text| is_traceparent(text)),
        _ => None,
    }
}

fn is_traceparent(text: &str) -> bool {
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags, rest @ ..] = &fields[..] else { return false };
    let hex = |field: &str, digits: usize| {
        field.len() == digits && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |field: &str| field.bytes().any(|byte| byte != b'0');
    // Version 00 ends here; later versions may append fields.
    let ends = rest.is_empty() || (*version != "00" && text.len() <= 128);
    hex(version, 2)
        && *version != "ff"
        && ends
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && some(trace)
        && some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_w3c_form_is_a_traceparent() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        assert!(is_traceparent(&format!("00-{trace}-{span}-01")));
        assert!(is_traceparent(&format!("01-{trace}-{span}-01-more")));
        for bad in [
            String::new(),
            "junk".to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
        ] {
            assert!(!is_traceparent(&bad), "{bad}");
        }
    }
}
