//! The figures of a row: medians over pairs of measurements, taken in turns so that what the machine does besides hits
//! all targets alike, and ratios within each pair.

use serde::Serialize;

use crate::measure::{Sample, Shape};
use crate::target::Kind;

/// One line of the table and one object of the JSON. What does not apply is `null`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// Which measurement.
    pub row: String,
    /// Of what: `bare`, `bound`, `accept` or `deliver`.
    pub target: &'static str,
    /// Connections of the load.
    pub connections: Option<u32>,
    /// Length of a body.
    pub body_bytes: Option<usize>,
    /// Events in the store before.
    pub history_events: u64,
    /// Requests per second that were wanted, for an open loop.
    pub open_rate: Option<f64>,
    /// How much longer every fsync took, in milliseconds.
    pub sync_delay_ms: f64,
    /// Events per second: median.
    pub rate: Option<f64>,
    /// The least and the most of them.
    pub rate_range: Option<(f64, f64)>,
    /// `rate` by that of `bare` in the same pair: median.
    pub ratio_to_axum: Option<f64>,
    /// `rate` by that of `bound` in the same pair: median.
    pub ratio_to_bound: Option<f64>,
    /// The least and the most of them.
    pub ratio_to_bound_range: Option<(f64, f64)>,
    /// `rate` by that of the same target without history in the same pair: median.
    pub ratio_to_empty: Option<f64>,
    /// `p99_ms` by that of `bound` in the same pair: median.
    pub p99_to_bound: Option<f64>,
    /// Of the acknowledgement.
    pub p50_ms: Option<f64>,
    /// Of the acknowledgement.
    pub p99_ms: Option<f64>,
    /// Of the acknowledgement.
    pub p999_ms: Option<f64>,
    /// From the sending to the handler.
    pub delivered_p50_ms: Option<f64>,
    /// From the sending to the handler.
    pub delivered_p99_ms: Option<f64>,
    /// CPU of the target per event.
    pub cpu_us_per_event: Option<f64>,
    /// The most memory of the target.
    pub rss_mib: Option<f64>,
    /// Bytes written to the disk per event.
    pub bytes_per_event: Option<f64>,
    /// CPU of the load, in cores.
    pub load_cores: Option<f64>,
    /// How many times it was measured.
    pub pairs: usize,
    /// A single figure, for rows that are not about rates.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: Option<&'static str>,
}

/// A target of a row with its samples, one per pair.
#[derive(Debug)]
pub(crate) struct Series {
    /// What.
    pub kind: Kind,
    /// Events in its store before.
    pub history: u64,
    /// Requests per second that were wanted.
    pub open_rate: Option<f64>,
    /// Where its store is, for one that stays; `None`: a new one each time.
    pub home: Option<tempfile::TempDir>,
    /// One per pair.
    pub samples: Vec<Sample>,
}

/// The rows of targets that were measured in turns.
pub(crate) fn rows(name: &str, shape: Shape, series: &[Series]) -> Vec<Row> {
    let rate = |sample: &Sample| sample.rate;
    let base =
        |kind: Kind, history: u64| series.iter().find(|one| one.kind == kind && one.history == history);
    series
        .iter()
        .map(|one| {
            let ratio = |other: Option<&Series>, of: fn(&Sample) -> f64| -> Option<Vec<f64>> {
                let pairs = one.samples.iter().zip(&other?.samples);
                Some(pairs.map(|(mine, base)| of(mine) / of(base)).collect())
            };
            let of = |figure: fn(&Sample) -> f64| {
                median(&one.samples.iter().map(figure).collect::<Vec<_>>()).filter(|figure| *figure != 0.0)
            };
            let to_bound = ratio(base(Kind::Bound, 0), rate);
            let to_empty = if one.history == 0 { None } else { ratio(base(one.kind, 0), rate) };
            Row {
                row: name.to_owned(),
                target: one.kind.name(),
                connections: Some(shape.connections),
                body_bytes: Some(shape.body_bytes),
                history_events: one.history,
                open_rate: one.open_rate,
                sync_delay_ms: shape.sync_delay.as_secs_f64() * 1e3,
                rate: of(rate),
                rate_range: range(&one.samples.iter().map(rate).collect::<Vec<_>>()),
                ratio_to_axum: ratio(base(Kind::Bare, 0), rate).and_then(|ratios| median(&ratios)),
                ratio_to_bound: to_bound.as_deref().and_then(median),
                ratio_to_bound_range: to_bound.as_deref().and_then(range),
                ratio_to_empty: to_empty.as_deref().and_then(median),
                p99_to_bound: ratio(base(Kind::Bound, 0), |sample| sample.p99_ms)
                    .and_then(|ratios| median(&ratios)),
                p50_ms: of(|sample| sample.p50_ms),
                p99_ms: of(|sample| sample.p99_ms),
                p999_ms: of(|sample| sample.p999_ms),
                delivered_p50_ms: of(|sample| sample.delivered_p50_ms),
                delivered_p99_ms: of(|sample| sample.delivered_p99_ms),
                cpu_us_per_event: of(|sample| sample.cpu_us),
                rss_mib: of(|sample| sample.rss_mib),
                bytes_per_event: median(&one.samples.iter().map(|sample| sample.bytes).collect::<Vec<_>>()),
                load_cores: of(|sample| sample.load_cores),
                pairs: one.samples.len(),
                value: None,
                unit: None,
            }
        })
        .collect()
}

/// The middle one, or the mean of the two middle ones.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

fn range(figures: &[f64]) -> Option<(f64, f64)> {
    let least = figures.iter().copied().min_by(f64::total_cmp)?;
    let most = figures.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(range(&[2.0, 1.0, 3.0]), Some((1.0, 3.0)));
    }
}
