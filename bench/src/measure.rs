//! One measurement: a target is started, loaded by the engine of `tenterhook load`, checked and killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use tenterhook::cli::load::drive::{Load, Pace};
use tenterhook::cli::load::figures::{Handled, Sent};
use tenterhook::cli::load::plan::{self, Ingredients, Plan};
use tenterhook::model::SystemClock;
use tenterhook_verify::{Secret, Verifier, provider};
use tokio::net::TcpListener;

use crate::target::{Kind, Programs, SECRET, Setting, Target};
use crate::usage::Usage;

/// How long the next delivery may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Not measured, at the beginning.
const WARMUP: Duration = Duration::from_millis(400);
/// Every load has the same bodies.
const SEED: u64 = 1;

/// The load of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Connections.
    pub connections: u32,
    /// Length of a body.
    pub body_bytes: usize,
    /// Requests per second; `None`: a closed loop.
    pub rate: Option<f64>,
    /// Measured.
    pub duration: Duration,
    /// Every fsync of the target takes this much longer.
    pub sync_delay: Duration,
}

/// What one measurement came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Events per second: acknowledged ones; for [`Kind::Deliver`] those delivered, until the last one was.
    pub rate: f64,
    /// Of the acknowledgement, in milliseconds.
    pub p50_ms: f64,
    /// Of the acknowledgement, in milliseconds.
    pub p99_ms: f64,
    /// Of the acknowledgement, in milliseconds.
    pub p999_ms: f64,
    /// From the sending of an event to the handler, in milliseconds; 0 where nothing is delivered.
    pub delivered_p50_ms: f64,
    /// From the sending of an event to the handler, in milliseconds; 0 where nothing is delivered.
    pub delivered_p99_ms: f64,
    /// CPU of the target, in microseconds per acknowledged event.
    pub cpu_us: f64,
    /// The most memory that the target had, in MiB.
    pub rss_mib: f64,
    /// Bytes that the target wrote to the disk, per acknowledged event.
    pub bytes: f64,
    /// Cores that the load itself kept busy.
    pub load_cores: f64,
}

/// A listener for the handler that the load plays.
pub(crate) async fn handler() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Starts a target whose files are in `directory`, with a listener for its handler; the destination of
/// [`Kind::Accept`] is paused.
pub(crate) async fn begin(
    programs: &Programs,
    kind: Kind,
    sync_delay: Duration,
    directory: &Path,
) -> anyhow::Result<(Target, TcpListener)> {
    let (listener, handler) = handler().await?;
    let target = Target::start(programs, Setting { kind, directory, handler, sync_delay }).await?;
    if kind.is_gateway() {
        target.pause(kind == Kind::Accept).await?;
    }
    Ok((target, listener))
}

/// Measures a target whose files are in `directory`.
pub(crate) async fn measure(
    programs: &Programs,
    kind: Kind,
    shape: Shape,
    directory: &Path,
) -> anyhow::Result<Sample> {
    let (target, listener) = begin(programs, kind, shape.sync_delay, directory).await?;
    let accepted = if kind.is_gateway() { target.ledger("/events/accepted").await? } else { 0 };
    let load = prepare(&target, shape, (kind == Kind::Deliver).then_some(listener))?;
    let (before, own) = (target.usage()?, Usage::of(std::process::id())?);
    let start = tokio::time::Instant::now();
    let sent = load.send(&|_| ()).await.map_err(|failure| anyhow!("{failure}"))?;
    let handled = load.drain(PATIENCE, &|_| ()).await;
    let seconds = start.elapsed().as_secs_f64();
    let (after, own_after) = (target.usage()?, Usage::of(std::process::id())?);
    check(&sent, handled.as_ref())?;
    if kind.is_gateway() {
        let now = target.ledger("/events/accepted").await?;
        ensure!(
            now == accepted + sent.acked,
            "{} were acknowledged, {} are stored",
            sent.acked,
            now - accepted
        );
    }
    drop(target);
    let events = sent.acked as f64;
    let delivered = handled.map(|handled| (handled.rate, handled.latency.p50_ms, handled.latency.p99_ms));
    Ok(Sample {
        rate: delivered.map_or(sent.rate, |(rate, ..)| rate),
        p50_ms: sent.latency.p50_ms,
        p99_ms: sent.latency.p99_ms,
        p999_ms: sent.latency.p999_ms,
        delivered_p50_ms: delivered.map_or(0.0, |(_, p50, _)| p50),
        delivered_p99_ms: delivered.map_or(0.0, |(.., p99)| p99),
        cpu_us: (after.cpu_us - before.cpu_us) / events,
        rss_mib: after.peak_mib,
        bytes: (after.written - before.written) / events,
        load_cores: (own_after.cpu_us - own.cpu_us) / 1e6 / seconds,
    })
}

/// The load of `shape` at `target`; with a listener it also plays the handler.
pub(crate) fn prepare(target: &Target, shape: Shape, listener: Option<TcpListener>) -> anyhow::Result<Load> {
    let plan = plan(target.address, target.path, shape.body_bytes)?;
    let pace = Pace {
        connections: shape.connections,
        rate: shape.rate,
        warmup: WARMUP,
        duration: Some(shape.duration),
        count: None,
        duplicates: 0.0,
        seed: SEED,
    };
    Ok(Load::new(plan, target.address, pace, listener))
}

/// A push that says little: what is measured is filled up to a length that was chosen, of which 1 KiB is the shortest.
const PUSH: &str = r#"{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":"1111111111111111111111111111111111111111","repository":{"id":1,"full_name":"octo-org/sample"},"pusher":{"name":"octocat"},"commits":[]}"#;

/// Requests as GitHub would send them: `push` events, signed with the secret of every target.
pub(crate) fn plan(address: SocketAddr, path: &str, body_bytes: usize) -> anyhow::Result<Plan> {
    let provider = provider::provider("github").ok_or_else(|| anyhow!("no github in the catalog"))?;
    let sample = provider::Sample {
        event_type: "push".to_owned(),
        headers: [
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", "{id}"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        body: PUSH.into(),
    };
    let ingredients = Ingredients {
        verifier: Verifier::new(provider.scheme.clone(), vec![Secret::new(SECRET)])
            .map_err(|problems| anyhow!("{problems:?}"))?,
        sample: &sample,
        signed_url: format!("http://{address}{path}"),
        body_bytes,
        seed: SEED,
        now: SystemClock::wall().to_system(),
    };
    let place = plan::Target { address, host: address.to_string(), path: path.to_owned() };
    Plan::new(&place, ingredients).map_err(|failure| anyhow!("{failure}"))
}

/// A measurement counts only when every request was taken, and everything owed was delivered.
fn check(sent: &Sent, handled: Option<&Handled>) -> anyhow::Result<()> {
    let is_clean = sent.io_errors == 0 && sent.unanswered == 0 && sent.statuses.keys().eq([&202]);
    ensure!(is_clean && sent.acked > 0, "not every request was answered 202: {sent:?}");
    if let Some(handled) = handled {
        ensure!(handled.never == 0, "{} acknowledged events were not delivered", handled.never);
    }
    Ok(())
}
