//! `prove`: runs the rigs that break the gateway on purpose and tells whether its promises held.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use tenterhook_proof::drive::{self, Orders};
use tenterhook_proof::lab::Lab;
use tenterhook_proof::rig::{self, Budget};
use tenterhook_proof::{broken, record, report, rigs};

/// Proves what Tenterhook promises by breaking it on purpose
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs rigs
    Run(RunArgs),
    /// Lists the rigs and their parts
    List,
    /// Copies the records of full runs and writes the page about them
    Publish(PublishArgs),
    /// A gateway with one deliberate bug, for the controls
    Gateway(broken::GatewayArgs),
}

#[derive(Args)]
struct PublishArgs {
    /// Where the records are kept
    #[arg(long, default_value = "target/prove/full")]
    records: PathBuf,
    /// Where they are published
    #[arg(long, default_value = "docs/proof")]
    into: PathBuf,
}

#[derive(Args)]
struct RunArgs {
    /// The rigs to run; all where none is named
    rigs: Vec<String>,
    /// How much to do
    #[arg(long, value_enum, default_value = "ci")]
    budget: Budget,
    /// The seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this part
    #[arg(long)]
    part: Option<String>,
    /// So many rounds with exactly this seed: repeats a failure, keeps no record
    #[arg(long)]
    rounds: Option<u64>,
    /// Rounds side by side
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Start no more rounds after this many seconds; what is missing is done by the next run
    #[arg(long)]
    seconds: Option<u64>,
    /// Forget earlier runs
    #[arg(long)]
    fresh: bool,
    /// Write the result here
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the records are kept
    #[arg(long, default_value = "target/prove")]
    records: PathBuf,
    /// The gateway to prove
    #[arg(long, default_value = "target/release/tenterhook")]
    binary: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::List => list(),
        Command::Publish(args) => publish(&args),
        Command::Gateway(args) => broken::run(&args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "prove: {error:#}");
        ExitCode::from(2)
    })
}

/// Until all is done or somebody interrupts it. What is under way is then dropped, which ends its gateways and undoes its
/// mounts.
#[tokio::main(worker_threads = 2)]
async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = prove(args) => done,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted; the next run goes on from here"),
        _ = terminate.recv() => anyhow::bail!("terminated; the next run goes on from here"),
    }
}

async fn prove(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let all = rigs::all();
    for name in &args.rigs {
        let known = all.iter().any(|rig| rig.name == name);
        anyhow::ensure!(known, "there is no rig `{name}`; `prove list` names them");
    }
    let records = args.records.join(format!("{:?}", args.budget).to_lowercase());
    if args.fresh {
        for rig in all.iter().filter(|rig| args.rigs.is_empty() || args.rigs.iter().any(|it| it == rig.name))
        {
            let _ = std::fs::remove_file(record::Record::path(&records, rig.name));
        }
    }
    let orders = Orders {
        budget: args.budget,
        seed: args.seed,
        part: args.part.clone(),
        rounds: args.rounds,
        jobs: args.jobs.max(1),
        until: args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        records,
        lab: Lab::new(&args.binary)?,
    };
    let mut results = Vec::new();
    for rig in all.iter().filter(|rig| args.rigs.is_empty() || args.rigs.iter().any(|it| it == rig.name)) {
        results.push(drive::run(rig, &orders).await?);
    }
    writeln!(std::io::stdout(), "\n{}", report::table(&results))?;
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&report::json(&results))?))?;
    }
    let failed = results.iter().any(record::Record::failed);
    let complete = results.iter().all(record::Record::passed);
    let word = if failed {
        "RED"
    } else if complete {
        "green"
    } else {
        "not complete"
    };
    writeln!(std::io::stdout(), "\nproof: {word}")?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn publish(args: &PublishArgs) -> anyhow::Result<ExitCode> {
    let mut records = Vec::new();
    for rig in rigs::all() {
        let record = record::Record::read(&args.records, rig.name)?;
        if !record.rig.is_empty() {
            record.write(&args.into)?;
            records.push(record);
        }
    }
    std::fs::write(args.into.join("README.md"), report::page(&records))?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    for rig in rigs::all() {
        writeln!(out, "{:<12} {} ({})", rig.name, rig.about, rig.promises.join(" "))?;
        for part in &rig.parts {
            let kind = if part.kind == rig::Kind::Proof { "" } else { ", control" };
            writeln!(out, "    {:<24} {} / {} {}{kind}", part.name, part.ci, part.full, part.unit)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
