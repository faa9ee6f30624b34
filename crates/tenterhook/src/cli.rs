//! The command line: one file per command. Data goes to stdout, everything else to stderr; exit codes are
//! [`failure::Exit`].

pub mod catch;
pub mod check;
pub mod dead;
pub mod demo;
pub mod events;
pub mod failure;
pub mod fixture;
pub mod gateway;
pub mod init;
pub mod load;
pub mod look;
pub mod output;
pub mod page;
pub mod providers;
pub mod reference;
pub mod sample;
pub mod select;
pub mod send;
pub mod serve;
pub mod sign;
pub mod signing;
pub mod sources;
pub mod vectors;
pub mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::telemetry::log;
use failure::{Exit, Failure};

/// Receives webhooks: verifies each request, makes the event durable before it answers, delivers it until it arrives.
#[derive(Parser, Debug)]
#[command(name = "tenterhook", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug, Clone)]
pub struct Global {
    /// The config file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TENTERHOOK_CONFIG",
        default_value = "tenterhook.toml"
    )]
    pub config: PathBuf,
    /// The admin API of a running gateway, instead of the config's `server.admin_listen`
    #[arg(long, global = true, value_name = "URL", env = "TENTERHOOK_ADMIN_URL")]
    pub admin_url: Option<String>,
    /// Where the admin token is: `env:NAME` or `file:PATH`
    #[arg(long, global = true, value_name = "REF")]
    pub token: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Init(init::InitArgs),
    Demo(demo::DemoArgs),
    Catch(catch::CatchArgs),
    Events(events::EventsArgs),
    Dead(dead::DeadArgs),
    Replay(dead::ReplayArgs),
    Ledger(look::LedgerArgs),
    Sources(sources::SourcesArgs),
    /// Lists the destinations: breaker, backlog, dead letters
    Destinations(look::ListArgs),
    /// Lists the requests that were refused of late, with the reason that the sender was not told
    Rejections(look::ListArgs),
    /// Lists what people changed
    Audit(look::ListArgs),
    /// Attempts nothing more to a destination, until `resume`
    Pause(look::DestinationArgs),
    /// Goes on with a destination
    Resume(look::DestinationArgs),
    /// Makes the running gateway read its config again
    Reload,
    Providers(providers::ProvidersArgs),
    Sign(sign::SignArgs),
    Verify(verify::VerifyArgs),
    Send(send::SendArgs),
    Fixture(fixture::FixtureArgs),
    Load(load::LoadArgs),
    /// Prints shell completions
    Completions {
        /// For this shell
        shell: Shell,
    },
}

/// Parses the arguments, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = run(cli);
    log::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::note(failure.to_string());
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(global, &args),
        Command::Check(args) => check::run(global, &args),
        Command::Init(args) => init::run(global, &args),
        Command::Demo(args) => runtime()?.block_on(demo::run(&args)),
        Command::Catch(args) => Ok(runtime()?.block_on(catch::run(args))?),
        Command::Events(args) => runtime()?.block_on(events::run(global, &args)),
        Command::Dead(args) => runtime()?.block_on(dead::run(global, &args)),
        Command::Replay(args) => runtime()?.block_on(dead::replay(global, &args)),
        Command::Ledger(args) => runtime()?.block_on(look::ledger(global, &args)),
        Command::Sources(args) => runtime()?.block_on(sources::run(global, &args)),
        Command::Destinations(args) => runtime()?.block_on(look::destinations(global, &args)),
        Command::Rejections(args) => runtime()?.block_on(look::rejections(global, &args)),
        Command::Audit(args) => runtime()?.block_on(look::audit(global, &args)),
        Command::Pause(args) => runtime()?.block_on(look::set_paused(global, &args, true)),
        Command::Resume(args) => runtime()?.block_on(look::set_paused(global, &args, false)),
        Command::Reload => runtime()?.block_on(look::reload(global)),
        Command::Providers(args) => providers::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Send(args) => runtime()?.block_on(send::run(&args)),
        Command::Fixture(args) => runtime()?.block_on(fixture::run(global, &args)),
        Command::Load(args) => runtime()?.block_on(load::run(global, &args)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tenterhook", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// A small runtime for commands that talk to somebody; `serve` builds its own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))
}

/// The environment, as far as it is text: overrides and `env:` references are taken from it.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
