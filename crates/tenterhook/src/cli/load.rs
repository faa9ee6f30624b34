//! `tenterhook load`: many correctly signed events, each its own, at a gateway of one's own; and then where they are.

pub mod drive;
pub mod figures;
mod filler;
mod handler;
mod journal;
pub mod ledger;
mod pace;
pub mod plan;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::net::TcpListener;

use super::Global;
use super::failure::{Exit, Failure};
use super::gateway::Gateway;
use super::output;
use super::sample::{sample_of, shortest};
use super::signing::SchemeArgs;
use crate::model::{SystemClock, Timestamp};
use drive::{Load, Pace};
use figures::{Handled, Progress, Sent};
use ledger::{Before, By, Ledger};
use plan::{Ingredients, Plan, Target};

/// How far the gateway's clock may be behind ours when its list is walked.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// Sends many signed events to `--url`, and tells where they are in the end: exit 1 when one is lost
///
/// Every event has an id of its own and a valid signature. Without `--rate` each connection sends as soon as it was
/// answered (a closed loop); with it requests fall due at that pace, and latency counts from when they were due. With
/// `--admin-url` every acknowledged event is looked up at the gateway; with `--handler` this process also plays the
/// destination, and counts what arrives.
#[derive(Args, Debug)]
pub struct LoadArgs {
    #[command(flatten)]
    scheme: SchemeArgs,
    /// Where to: `http://HOST:PORT/PATH`
    #[arg(long, value_name = "URL")]
    url: String,
    /// The URL that the provider was given, for schemes that sign it, where it is not `--url`
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The type of the sample event of the provider that is sent; its shortest by default
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// Connections at the same time
    #[arg(long, short = 'c', value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// Requests per second, whatever the answers: an open loop
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How long, such as `30s`, after the warm-up [default: 10s, where there is no `--count`]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// Not measured, before the rest
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    warmup: Duration,
    /// How many requests, at most
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How long a body is: the sample event, filled with records
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    body_bytes: usize,
    /// The share of requests that repeat an event that was acknowledged before, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
    /// Plays the destination: listens here, answers 200, and counts how often each event arrives
    #[arg(long, value_name = "ADDRESS")]
    handler: Option<SocketAddr>,
    /// How long to wait for the next delivery before what is left counts as not delivered
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    drain: Duration,
    /// What bodies and duplicates are chosen from; printed, a random one by default
    #[arg(long)]
    seed: Option<u64>,
    /// Also sends to other machines than this one: only at what is yours
    #[arg(long)]
    yes_really: bool,
    /// Prints one JSON object instead
    #[arg(long)]
    json: bool,
}

/// What is printed at the end.
#[derive(Debug, Serialize)]
struct Report<'r> {
    url: &'r str,
    provider: &'r str,
    connections: u32,
    rate_wanted: Option<f64>,
    body_bytes: usize,
    seed: u64,
    #[serde(flatten)]
    sent: Sent,
    handler: Option<Handled>,
    ledger: Ledger,
}

/// Runs the command.
pub async fn run(global: &Global, args: &LoadArgs) -> Result<(), Failure> {
    let target = target(&args.url, args.yes_really).await?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let provider = args.scheme.provider()?;
    let ingredients = Ingredients {
        verifier: args.scheme.verifier()?,
        sample: match args.event.as_deref() {
            None => shortest(provider)?,
            chosen => sample_of(provider, chosen)?,
        },
        signed_url: args.public_url.clone().unwrap_or_else(|| args.url.clone()),
        body_bytes: args.body_bytes,
        seed,
        now: SystemClock::wall().to_system(),
    };
    let plan = Plan::new(&target, ingredients)?;
    let body_bytes = plan.body_bytes();
    let gateway = global.admin_url.as_ref().map(|_| Gateway::find(global)).transpose()?;
    let before = match &gateway {
        Some(gateway) => {
            Some(Before::read(gateway, Timestamp::minus(SystemClock::wall(), CLOCKS_APART)).await?)
        }
        None => None,
    };
    let handler = match args.handler {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
            Failure::usage(format!("cannot listen on {address}: {error}")).hint("choose another `--handler`")
        })?),
        None => None,
    };
    let bar = progress_line();
    let load = Load::new(plan, target.address, args.pace(seed), handler);
    let show = |progress: Progress| show(&bar, progress);
    let sent = load.send(&show).await?;
    let handled = load.drain(args.drain, &show).await;
    bar.set_message("asking the gateway for every event");
    let ledger = match (&gateway, before) {
        (Some(gateway), Some(before)) => {
            ledger::ask(&load, sent.acked, handled.as_ref(), gateway, before).await?
        }
        _ => ledger::of_handler(sent.acked, handled.as_ref()),
    };
    bar.finish_and_clear();
    let report = Report {
        url: &args.url,
        provider: &provider.name,
        connections: args.connections,
        rate_wanted: args.rate,
        body_bytes,
        seed,
        sent,
        handler: handled,
        ledger,
    };
    if args.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    verdict(&report)
}

impl LoadArgs {
    fn pace(&self, seed: u64) -> Pace {
        let is_unbounded = self.duration.is_none() && self.count.is_none();
        Pace {
            connections: self.connections,
            rate: self.rate,
            warmup: self.warmup,
            duration: self.duration.or_else(|| is_unbounded.then_some(Duration::from_secs(10))),
            count: self.count,
            duplicates: self.duplicates,
            seed,
        }
    }
}

/// Where `url` leads: to this machine, or anywhere for those who said so.
pub async fn target(url: &str, beyond_loopback: bool) -> Result<Target, Failure> {
    let wrong = || {
        Failure::usage(format!("`{url}` is not a URL that a load can be sent to"))
            .hint("it is plain HTTP: `http://HOST:PORT/PATH`")
    };
    let parsed = url.parse::<http::Uri>().map_err(|_| wrong())?;
    let host = parsed.authority().filter(|_| parsed.scheme_str() == Some("http")).ok_or_else(wrong)?.as_str();
    let lookup = if parsed.port().is_some() { host.to_owned() } else { format!("{host}:80") };
    let unknown = |error| Failure::new(Exit::Unreachable, format!("`{host}` has no address: {error}"));
    let addresses: Vec<_> = tokio::net::lookup_host(&lookup).await.map_err(unknown)?.collect();
    if !beyond_loopback && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Failure::usage(format!("`{host}` is not this machine: a load there may be an attack"))
            .hint("if it is yours and meant to be loaded, say `--yes-really`"));
    }
    let address = *addresses.first().ok_or_else(wrong)?;
    let path = parsed.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Target { address, host: host.to_owned(), path })
}

fn progress_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    let Progress { sent, answered, acked, owed } = progress;
    bar.set_message(format!(
        "{sent} sent, {answered} answered, {acked} events acked, {owed} not delivered yet"
    ));
}

fn print(report: &Report<'_>) -> Result<(), Failure> {
    let Report { sent, ledger, .. } = report;
    let statuses: Vec<_> =
        sent.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    let shape =
        report.rate_wanted.map_or_else(|| "closed loop".to_owned(), |rate| format!("open loop at {rate}/s"));
    output::line(format!(
        "load       {shape}, {} connections, {} bytes, seed {}",
        report.connections, report.body_bytes, report.seed
    ))?;
    output::line(format!(
        "sent       {} ({} of them duplicates): {}; {} errors, {} unanswered, {} unsent",
        sent.sent,
        sent.duplicates_sent,
        statuses.join(", "),
        sent.io_errors,
        sent.unanswered,
        sent.unsent
    ))?;
    output::line(format!("rate       {:.0} 2xx/s over {:.1} s", sent.rate, sent.seconds))?;
    output::line(format!("ack        {}", sent.latency))?;
    if let Some(handled) = &report.handler {
        output::line(format!("handler    {:.0} events/s in {} calls", handled.rate, handled.calls))?;
        output::line(format!("delivered  {}", handled.latency))?;
    }
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let by = match ledger.by {
        By::Ids => "each event looked up at the gateway",
        By::Counts => "from the gateway's counts: this provider has no id to look up",
        By::Handler if report.handler.is_some() => "from the handler alone: no `--admin-url`",
        By::Handler => "nobody to ask: neither `--admin-url` nor `--handler`",
    };
    output::line(format!("ledger     {by}"))?;
    for (name, figure) in [
        ("acked", Some(ledger.acked)),
        ("stored", ledger.stored),
        ("delivered", ledger.delivered),
        ("delivered once", ledger.delivered_once),
        ("delivered twice", ledger.delivered_twice),
        ("lost", Some(ledger.lost)),
    ] {
        output::line(format!("  {name:<16}{:>12}", count(figure)))?;
    }
    Ok(())
}

fn verdict(report: &Report<'_>) -> Result<(), Failure> {
    match (report.ledger.lost, report.sent.acked) {
        (0, 0) => Err(Failure::new(Exit::Invalid, "no event was acknowledged").hint(
            "look at the statuses: 401 is a wrong secret or provider, 404 a wrong path, 429 and 503 too much",
        )),
        (0, _) => Ok(()),
        (lost, _) => Err(Failure::new(Exit::Invalid, format!("{lost} acknowledged events are lost"))),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    tenterhook_verify::spec::parse_duration(text)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=1e6).contains(rate));
    rate.ok_or_else(|| "expected requests per second, from 0.01 to 1000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1".to_owned())
}
