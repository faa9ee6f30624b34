//! `sources`: lists them, and lets a provider bring its key.

use std::time::Duration;

use clap::{Args, Subcommand};
use tenterhook_verify::spec::parse_duration;

use super::Global;
use super::failure::{Exit, Failure};
use super::gateway::Gateway;
use super::look::{self, ListArgs};
use super::output;
use super::page::Column;
use crate::admin::wire::{RegistrationOrderWire, RegistrationWire};

/// Lists the sources of the running gateway, or lets a provider bring its key
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SourcesArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Pending(PendingArgs),
}

/// Awaits the key that the provider of a source brings when the webhook is created there (Asana, Notion), and takes the first
/// one that comes; or answers the test that it sends then without a signature (Mandrill, WooCommerce)
#[derive(Args, Debug)]
struct PendingArgs {
    /// The source
    name: String,
    /// How long the provider may take
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    open_for: String,
    /// How long keys that were learnt before count on, once a new one came: a time, `0s` for not at all, or `always` for a
    /// provider that gives each subscription a key of its own
    #[arg(long, value_name = "TIME", default_value = "24h")]
    former: String,
    /// Awaits nothing any more
    #[arg(long, conflicts_with_all = ["open_for", "former"])]
    close: bool,
}

const SOURCES: &[Column] = &[
    ("source", "/name"),
    ("provider", "/provider"),
    ("path", "/path"),
    ("live secrets", "/secrets_live"),
    ("pending until", "/registration_until"),
    ("routes", "/routes"),
    ("take care", "/warnings"),
];

/// Runs `sources`.
pub async fn run(global: &Global, args: &SourcesArgs) -> Result<(), Failure> {
    match &args.verb {
        None => look::list(global, &args.list, "/api/v1/sources", SOURCES).await,
        Some(Verb::Pending(pending)) => self::pending(global, pending).await,
    }
}

async fn pending(global: &Global, args: &PendingArgs) -> Result<(), Failure> {
    let order = order(args)?;
    let gateway = Gateway::find(global)?;
    let path = format!("/api/v1/sources/{}/registration", args.name);
    let answer: Result<RegistrationWire, Failure> = gateway.post(&path, &order).await;
    gateway.close().await?;
    let RegistrationWire { source, registration_until } = answer?;
    match registration_until {
        Some(until) => {
            output::line(format!("{source} awaits its provider until {until}"))?;
            output::note(
                "create the webhook at the provider now; `tenterhook audit` then shows from where a key was learnt",
            );
        }
        None => output::line(format!("{source} awaits nothing"))?,
    }
    Ok(())
}

fn order(args: &PendingArgs) -> Result<RegistrationOrderWire, Failure> {
    if args.close {
        return Ok(RegistrationOrderWire { open_for_ms: Some(0), ..RegistrationOrderWire::default() });
    }
    let open_for = millis("--for", &args.open_for)?;
    let keep_former = args.former == "always";
    let former_for_ms = if keep_former { None } else { Some(millis("--former", &args.former)?) };
    Ok(RegistrationOrderWire { open_for_ms: Some(open_for), former_for_ms, keep_former })
}

fn millis(option: &str, text: &str) -> Result<u64, Failure> {
    let time: Result<Duration, _> = if text == "0s" { Ok(Duration::ZERO) } else { parse_duration(text) };
    let time = time.map_err(|_| {
        Failure::new(Exit::Usage, format!("`{option} {text}` is no time"))
            .hint("write a number with its unit, such as `90s`, `10m`, `24h` or `7d`")
    })?;
    Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
