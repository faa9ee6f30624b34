//! Figures that are not rates: memory at rest and under a backlog, and how long a start takes.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use crate::history::{Histories, Past};
use crate::measure::{Shape, begin, handler, prepare};
use crate::row::{self, Row};
use crate::target::{Kind, Programs, Setting, Target};

/// How long a gateway is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(3);
/// How often a start is timed.
pub(crate) const STARTS: usize = 5;
/// How often a start after SIGKILL is.
pub(crate) const RESTARTS: usize = 3;

/// A row of a single figure.
pub(crate) fn row(name: &str, history_events: u64, value: f64, unit: &'static str, pairs: usize) -> Row {
    Row {
        row: name.to_owned(),
        target: Kind::Accept.name(),
        history_events,
        value: Some(value),
        unit: Some(unit),
        rss_mib: (unit == "MiB").then_some(value),
        pairs,
        ..Row::default()
    }
}

/// Memory of a gateway that has just started on an empty store, in MiB.
pub(crate) async fn idle(programs: &Programs, directory: &Path) -> anyhow::Result<f64> {
    let (target, _listener) = begin(programs, Kind::Deliver, Duration::ZERO, directory).await?;
    tokio::time::sleep(REST).await;
    Ok(target.usage()?.rss_mib)
}

/// From the start of the process until it says that it is ready, in milliseconds: median.
pub(crate) async fn start(programs: &Programs, directory: &Path) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    for number in 0..STARTS {
        let own = directory.join(number.to_string());
        std::fs::create_dir(&own)?;
        let (target, _listener) = begin(programs, Kind::Deliver, Duration::ZERO, &own).await?;
        took.push(target.took.as_secs_f64() * 1e3);
        target.kill()?;
    }
    row::median(&took).ok_or_else(|| anyhow!("nothing was timed"))
}

/// The same after SIGKILL under load, on a store with a past: the log is long, and nothing was put in order.
pub(crate) async fn restart(
    programs: &Programs,
    histories: &Histories,
    events: u64,
    shape: Shape,
    directory: &Path,
) -> anyhow::Result<f64> {
    histories.put(events, Past::Delivered, directory).await?;
    let mut took = Vec::new();
    for _ in 0..RESTARTS {
        let (target, _listener) = begin(programs, Kind::Accept, Duration::ZERO, directory).await?;
        prepare(&target, shape, None)?.send(&|_| ()).await.map_err(|failure| anyhow!("{failure}"))?;
        target.kill()?;
        let setting = Setting {
            kind: Kind::Accept,
            directory,
            handler: handler().await?.1,
            sync_delay: Duration::ZERO,
        };
        let again = Target::start(programs, setting).await?;
        took.push(again.took.as_secs_f64() * 1e3);
        again.kill()?;
    }
    row::median(&took).ok_or_else(|| anyhow!("nothing was timed"))
}

/// The most memory that a gateway with a backlog has while it delivers that and is sent more, in MiB.
pub(crate) async fn pending(
    programs: &Programs,
    histories: &Histories,
    events: u64,
    shape: Shape,
    directory: &Path,
) -> anyhow::Result<f64> {
    histories.put(events, Past::Pending, directory).await?;
    let (target, listener) = begin(programs, Kind::Deliver, Duration::ZERO, directory).await?;
    let load = prepare(&target, shape, Some(listener))?;
    load.send(&|_| ()).await.map_err(|failure| anyhow!("{failure}"))?;
    Ok(target.usage()?.peak_mib)
}
