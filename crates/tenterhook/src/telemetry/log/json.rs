//! One event as one JSON object on one line: timestamp, level, the fields, target. Written straight into the line's
//! buffer, because there is a line for every webhook.

use std::cell::RefCell;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::is_unsafe;
use crate::model::{SystemClock, Timestamp};

/// The format.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        line.write_str("{\"timestamp\":\"")?;
        write_time(&mut line)?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(metadata.level().as_str())?;
        line.write_char('"')?;
        let mut fields = Fields { line: &mut line, outcome: Ok(()) };
        event.record(&mut fields);
        fields.outcome?;
        line.write_str(",\"target\":\"")?;
        line.write_str(metadata.target())?;
        line.write_str("\"}\n")
    }
}

/// The wall clock in RFC 3339, to the millisecond. All but the fraction is written anew once a second only.
fn write_time(line: &mut Writer<'_>) -> fmt::Result {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let now = SystemClock::wall().millis();
    let (this_second, fraction) = (now.div_euclid(1000), now.rem_euclid(1000));
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != this_second {
            *second = this_second;
            *text = Timestamp::from_millis(this_second.saturating_mul(1000)).rfc3339();
            // `2026-01-02T03:04:05.000Z`, up to and with the point.
            text.truncate(text.find('.').map_or(text.len(), |point| point + 1));
        }
        line.write_str(text)
    })?;
    write!(line, "{fraction:03}Z")
}

/// Names of fields and targets stand in the code, where none needs an escape; values come from anywhere.
struct Fields<'a, 'w> {
    line: &'a mut Writer<'w>,
    outcome: fmt::Result,
}

impl Fields<'_, '_> {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let put = |line: &mut Writer<'_>| {
            line.write_str(",\"")?;
            line.write_str(field.name())?;
            line.write_str("\":")?;
            value(line)
        };
        if self.outcome.is_ok() {
            self.outcome = put(self.line);
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, |line| {
            line.write_char('"')?;
            write!(Quoted(line), "{value:?}")?;
            line.write_char('"')
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |line| {
            line.write_char('"')?;
            Quoted(line).write_str(value)?;
            line.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |line| write!(line, "{value}"));
    }

    /// JSON has no word for what is no number.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(
            field,
            |line| if value.is_finite() { write!(line, "{value}") } else { line.write_str("null") },
        );
    }
}

/// Writes text so that it can stand between quotes: JSON's own escapes, and `\u009b` for what turns or breaks a line.
struct Quoted<'a, 'w>(&'a mut Writer<'w>);

impl Write for Quoted<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly every value is this plain.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            return self.0.write_str(text);
        }
        let is_special = |char: char| char == '"' || char == '\\' || is_unsafe(char);
        let mut rest = text;
        while let Some((at, special)) = rest.char_indices().find(|(_, char)| is_special(*char)) {
            self.0.write_str(&rest[..at])?;
            match special {
                '"' | '\\' => {
                    self.0.write_char('\\')?;
                    self.0.write_char(special)?;
                }
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                // None of them is beyond the basic plane.
                _ => write!(self.0, "\\u{:04x}", u32::from(special))?,
            }
            rest = &rest[at + special.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}
