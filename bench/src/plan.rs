//! Which rows there are, and in which order things are measured.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::Args;
use crate::history::{Histories, Past};
use crate::measure::{Shape, measure};
use crate::report;
use crate::row::{self, Row, Series};
use crate::single;
use crate::target::{Kind, Programs};

/// Pairs of the rows that a criterion rests on.
const PAIRS: usize = 7;
/// Pairs of the others.
const PAIRS_FEW: usize = 3;
const KIB: usize = 1024;
const MILLION: u64 = 1_000_000;
/// What a slow disk adds to each fsync.
const SLOW: Duration = Duration::from_millis(4);

/// Everything that a run needs.
struct Run<'a> {
    args: &'a Args,
    programs: Programs,
    histories: Histories,
    rows: Vec<Row>,
}

/// Runs what was asked for.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.directory)?;
    let programs = Programs {
        gateway: args.gateway.clone(),
        reference: args.reference.clone(),
        slow_sync: args.slow_sync.clone(),
    };
    let histories = Histories { directory: args.directory.clone(), mark: args.mark.clone() };
    let mut run = Run { args, programs, histories, rows: Vec::new() };
    report::head()?;
    run.closed_loops().await?;
    run.half_rate().await?;
    run.slow_sync().await?;
    run.small_figures().await?;
    if !args.quick {
        run.with_history(MILLION, &[Kind::Accept, Kind::Deliver]).await?;
        run.with_history(5 * MILLION, &[Kind::Accept]).await?;
        run.restarts().await?;
        run.backlog().await?;
    }
    if let Some(path) = &args.json {
        report::write(path, &run.rows).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

impl Run<'_> {
    fn is_wanted(&self, name: &str) -> bool {
        self.args.rows.is_empty() || self.args.rows.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    fn shape(&self, connections: u32, body_bytes: usize) -> Shape {
        Shape {
            connections,
            body_bytes,
            rate: None,
            duration: Duration::from_secs_f64(self.args.seconds),
            sync_delay: Duration::ZERO,
        }
    }

    fn keep(&mut self, rows: Vec<Row>) -> anyhow::Result<()> {
        report::print(&rows)?;
        self.rows.extend(rows);
        Ok(())
    }

    /// Every target as fast as it goes.
    async fn closed_loops(&mut self) -> anyhow::Result<()> {
        for body_bytes in [KIB, 10 * KIB] {
            for connections in [64, 256, 16, 1] {
                let name = format!("closed/{connections}/{body_bytes}");
                let is_quick = (connections, body_bytes) == (64, KIB);
                if !self.is_wanted(&name) || (self.args.quick && !is_quick) {
                    continue;
                }
                let is_key = matches!((connections, body_bytes), (64 | 256, KIB) | (64, _));
                let shape = self.shape(connections, body_bytes);
                let kinds = [Kind::Bare, Kind::Bound, Kind::Accept, Kind::Deliver];
                let mut series = kinds.map(series);
                self.in_turns(&name, if is_key { PAIRS } else { PAIRS_FEW }, shape, &mut series).await?;
                self.keep(row::rows(&name, shape, &series))?;
            }
        }
        Ok(())
    }

    /// Latency of the acknowledgement while there is room: each at half of what it can do.
    async fn half_rate(&mut self) -> anyhow::Result<()> {
        const NAME: &str = "half-rate";
        if !self.is_wanted(NAME) {
            return Ok(());
        }
        let pairs = if self.args.quick { PAIRS_FEW } else { PAIRS };
        let shape = self.shape(64, KIB);
        let mut peaks = [Kind::Bound, Kind::Accept].map(series);
        self.in_turns("half-rate (peak)", PAIRS_FEW, shape, &mut peaks).await?;
        let mut halves = peaks.map(|peak| {
            let rates: Vec<_> = peak.samples.iter().map(|sample| sample.rate).collect();
            Series { open_rate: row::median(&rates).map(|rate| rate / 2.0), samples: Vec::new(), ..peak }
        });
        self.in_turns(NAME, pairs, shape, &mut halves).await?;
        self.keep(row::rows(NAME, shape, &halves))
    }

    /// A disk whose every fsync is slow: what group commit is for.
    async fn slow_sync(&mut self) -> anyhow::Result<()> {
        const NAME: &str = "slow-sync";
        if !self.is_wanted(NAME) {
            return Ok(());
        }
        let pairs = if self.args.quick { PAIRS_FEW } else { PAIRS };
        let shape = Shape { sync_delay: SLOW, ..self.shape(64, KIB) };
        let mut series = [Kind::Bound, Kind::Accept].map(series);
        self.in_turns(NAME, pairs, shape, &mut series).await?;
        self.keep(row::rows(NAME, shape, &series))
    }

    /// Memory at rest, and how long a start takes.
    async fn small_figures(&mut self) -> anyhow::Result<()> {
        if self.is_wanted("idle") {
            let directory = temporary(&self.args.directory)?;
            let mib = single::idle(&self.programs, directory.path()).await?;
            self.keep(vec![single::row("idle", 0, mib, "MiB", 1)])?;
        }
        if self.is_wanted("start") {
            let directory = temporary(&self.args.directory)?;
            let ms = single::start(&self.programs, directory.path()).await?;
            self.keep(vec![single::row("start", 0, ms, "ms to ready", single::STARTS)])?;
        }
        Ok(())
    }

    /// The same targets with and without a past, in turns. A store with a past stays: what one pair adds to it is
    /// there in the next.
    async fn with_history(&mut self, events: u64, kinds: &[Kind]) -> anyhow::Result<()> {
        let name = format!("history/{events}");
        if !self.is_wanted(&name) {
            return Ok(());
        }
        let shape = self.shape(64, KIB);
        let mut all = vec![series(Kind::Bare), series(Kind::Bound)];
        for kind in kinds {
            let home = temporary(&self.args.directory)?;
            self.histories.put(events, Past::Delivered, home.path()).await?;
            all.push(series(*kind));
            all.push(Series { history: events, home: Some(home), ..series(*kind) });
        }
        self.in_turns(&name, PAIRS, shape, &mut all).await?;
        self.keep(row::rows(&name, shape, &all))
    }

    /// How long a start takes after SIGKILL under load.
    async fn restarts(&mut self) -> anyhow::Result<()> {
        for events in [MILLION, 5 * MILLION] {
            let name = format!("restart/{events}");
            if self.is_wanted(&name) {
                let directory = temporary(&self.args.directory)?;
                let shape = self.shape(64, KIB);
                let took = single::restart(&self.programs, &self.histories, events, shape, directory.path());
                let row = single::row(&name, events, took.await?, "ms to ready", single::RESTARTS);
                self.keep(vec![row])?;
            }
        }
        Ok(())
    }

    /// Memory with a million deliveries to make.
    async fn backlog(&mut self) -> anyhow::Result<()> {
        let name = format!("pending/{MILLION}");
        if self.is_wanted(&name) {
            let directory = temporary(&self.args.directory)?;
            let shape = Shape { duration: Duration::from_secs(10), ..self.shape(64, KIB) };
            let mib =
                single::pending(&self.programs, &self.histories, MILLION, shape, directory.path()).await?;
            self.keep(vec![single::row(&name, MILLION, mib, "MiB", 1)])?;
        }
        Ok(())
    }

    /// Measures each target once per pair, beginning with another one each time.
    async fn in_turns(
        &self,
        name: &str,
        pairs: usize,
        shape: Shape,
        series: &mut [Series],
    ) -> anyhow::Result<()> {
        let pairs = self.args.pairs.unwrap_or(pairs);
        for pair in 0..pairs {
            for turn in 0..series.len() {
                let one = &mut series[(turn + pair) % series.len()];
                report::note(&format!("{name}: pair {} of {pairs}, {}", pair + 1, one.kind.name()));
                let shape = Shape { rate: one.open_rate, ..shape };
                let passing = temporary(&self.args.directory)?;
                let directory = one.home.as_ref().map_or(passing.path(), |home| home.path());
                let sample = measure(&self.programs, one.kind, shape, directory).await;
                one.samples.push(sample.with_context(|| format!("{name}, {}", one.kind.name()))?);
            }
        }
        Ok(())
    }
}

fn series(kind: Kind) -> Series {
    Series { kind, history: 0, open_rate: None, home: None, samples: Vec::new() }
}

/// A directory that is gone when the measurement is over.
fn temporary(parent: &Path) -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("target-").tempdir_in(parent).context("make a directory")
}
