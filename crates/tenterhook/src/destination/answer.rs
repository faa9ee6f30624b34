//! What a handler said, made fit to be kept and shown: bounded, printable, without secrets. Knows bytes and text;
//! knows nothing of where they came from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// The longest excerpt, in bytes.
pub(super) const EXCERPT_BYTES_MAX: usize = 1024;

/// The longest result, in bytes.
pub(super) const RESULT_BYTES_MAX: usize = 4096;

/// What is read of an answer or an output; the rest is not kept.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What follows an excerpt that is not all there was.
const ELLIPSIS: &str = "… (truncated)";

/// Secrets shorter than this would mask innocent text.
const SECRET_BYTES_MIN: usize = 8;

/// The secrets that were sent along: a handler that echoes its request must not bring them into the store.
#[derive(Clone, Default)]
pub(super) struct Masks(Vec<Vec<u8>>);

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({})", self.0.len())
    }
}

impl Masks {
    /// Masks each value, and the part behind its first space (`Bearer TOKEN`).
    pub(super) fn new<'s>(secrets: impl IntoIterator<Item = &'s [u8]>) -> Self {
        let mut masked: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let credentials = secret.splitn(2, |byte| *byte == b' ').nth(1);
            let parts = [Some(secret), credentials].into_iter().flatten();
            masked.extend(parts.filter(|part| part.len() >= SECRET_BYTES_MIN).map(<[u8]>::to_vec));
        }
        // The longest first, so that no rest of a longer one stays behind.
        masked.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(masked)
    }

    /// `bytes` with `***` in place of every secret.
    fn hide(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.iter().fold(bytes.to_vec(), |text, secret| replace(&text, secret))
    }

    /// Whether `bytes` hold one of them.
    pub(super) fn found_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|secret| position(bytes, secret).is_some())
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn replace(mut bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut hidden = Vec::with_capacity(bytes.len());
    while let Some(at) = position(bytes, secret) {
        hidden.extend_from_slice(&bytes[..at]);
        hidden.extend_from_slice(b"***");
        bytes = &bytes[at + secret.len()..];
    }
    hidden.extend_from_slice(bytes);
    hidden
}

/// The beginning of an answer: at most 1 KiB, control characters escaped, ending in a note when there was more.
pub(super) fn excerpt(bytes: &[u8], truncated: bool, masks: &Masks) -> String {
    let kept = &bytes[..bytes.len().min(ANSWER_BYTES_MAX)];
    let text = String::from_utf8_lossy(&masks.hide(kept)).into_owned();
    printable(&text, truncated || kept.len() < bytes.len())
}

/// `text` on one line and within the bound of an excerpt.
pub(super) fn printable(text: &str, truncated: bool) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        let before = shown.len();
        if moves_the_cursor(character) {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > EXCERPT_BYTES_MAX {
            shown.truncate(before);
            return ended(shown);
        }
    }
    if truncated { ended(shown) } else { shown }
}

/// Control characters, and the invisible ones that reorder or hide text.
fn moves_the_cursor(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn ended(mut shown: String) -> String {
    let mut end = shown.len().min(EXCERPT_BYTES_MAX - ELLIPSIS.len());
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    shown.truncate(end);
    shown.push_str(ELLIPSIS);
    shown
}

/// The answer as the event's result: exactly one JSON object of at most 4 KiB that any parser can read (no deep nesting),
/// and that repeats no secret.
pub(super) fn result(bytes: &[u8], masks: &Masks) -> Option<String> {
    let text = bytes.trim_ascii();
    if text.len() > RESULT_BYTES_MAX || !text.starts_with(b"{") || masks.found_in(text) {
        return None;
    }
    serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(text).ok()?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_printable_line_within_its_bound() {
        let none = Masks::default();
        assert_eq!(excerpt(b"fine", false, &none), "fine");
        assert_eq!(excerpt(b"a\r\nb\x1b[2Jc\0", false, &none), "a\\r\\nb\\u{1b}[2Jc\\u{0}");
        assert_eq!(excerpt("x\u{202e}y".as_bytes(), false, &none), "x\\u{202e}y");
        assert_eq!(excerpt(b"half", true, &none), "half… (truncated)");
        for character in ["a", "ä", "€", "\u{1}"] {
            let long = excerpt(character.repeat(5000).as_bytes(), false, &none);
            assert!(long.len() <= EXCERPT_BYTES_MAX && long.ends_with(ELLIPSIS), "{} bytes", long.len());
        }
        assert!(excerpt(&[0xff; 3000], false, &none).len() <= EXCERPT_BYTES_MAX);
    }

    #[test]
    fn exactly_one_small_json_object_is_a_result() {
        let none = Masks::default();
        assert_eq!(result(b" {\"ok\": true}\n", &none).as_deref(), Some("{\"ok\": true}"));
        for other in [&b"[1]"[..], b"null", b"", b"{", b"{}{}", b"{} trailing", b"{\"a\":\xff}", b"ok"] {
            assert_eq!(result(other, &none), None, "{}", String::from_utf8_lossy(other));
        }
        let padded = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes();
        assert!(result(&padded(RESULT_BYTES_MAX), &none).is_some());
        assert!(result(&padded(RESULT_BYTES_MAX + 1), &none).is_none());
        assert!(
            result(format!("{{\"a\":{}1{}}}", "[".repeat(1000), "]".repeat(1000)).as_bytes(), &none)
                .is_none()
        );
    }

    #[test]
    fn what_was_sent_as_a_secret_never_comes_back() {
        let masks = Masks::new([&b"Bearer token-0123456789"[..], b"short"]);
        let echoed = excerpt(b"you sent Bearer token-0123456789, or token-0123456789; short", false, &masks);
        assert_eq!(echoed, "you sent ***, or ***; short");
        assert_eq!(result(b"{\"authorization\":\"Bearer token-0123456789\"}", &masks), None);
    }
}
