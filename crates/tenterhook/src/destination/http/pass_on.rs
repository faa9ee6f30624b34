//! Which answers of a handler go on to the provider, and which of their headers. Knows what is safe to pass on; knows
//! nothing of who waits for it.

use http::HeaderMap;
use http::header::{self, HeaderName};

use super::exchange::{Answer, Rest};
use crate::destination::answer::Masks;
use crate::model::HandlerAnswer;

/// The headers that say something to a provider. All others are about the handler's own connection, its server or its
/// sessions.
const PASSED_ON: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::RETRY_AFTER,
    HeaderName::from_static("x-slack-no-retry"),
];

/// The answer to a delivery that it confirmed, as the provider may see it. `None`: it is longer than what is read of one, or
/// encoded in a way that the provider has not asked for, or it repeats a secret that was sent along.
pub(super) fn pass_on(answer: Answer, masks: &Masks) -> Option<HandlerAnswer> {
    let Answer { status, headers, body, rest } = answer;
    let is_plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let passed = passed_headers(&headers);
    let repeats_a_secret =
        masks.found_in(&body) || passed.values().any(|value| masks.found_in(value.as_bytes()));
    (rest == Rest::Whole && is_plain && !repeats_a_secret).then_some(HandlerAnswer {
        status,
        headers: passed,
        body,
    })
}

fn passed_headers(headers: &HeaderMap) -> HeaderMap {
    let first = |name: &HeaderName| Some((name.clone(), headers.get(name)?.clone()));
    PASSED_ON.iter().filter_map(first).collect()
}
