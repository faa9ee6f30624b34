//! What is printed and written: a line for each row as soon as it is there, and all of them as JSON at the end.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::row::Row;

/// Writes one line to stdout.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes one line to stderr. A closed stderr is nobody's business.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The titles of the columns.
pub(crate) fn head() -> io::Result<()> {
    line(
        "row                  target   conns  body  history     rate/s  ÷axum ÷bound (range)       p50 ms  p99 ms p99.9 ms  \
         µs/event  RSS MiB  B/event",
    )
}

/// Rows of rates, or single figures.
pub(crate) fn print(rows: &[Row]) -> io::Result<()> {
    for row in rows {
        line(&match row.value {
            Some(value) => format!("{:<20} {value:.1} {}", row.row, row.unit.unwrap_or_default()),
            None => rates(row),
        })?;
    }
    Ok(())
}

fn rates(row: &Row) -> String {
    let number = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    let range =
        row.ratio_to_bound_range.map_or_else(String::new, |(least, most)| format!("({least:.2}–{most:.2})"));
    let mut text = format!(
        "{:<20} {:<8} {:>5} {:>5} {:>8} {:>10} {:>6} {:>6} {:<12} {:>7} {:>7} {:>8} {:>9} {:>8} {:>8}",
        row.row,
        row.target,
        row.connections.unwrap_or(0),
        row.body_bytes.unwrap_or(0),
        row.history_events,
        number(row.rate, 0),
        number(row.ratio_to_axum, 3),
        number(row.ratio_to_bound, 3),
        range,
        number(row.p50_ms, 2),
        number(row.p99_ms, 2),
        number(row.p999_ms, 2),
        number(row.cpu_us_per_event, 1),
        number(row.rss_mib, 0),
        number(row.bytes_per_event, 0),
    );
    if row.open_rate.is_some() {
        text += &format!("  p99 ÷ bound's {}", number(row.p99_to_bound, 2));
    }
    if let Some(ratio) = row.ratio_to_empty {
        text += &format!("  ÷ empty {ratio:.2}");
    }
    if let Some(p50) = row.delivered_p50_ms {
        text += &format!("  to handler p50 {p50:.1} p99 {} ms", number(row.delivered_p99_ms, 1));
    }
    text
}

/// Writes all rows as one list.
pub(crate) fn write(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let mut text = String::from("[\n");
    for (index, row) in rows.iter().enumerate() {
        text += if index == 0 { "" } else { ",\n" };
        text += &serde_json::to_string(row)?;
    }
    text += "\n]\n";
    Ok(fs::write(path, text)?)
}
