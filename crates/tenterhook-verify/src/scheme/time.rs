//! Timestamps: where one stands, what form it has, how old it may be. The clock is an argument.

use std::time::{Duration, SystemTime};

use http::HeaderName;

use crate::error::{Reason, VerifyError, refuse};
use crate::locate::Locator;

/// The longest number that is read: the digits of `i64::MAX`.
const DIGITS_MAX: usize = 19;
/// The longest RFC 3339 text that is read: nanoseconds and an offset.
const RFC3339_BYTES_MAX: usize = 35;

/// The form of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Rfc3339,
}

/// Where the timestamp stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeAt {
    /// In a header of its own.
    Header(HeaderName),
    /// In the signature header, under a key of the list grammar.
    List,
    /// In the JSON body.
    Json(Locator),
}

/// The rule for one scheme's timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeRule {
    pub(crate) at: TimeAt,
    pub(crate) unit: Unit,
    /// `None`: read and required, but never too old.
    pub(crate) tolerance: Option<Duration>,
    /// Whether a timestamp ahead of the clock by more than the tolerance is refused.
    pub(crate) future: bool,
}

impl TimeRule {
    /// Reads `text` and judges it against the clock. `tolerance` replaces the rule's own.
    pub(crate) fn judge(
        &self,
        text: &str,
        tolerance: Option<Duration>,
        now: SystemTime,
    ) -> Result<SystemTime, VerifyError> {
        let at = self.read(text)?;
        let Some(tolerance) = tolerance.or(self.tolerance) else { return Ok(at) };
        match now.duration_since(at) {
            Ok(age) => {
                // A provider that writes whole seconds means whole seconds: `now` is cut the same way.
                let age = if self.unit == Unit::Seconds { Duration::from_secs(age.as_secs()) } else { age };
                if age > tolerance {
                    let detail = format!("{} s old, tolerance {} s", age.as_secs(), tolerance.as_secs());
                    return Err(refuse(Reason::TimestampTooOld, detail));
                }
            }
            Err(ahead) if self.future && ahead.duration() > tolerance => {
                let ahead = ahead.duration().as_secs();
                let detail = format!("{ahead} s ahead of the clock, tolerance {} s", tolerance.as_secs());
                return Err(refuse(Reason::TimestampInFuture, detail));
            }
            Err(_) => {}
        }
        Ok(at)
    }

    /// Reads only the one canonical form: what a lenient parser turns into another time must not be signed twice.
    fn read(&self, text: &str) -> Result<SystemTime, VerifyError> {
        let malformed = |what: &str| refuse(Reason::MalformedTimestamp, what);
        if self.unit == Unit::Rfc3339 {
            return rfc3339(text).ok_or_else(|| malformed("not an RFC 3339 date and time"));
        }
        let canonical = !text.is_empty()
            && text.len() <= DIGITS_MAX
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'));
        if !canonical {
            return Err(malformed("not a canonical number: digits only, no sign, no leading zero"));
        }
        // Where nothing may be too old, a digit could go over to what is signed behind the timestamp, or come from there.
        // Until the year 2286 all of them are as long.
        let digits = if self.unit == Unit::Millis { 13 } else { 10 };
        if self.tolerance.is_none() && text.len() != digits {
            return Err(malformed("not as many digits as a time of these days has"));
        }
        let number: u64 = text.parse().map_err(|_| malformed("number too large"))?;
        let since = match self.unit {
            Unit::Millis => Duration::from_millis(number),
            Unit::Seconds | Unit::Rfc3339 => Duration::from_secs(number),
        };
        SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(|| malformed("beyond the range of the clock"))
    }

    /// The text of `now` in the rule's unit: what `sign` writes.
    pub(crate) fn write(&self, now: SystemTime) -> Option<String> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        match self.unit {
            Unit::Seconds => Some(since.as_secs().to_string()),
            Unit::Millis => Some(since.as_millis().to_string()),
            Unit::Rfc3339 => {
                let millis = i64::try_from(since.as_millis()).ok()?;
                Some(jiff::Timestamp::from_millisecond(millis).ok()?.to_string())
            }
        }
    }
}

/// Reads `2026-11-25T04:05:06.789Z` or with an offset; nothing looser.
pub(crate) fn rfc3339(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let shaped = (20..=RFC3339_BYTES_MAX).contains(&bytes.len())
        && bytes.get(10) == Some(&b'T')
        && bytes.iter().take(10).all(|byte| byte.is_ascii_digit() || *byte == b'-')
        && bytes.first().is_some_and(u8::is_ascii_digit)
        && bytes.iter().skip(11).all(|byte| byte.is_ascii_digit() || b":.+-Z".contains(byte));
    if !shaped {
        return None;
    }
    SystemTime::try_from(text.parse::<jiff::Timestamp>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(unit: Unit, future: bool) -> TimeRule {
        TimeRule { at: TimeAt::List, unit, tolerance: Some(Duration::from_secs(300)), future }
    }

    fn reason(rule: &TimeRule, text: &str, now_ms: u64) -> Option<Reason> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
        rule.judge(text, None, now).err().map(|error| error.reason)
    }

    #[test]
    fn only_canonical_numbers_are_read() {
        let rule = rule(Unit::Seconds, true);
        let now = 1_700_000_000_000;
        assert_eq!(reason(&rule, "1700000000", now), None);
        for text in [
            "",
            "+1700000000",
            "-1700000000",
            " 1700000000",
            "1700000000 ",
            "01700000000",
            "1.7e9",
            "1700000000.0",
            "0x6553f100",
            "17000000001700000000",
            "١٧٠٠٠٠٠٠٠٠",
            "1_700_000_000",
        ] {
            assert_eq!(reason(&rule, text, now), Some(Reason::MalformedTimestamp), "{text:?}");
        }
        assert_eq!(reason(&rule, "9999999999999999999", now), Some(Reason::MalformedTimestamp));
    }

    #[test]
    fn without_a_tolerance_a_timestamp_has_all_its_digits() {
        for (unit, text) in [(Unit::Seconds, "1700000000"), (Unit::Millis, "1700000000000")] {
            let rule = TimeRule { tolerance: None, ..rule(unit, true) };
            assert_eq!(reason(&rule, text, 0), None);
            for other in [&text[1..], &text[..text.len() - 1], &format!("{text}0")] {
                assert_eq!(reason(&rule, other, 0), Some(Reason::MalformedTimestamp), "{other}");
            }
        }
    }

    #[test]
    fn the_tolerance_is_inclusive_on_both_sides() {
        let rule = rule(Unit::Seconds, true);
        assert_eq!(reason(&rule, "1000", 1_300_999), None, "whole seconds");
        assert_eq!(reason(&rule, "1000", 1_301_000), Some(Reason::TimestampTooOld));
        assert_eq!(reason(&rule, "1000", 700_000), None);
        assert_eq!(reason(&rule, "1000", 699_999), Some(Reason::TimestampInFuture));
        let lenient = self::rule(Unit::Seconds, false);
        assert_eq!(reason(&lenient, "1000", 0), None);
    }

    #[test]
    fn rfc3339_is_read_in_its_strict_form_only() {
        let rule = rule(Unit::Rfc3339, true);
        let now = 1_700_000_000_000;
        assert_eq!(reason(&rule, "2023-11-14T22:13:20Z", now), None);
        assert_eq!(reason(&rule, "2023-11-14T22:13:20.123456789Z", now), None);
        assert_eq!(reason(&rule, "2023-11-14T23:13:20+01:00", now), None);
        for text in ["2023-11-14 22:13:20Z", "2023-11-14T22:13:20", "2023-11-14", "20231114T221320Z", "now"] {
            assert_eq!(reason(&rule, text, now), Some(Reason::MalformedTimestamp), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        for unit in [Unit::Seconds, Unit::Millis, Unit::Rfc3339] {
            let rule = rule(unit, true);
            let text = rule.write(now).unwrap();
            assert!(rule.judge(&text, Some(Duration::from_secs(1)), now).is_ok(), "{text}");
        }
    }
}
