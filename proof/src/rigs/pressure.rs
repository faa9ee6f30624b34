//! What the rigs about pressure share: the promise kept to every receipt of a flood, and memory watched over time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lab::flood::Answer;
use crate::lab::measure::open_files;
use crate::lab::{Counter, Flood, Gateway, until};
use crate::rig::Tally;

/// How long the backlog of a flood may take to be delivered.
const DRAIN: Duration = Duration::from_secs(300);

/// Waits until everything was delivered, and holds the receipts against the ledger and the handler.
pub(super) async fn kept(gateway: &Gateway, answers: &[Answer], handler: &Counter) -> anyhow::Result<Tally> {
    let at_rest = async || {
        let ledger = gateway.admin("/api/v1/ledger").await?;
        anyhow::ensure!(ledger["balanced"] == true, "the ledger does not balance: {ledger}");
        let settled = ledger["deliveries"]["pending"] == 0 && ledger["deliveries"]["leased"] == 0;
        Ok(settled.then_some(ledger))
    };
    let ledger = until("the backlog is delivered", DRAIN, at_rest).await?;
    let counted = gateway.admin("/api/v1/ledger?verify=true").await?;
    let mut tally = Tally::default();
    tally.check(counted["verified"]["matches"] == true, || format!("the rows say otherwise: {counted}"));
    let delivered = handler.delivered();
    let acked = answers.iter().filter(|it| it.acked()).count() as u64;
    let refused = answers.len() as u64 - acked;
    let accepted = ledger["events"]["accepted"].as_u64().unwrap_or_default();
    let lost = answers.iter().filter(|it| it.acked() && !delivered.contains_key(&it.n)).count();
    tally.check(lost == 0, || format!("{lost} of {acked} acknowledged events were never delivered"));
    tally.check((acked..=acked + refused).contains(&accepted), || {
        format!("{acked} acknowledged, {refused} refused, {accepted} accepted")
    });
    tally.check(handler.wrong() == 0, || format!("{} deliveries were never sent", handler.wrong()));
    tally.count("events acknowledged", acked);
    tally.count("requests refused", refused);
    tally.count("refused but stored all the same", accepted.saturating_sub(acked));
    Ok(tally)
}

/// Sends so many more requests over `senders` connections; how many were answered with which status.
pub(super) async fn statuses(flood: &Arc<Flood>, senders: usize, requests: u64) -> BTreeMap<u16, u64> {
    // In pieces, so that the answers of millions need no memory here.
    let (end, mut all) = (flood.next() + requests, BTreeMap::new());
    while flood.next() < end {
        let until = end.min(flood.next() + 20_000);
        for answer in flood.closed_while(senders, move |next| next < until).await {
            *all.entry(answer.status).or_default() += 1;
        }
    }
    all
}

/// Looks at a gateway's memory and open files ten times a second, until it is dropped.
pub(super) struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    work: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Sample {
    at_s: f64,
    rss_mib: f64,
    files: usize,
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Sampler {
    pub(super) fn start(gateway: &Gateway) -> anyhow::Result<Self> {
        let (pid, samples) = (gateway.pid()?, Arc::<Mutex<Vec<Sample>>>::default());
        let kept = Arc::clone(&samples);
        let work = tokio::spawn(async move {
            let (began, mut every) = (Instant::now(), tokio::time::interval(Duration::from_millis(100)));
            loop {
                every.tick().await;
                let (Ok(rss_mib), Ok(files)) = (crate::lab::gateway::rss_mib(pid), open_files(pid)) else {
                    return;
                };
                let sample = Sample { at_s: began.elapsed().as_secs_f64(), rss_mib, files };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Ok(Self { samples, work })
    }

    /// Seconds since the start, and MiB then.
    pub(super) fn samples(&self) -> Vec<(f64, f64)> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().map(|sample| (sample.at_s, sample.rss_mib)).collect()
    }

    /// Notes the largest of both, and whether they were too large.
    pub(super) fn bounded(&self, tally: &mut Tally, rss_max_mib: f64, files_max: usize) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rss = samples.iter().map(|sample| sample.rss_mib).fold(0.0, f64::max);
        let files = samples.iter().map(|sample| sample.files).max().unwrap_or_default();
        tally.check(!samples.is_empty(), || "nobody looked at the memory".to_owned());
        tally.check(rss <= rss_max_mib, || format!("{rss:.0} MiB resident"));
        tally.check(files <= files_max, || format!("{files} open files"));
        tally.worst("rss_max_mib", rss);
        tally.worst("open_files", files as f64);
    }
}

/// The slope of a line through the samples (least squares), MiB per hour.
pub(super) fn slope_per_hour(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let together: f64 = samples.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    let alone: f64 = samples.iter().map(|it| (it.0 - x).powi(2)).sum();
    if alone == 0.0 { 0.0 } else { together / alone * 3600.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let samples: Vec<(f64, f64)> =
            (0..100).map(|s| (f64::from(s), 40.0 + f64::from(s) / 3600.0)).collect();
        assert!((slope_per_hour(&samples) - 1.0).abs() < 1e-6);
        assert_eq!(slope_per_hour(&[]), 0.0);
    }
}
