//! How long it takes from a start to being ready: with an empty store, and after SIGKILL with many events and a long log.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use rusqlite::{Connection, OpenFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broken::Bug;
use crate::lab::flood::{Answer, Flood};
use crate::lab::measure::{ms, wal};
use crate::lab::{Counter, Gateway, Lab, PATIENCE, Site, Stamp, fill, until};
use crate::rig::{Kind, Part, Rig, Tally};

const MIB: u64 = 1024 * 1024;
/// How often it is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(1);
const EMPTY_MAX: Duration = Duration::from_millis(100);
const FIRST_DELIVERY_MAX: Duration = Duration::from_secs(2);

/// A store to be restarted with.
#[derive(Clone, Copy)]
struct Size {
    /// Events that are pending.
    pending: u64,
    /// The log at the time of the kill.
    wal_mib: u64,
    ready_max: Duration,
}

const SMALL: Size = Size { pending: 50_000, wal_mib: 32, ready_max: Duration::from_secs(2) };
const MILLION: Size = Size { pending: 1_000_000, wal_mib: 256, ready_max: Duration::from_secs(2) };
const FIVE_MILLIONS: Size = Size { pending: 5_000_000, wal_mib: 256, ready_max: Duration::from_secs(5) };

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, ci, full, run| Part { name, unit: "restarts", ci, full, kind: Kind::Proof, run };
    Rig {
        name: "restart",
        about: "SIGKILL with many events and a long log, and ready again",
        promises: &["R18"],
        missing: || None,
        parts: vec![
            part("empty", 5, 100, |lab, _| Box::pin(empty(lab, None))),
            part("50k", 5, 100, |lab, seed| Box::pin(restart(lab, seed, SMALL))),
            part("1m", 0, 100, |lab, seed| Box::pin(restart(lab, seed, MILLION))),
            part("5m", 0, 30, |lab, seed| Box::pin(restart(lab, seed, FIVE_MILLIONS))),
            Part {
                name: "control-scan-at-open",
                unit: "restarts",
                ci: 3,
                full: 3,
                kind: Kind::Control(1.0),
                run: |lab, _| Box::pin(empty(lab, Some(Bug::ScanAtOpen))),
            },
        ],
    }
}

/// Starts, and waits until `/readyz` says so; how long that took from before the process was made. Where it will listen is
/// settled before, and asked with a bare connection: the log, the clients and the patience of the rig take no part.
async fn timed_start(site: &Site) -> anyhow::Result<(Gateway, Duration)> {
    let at = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    site.rewrite(|text| listening_at(&text, at))?;
    let began = Instant::now();
    let mut starting = site.spawn()?;
    while !is_ready(at).await && !starting.has_ended()? && began.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
    let took = began.elapsed();
    Ok((starting.ready().await?, took))
}

/// The config with another address of its first listener, which is the one of ingress.
fn listening_at(config: &str, at: SocketAddr) -> String {
    let is_listen = |line: &&str| line.starts_with("listen = ");
    let Some(line) = config.lines().find(is_listen) else { return config.to_owned() };
    config.replacen(line, &format!("listen = \"{at}\""), 1)
}

/// Whether `/readyz` there is 200.
async fn is_ready(at: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: rig\r\nConnection: close\r\n\r\n").await?;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await?;
        std::io::Result::Ok(line == *b"HTTP/1.1 200")
    };
    matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(true)))
}

async fn empty(lab: Lab, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let mut site = Site::simple(&lab, None, "http://127.0.0.1:9/", "")?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let (gateway, took) = timed_start(&site).await?;
    gateway.kill().await?;
    let mut tally = Tally::of(1);
    tally.worst("empty_ready_ms", ms(took));
    tally.check(took <= EMPTY_MAX, || format!("ready {:.0} ms after the start on an empty store", ms(took)));
    Ok(tally)
}

async fn restart(lab: Lab, seed: u64, size: Size) -> anyhow::Result<Tally> {
    let kept = fill::pending(size.pending).await?;
    let stamp = Arc::new(Stamp::new("github", &format!("r{seed:x}"), 1024)?);
    let is_up = Arc::<AtomicBool>::default();
    let up = Arc::clone(&is_up);
    // Down until the restart, so that there is much that is due then.
    let answer = move |_| match up.load(Ordering::SeqCst) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let handler = Counter::start(Arc::new(Stamp::new("github", "kept", 1024)?), answer).await?;
    let destination = "concurrency = 4\nretry = { base = \"100ms\", cap = \"1s\" }";
    let site = Site::simple(&lab, Some(&kept.database), &handler.url(), destination)?;
    let gateway = site.start().await?;
    let flood = Flood::new(&gateway.at, stamp, 0, 200)?;
    let answers = lengthen(&flood, &kept.database, size.wal_mib * MIB, gateway).await?;
    let acked = answers.iter().filter(|it| it.acked()).count();
    let wal_mib = std::fs::metadata(wal(&kept.database))?.len() / MIB;
    is_up.store(true, Ordering::SeqCst);
    let mut tally = Tally::of(1);
    let (gateway, took) = timed_start(&site).await?;
    let ready_at = Instant::now();
    let first =
        until("something is delivered", PATIENCE, async || Ok((handler.count() > 0).then_some(()))).await;
    let first_took = ready_at.elapsed();
    let ledger = gateway.admin("/api/v1/ledger").await?;
    gateway.kill().await?;
    let pending = ledger["deliveries"]["pending"].as_u64().unwrap_or_default();
    tally.check(pending >= size.pending / 100 * 99, || format!("only {pending} are pending: {ledger}"));
    tally.check(wal_mib >= size.wal_mib, || format!("the log has only {wal_mib} MiB"));
    tally.check(took <= size.ready_max, || format!("ready {:.0} ms after the start", ms(took)));
    tally.check(first.is_ok() && first_took <= FIRST_DELIVERY_MAX, || {
        format!("the first delivery came {:.0} ms after that", ms(first_took))
    });
    tally.worst("ready_ms", ms(took));
    tally.worst("first_delivery_ms", ms(first_took));
    tally.worst("pending", pending as f64);
    tally.worst("wal_mib", wal_mib as f64);
    tally.count("events acknowledged before the kill", acked as u64);
    Ok(tally)
}

/// Sends events until the log is that long, and kills the gateway. A reader that stays where it is keeps the log from
/// being used again.
async fn lengthen(
    flood: &Arc<Flood>,
    database: &Path,
    bytes: u64,
    gateway: Gateway,
) -> anyhow::Result<Vec<Answer>> {
    let reader = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.execute_batch("BEGIN")?;
    reader.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))?;
    let (log, deadline) = (wal(database), Instant::now() + PATIENCE * 4);
    let more = move |_| {
        let length = std::fs::metadata(&log).map_or(0, |it| it.len());
        length < bytes && Instant::now() < deadline
    };
    let answers = flood.closed_while(64, more).await;
    gateway.kill().await?;
    drop(reader);
    Ok(answers)
}
