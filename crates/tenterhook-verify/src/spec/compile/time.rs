//! The timestamp rule, from its words.

use std::time::Duration;

use super::{Problems, SchemeSpec, TimestampSpec, one_of, parse_duration};
use crate::SpecError;
use crate::scheme::time::{TimeAt, TimeRule, Unit};

/// The tolerance of a timestamp that names none.
const TOLERANCE: Duration = Duration::from_secs(300);

/// The longest tolerance that can be written.
const TOLERANCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The outer `Option` is failure, the inner one absence.
#[expect(clippy::option_option, reason = "a timestamp may rightly be absent, and may be wrong")]
pub(super) fn rule(spec: &SchemeSpec, problems: &mut Problems) -> Option<Option<TimeRule>> {
    let listed = spec.list.as_ref().and_then(|list| list.timestamp.as_ref());
    let timestamp = match (&spec.timestamp, listed) {
        (None, None) => return Some(None),
        (Some(timestamp), _) => timestamp.clone(),
        (None, Some(_)) => TimestampSpec::default(),
    };
    let before = problems.0.len();
    let at = time_at(&timestamp, listed.is_some(), problems);
    let unit = match timestamp.unit.as_deref() {
        None | Some("s") => Some(Unit::Seconds),
        Some("ms") => Some(Unit::Millis),
        Some("rfc3339") => Some(Unit::Rfc3339),
        Some(other) => {
            problems.add(
                "timestamp.unit",
                format!("`{other}` is not a unit"),
                one_of(&["s", "ms", "rfc3339"]),
            );
            None
        }
    };
    let tolerance = match timestamp.tolerance.as_deref() {
        None => Some(TOLERANCE),
        Some("none") => None,
        Some(text) => match parse_duration(text) {
            Ok(tolerance) if tolerance > TOLERANCE_MAX => {
                problems.add(
                    "timestamp.tolerance",
                    format!("`{text}` is longer than a day: whoever caught a request could send it again until then"),
                    "`5m` is usual; `none` where the provider signs old times",
                );
                None
            }
            Ok(tolerance) if !tolerance.is_zero() => Some(tolerance),
            Ok(_) => {
                problems.add(
                    "timestamp.tolerance",
                    "a tolerance of zero refuses everything",
                    "`5m`, or `none`",
                );
                None
            }
            Err(message) => {
                problems.add(
                    "timestamp.tolerance",
                    message,
                    "a number and `ms`, `s`, `m`, `h` or `d`, such as `5m`",
                );
                None
            }
        },
    };
    if problems.0.len() > before {
        return None;
    }
    Some(Some(TimeRule { at: at?, unit: unit?, tolerance, future: timestamp.future.unwrap_or(true) }))
}

fn time_at(timestamp: &TimestampSpec, listed: bool, problems: &mut Problems) -> Option<TimeAt> {
    let in_list = timestamp.list.is_some() || listed;
    let places = [timestamp.header.is_some(), in_list, timestamp.json.is_some()];
    match places.iter().filter(|set| **set).count() {
        1 => {}
        0 => {
            problems.add(
                "timestamp",
                "it does not say where the timestamp stands",
                "set `header`, `list` or `json`",
            );
            return None;
        }
        _ => {
            problems.add(
                "timestamp",
                "more than one place for the timestamp",
                "keep one of `header`, `list`, `json`",
            );
            return None;
        }
    }
    if let Some(name) = &timestamp.header {
        return problems.header("timestamp.header", name).map(TimeAt::Header);
    }
    if let Some(pointer) = &timestamp.json {
        return match format!("json:{pointer}").parse() {
            Ok(locator) => Some(TimeAt::Json(locator)),
            Err(error) => {
                let error: SpecError = error;
                problems.add("timestamp.json", error.message, error.hint);
                None
            }
        };
    }
    Some(TimeAt::List)
}
