//! The benchmark's runner: the gateway beside what HTTP and the disk cost by themselves, in one run. `bench/run` builds
//! everything and calls it.

mod history;
mod http;
mod measure;
mod plan;
mod report;
mod row;
mod single;
mod target;
mod usage;

use std::path::PathBuf;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `bench/run` says.
#[derive(Parser, Debug)]
pub(crate) struct Args {
    /// 64 connections, 1 KiB, no history: a few minutes
    #[arg(long)]
    quick: bool,
    /// Writes the rows here, as a JSON list
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only rows whose names begin so; repeat it, or separate them by commas
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    rows: Vec<String>,
    /// Measures each target of a row this often
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// How long one measurement takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// The gateway's binary
    #[arg(long, value_name = "FILE")]
    gateway: PathBuf,
    /// The references' binary
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// The library that makes fsyncs slower
    #[arg(long, value_name = "FILE")]
    slow_sync: Option<PathBuf>,
    /// Tells histories that other code made
    #[arg(long, value_name = "TEXT", default_value = "unmarked")]
    mark: String,
    /// Where targets keep their files, on the disk that counts, and histories between runs
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(plan::run(&args))
}
