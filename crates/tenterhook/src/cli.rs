//! The command line: one file per command. Data goes to stdout, everything else to stderr; exit codes are
//! [`failure::Exit`].

pub mod catch;
pub mod failure;
pub mod output;
pub mod providers;
pub mod reference;
pub mod send;
pub mod sign;
pub mod signing;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

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
    Providers(providers::ProvidersArgs),
    Sign(sign::SignArgs),
    Verify(verify::VerifyArgs),
    Send(send::SendArgs),
    /// Prints shell completions
    Completions {
        /// For this shell
        shell: Shell,
    },
}

/// Parses the arguments, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
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
    match cli.command {
        Command::Providers(args) => providers::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Send(args) => runtime()?.block_on(send::run(&args)),
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
