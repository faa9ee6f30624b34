//! Sample events: what a provider sends, with places for what is new in each. Short bodies stand in the catalog's entry;
//! long ones are files of `samples/` (see [`super::files`]). It does not know what a scheme signs.

use std::borrow::Cow;

use aws_lc_rs::digest;

use super::files::FILES;

/// How deep parts may stand in parts.
const DEPTH_MAX: usize = 4;

/// A sample event of a provider: headers and a body with places that [`Sample::fill`] fills in.
///
/// | place | becomes |
/// |---|---|
/// | `{id}` | the id that is given, as it is |
/// | `{number}` | twelve digits made from it: another id, another number |
/// | `{now}` | the time, in seconds since 1970 |
/// | `{time}`, `{time_ms}` | the same as RFC 3339: `2026-01-01T12:34:56Z`, `2026-01-01T12:34:56.000Z` |
/// | `{>NAME}` | a part that several bodies share |
#[derive(Clone, Debug)]
pub struct Sample {
    /// The event type, as the provider's entry finds it in the event.
    pub event_type: String,
    /// Headers besides the signature's own.
    pub headers: Vec<(String, String)>,
    /// The body as written: with line breaks and indentation, which are not sent, or without.
    pub body: Cow<'static, str>,
}

impl Sample {
    /// Headers and body as they are sent, for an event of that id at that time (seconds since 1970).
    #[must_use]
    pub fn fill(&self, id: &str, now_unix: u64) -> (Vec<(String, String)>, String) {
        let places = places(id, now_unix);
        let fill = |text: &str| {
            places.iter().fold(text.to_owned(), |text, (place, value)| {
                if text.contains(place) { text.replace(place, value) } else { text }
            })
        };
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        let body = if self.body.contains('\n') { compact(&self.body) } else { self.body.to_string() };
        (headers, fill(&body))
    }
}

/// The embedded file of that name, without its `.json`.
pub(super) fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of the embedded files.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

fn places(id: &str, now_unix: u64) -> [(&'static str, String); 5] {
    let time = i64::try_from(now_unix).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let time = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    [
        ("{id}", id.to_owned()),
        ("{number}", number(id).to_string()),
        ("{now}", now_unix.to_string()),
        ("{time}", time.to_string()),
        ("{time_ms}", format!("{time:.3}")),
    ]
}

/// Twelve digits, the first of them none of the leading zeros that JSON refuses.
fn number(id: &str) -> u64 {
    let digest = digest::digest(&digest::SHA256, id.as_bytes());
    let wide = digest.as_ref().iter().take(8).fold(0_u64, |wide, byte| wide << 8 | u64::from(*byte));
    100_000_000_000 + wide % 900_000_000_000
}

/// JSON without the space between its tokens, and with its parts put in.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    append(text, &mut out, 0);
    out
}

fn append(text: &str, out: &mut String, depth: usize) {
    let (mut rest, mut within, mut escaped) = (text, false, false);
    while let Some(character) = rest.chars().next() {
        if !within && depth < DEPTH_MAX && rest.starts_with("{>") {
            let (name, behind) = rest.split_once('}').unwrap_or((rest, ""));
            append(file(name.trim_start_matches("{>")).unwrap_or(name), out, depth + 1);
            rest = behind;
            continue;
        }
        rest = &rest[character.len_utf8()..];
        if within || !character.is_ascii_whitespace() {
            out.push(character);
        }
        let quote = character == '"' && !escaped;
        escaped = within && character == '\\' && !escaped;
        within ^= quote;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_taken_from_between_tokens_and_never_from_within_text() {
        for (written, sent) in [
            ("{\n  \"a\": [ 1, 2 ],\n  \"b c\": \"d  e\"\n}\n", r#"{"a":[1,2],"b c":"d  e"}"#),
            ("{ \"a\": \"\\\" { b\\\\\", \"c\" : {now} }\n", r#"{"a":"\" { b\\","c":{now}}"#),
            ("{ \"a\": \"é {>b}\" }\n", r#"{"a":"é {>b}"}"#),
        ] {
            assert_eq!(compact(written), sent);
        }
    }

    #[test]
    fn another_id_is_another_number_of_the_same_length() {
        let numbers = ["1", "2", "evt_3"].map(number);
        assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2], "{numbers:?}");
        assert!(numbers.iter().all(|number| number.to_string().len() == 12), "{numbers:?}");
    }

    #[test]
    fn a_time_is_written_as_providers_write_it() {
        let body = Cow::Borrowed("{now} {time} {time_ms} {id}");
        let sample = Sample { event_type: String::new(), headers: Vec::new(), body };
        let (_, body) = sample.fill("x", 1_767_271_500);
        assert_eq!(body, "1767271500 2026-01-01T12:45:00Z 2026-01-01T12:45:00.000Z x");
    }
}
