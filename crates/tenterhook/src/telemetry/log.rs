//! Structured logs: stable event names, values as fields, never a payload, never a secret. One event is one line, in
//! JSON as in text for people: nothing that a sender puts into a value can begin another line or reach the terminal.

mod json;
mod lines;

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt as layer};

use json::JsonLine;
use lines::Lines;

/// What [`flush`] flushes.
static STDERR: OnceLock<Lines> = OnceLock::new();

/// Why logging could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("`{filter}` is not a log filter: {message}")]
    Filter {
        /// As written.
        filter: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no thread for it.
    #[error("cannot start the thread that writes the log: {0}")]
    NoThread(String),
    /// Something else in this process logs already.
    #[error("logging is set up already")]
    Taken,
}

/// Starts logging to stderr, for the whole process: one JSON object a line, or text for people.
///
/// # Errors
/// The filter is none (`info`, `tenterhook=debug,warn`), or logging was started before.
pub fn init(json: bool, filter: &str) -> Result<(), LogError> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = Lines::start().map_err(|error| LogError::NoThread(error.to_string()))?;
    subscriber(json, filter, colours, lines.clone())?.try_init().map_err(|_| LogError::Taken)?;
    STDERR.set(lines).map_err(|_| LogError::Taken)
}

/// Writes the lines that still gather: the last thing that a process does.
pub fn flush() {
    if let Some(lines) = STDERR.get() {
        lines.flush();
    }
}

/// What [`init`] starts, with another writer.
///
/// # Errors
/// The filter is none.
pub fn subscriber<W>(
    json: bool,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let chosen = EnvFilter::try_new(filter).map_err(|error| LogError::Filter {
        filter: filter.chars().take(200).collect(),
        message: error.to_string(),
    })?;
    // A reader that went away must not take the gateway with it: a failed write is not reported on stderr, of all.
    let common = layer::Subscriber::builder()
        .with_writer(writer)
        .with_env_filter(chosen)
        .with_ansi(colours)
        .log_internal_errors(false);
    Ok(if json {
        Box::new(common.event_format(JsonLine).finish())
    } else {
        Box::new(common.fmt_fields(format::debug_fn(write_field).delimited(" ")).finish())
    })
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut escaped = Escaped(writer);
    match field.name() {
        "message" => write!(escaped, "{value:?}"),
        name => write!(escaped, "{name}={value:?}"),
    }
}

/// Writes control characters, and those that turn or break a line, as `\u{1b}`.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, unsafe_char)) = rest.char_indices().find(|(_, char)| is_unsafe(*char)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", unsafe_char.escape_default())?;
            rest = &rest[at + unsafe_char.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, filter: &str, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(json, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    const EVIL: &str = "x\r\n2026-01-01 ERROR forged \u{1b}[2J\u{9b}31m\u{202e}\u{2028}\0";

    #[test]
    fn nothing_in_a_value_begins_another_line_or_reaches_the_terminal() {
        for json in [false, true] {
            let text = logged(json, "info", || {
                tracing::info!(event_type = EVIL, event_id = %EVIL, debugged = ?EVIL, "webhook_received");
                tracing::info!("{EVIL}");
            });
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 2, "{text:?}");
            assert!(
                !text.trim_end_matches('\n').replace('\n', "").chars().any(|char| char.is_ascii_control())
            );
            assert!(lines[0].contains("webhook_received"));
            if !json {
                assert!(!text.contains(['\u{202e}', '\u{2028}', '\u{9b}']), "{text:?}");
            }
        }
    }

    #[test]
    fn a_json_line_is_flat() {
        let text = logged(true, "info", || {
            tracing::info!(correlation_id = "c1", status = 202, processing_time_ms = 1.5, "webhook_received");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "webhook_received");
        assert_eq!(line["correlation_id"], "c1");
        assert_eq!(line["status"], 202);
        assert_eq!(line["processing_time_ms"], 1.5);
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn text_for_people_reads_as_name_and_fields() {
        let text = logged(false, "info", || {
            tracing::info!(source = %"stripe", status = 202, "webhook_received");
            tracing::debug!("not shown");
        });
        assert!(text.ends_with("webhook_received source=stripe status=202\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_its_text() {
        let refused =
            subscriber(false, "tenterhook=verbose", false, io::sink).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.starts_with("`tenterhook=verbose` is not a log filter")));
    }
}
