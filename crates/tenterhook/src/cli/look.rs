//! The short commands that look at a gateway or touch one destination: `ledger`, `destinations`, `rejections`,
//! `audit`, `pause`, `resume`, `reload`.

use clap::Args;
use serde_json::{Value, json};

use super::Global;
use super::failure::{Exit, Failure};
use super::gateway::Gateway;
use super::output;
use super::page::{self, Column, text};

/// How a list is printed.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

/// Shows the ledger: everything that was ever accepted, and where it stands
#[derive(Args, Debug)]
pub struct LedgerArgs {
    /// Counts the rows anew and compares; exit 1 when they differ
    #[arg(long)]
    verify: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
}

/// Names one destination.
#[derive(Args, Debug)]
pub struct DestinationArgs {
    /// Its name
    name: String,
}

/// Runs `ledger`.
pub async fn ledger(global: &Global, args: &LedgerArgs) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    let query = if args.verify { vec![("verify", "true".to_owned())] } else { Vec::new() };
    let ledger: Value = gateway.get("/api/v1/ledger", &query).await?;
    if args.json {
        output::json(&ledger)?;
    } else {
        let (events, deliveries) = (&ledger["events"], &ledger["deliveries"]);
        for name in ["accepted", "ignored", "conflicts"] {
            output::line(format!("events {name:<12}{:>12}", text(events, &format!("/{name}"))))?;
        }
        for name in ["owed", "delivered", "pending", "leased", "dead", "purged"] {
            output::line(format!("deliveries {name:<8}{:>12}", text(deliveries, &format!("/{name}"))))?;
        }
        output::line(if ledger["balanced"] == true { "balanced" } else { "NOT BALANCED" })?;
        if let Some(matches) = ledger.pointer("/verified/matches").and_then(Value::as_bool) {
            output::line(if matches {
                "the rows, counted anew, agree"
            } else {
                "the rows, counted anew, DIFFER"
            })?;
        }
    }
    gateway.close().await?;
    let fine = ledger["balanced"] == true && ledger.pointer("/verified/matches") != Some(&json!(false));
    if fine { Ok(()) } else { Err(Failure::silent(Exit::Invalid)) }
}

const DESTINATIONS: &[Column] = &[
    ("destination", "/name"),
    ("target", "/target"),
    ("breaker", "/lane/breaker"),
    ("delivered", "/delivered"),
    ("pending", "/pending"),
    ("in flight", "/lane/in_flight"),
    ("dead", "/dead"),
    ("paused", "/paused"),
    ("alarm", "/lane/alarm"),
];

const REJECTIONS: &[Column] = &[
    ("at", "/at"),
    ("source", "/source"),
    ("status", "/status"),
    ("reason", "/reason"),
    ("address", "/address"),
    ("detail", "/detail"),
];

const AUDIT: &[Column] =
    &[("at", "/at"), ("who", "/actor"), ("did", "/action"), ("to", "/subject"), ("count", "/count")];

/// Runs `destinations`.
pub async fn destinations(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    list(global, args, "/api/v1/destinations", DESTINATIONS).await
}

/// Runs `rejections`.
pub async fn rejections(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    list(global, args, "/api/v1/rejections", REJECTIONS).await
}

/// Runs `audit`.
pub async fn audit(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    list(global, args, "/api/v1/audit", AUDIT).await
}

/// Prints a list of the API.
pub(super) async fn list(
    global: &Global,
    args: &ListArgs,
    path: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    let found: page::Page = gateway.get(path, &[]).await?;
    page::print(&found.items, args.json, columns)?;
    gateway.close().await
}

/// Runs `pause` and `resume`.
pub async fn set_paused(global: &Global, args: &DestinationArgs, paused: bool) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    let verb = if paused { "pause" } else { "resume" };
    let _: Value = gateway.post(&format!("/api/v1/destinations/{}/{verb}", args.name), &json!({})).await?;
    let now = if paused { "paused: nothing is attempted, nothing is lost" } else { "resumed" };
    output::line(format!("{} is {now}", args.name))?;
    gateway.close().await
}

/// Runs `reload`.
pub async fn reload(global: &Global) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    if !gateway.is_running() {
        gateway.close().await?;
        return Err(Failure::new(Exit::Unreachable, "no gateway is running on this store"));
    }
    let _: Value = gateway.post("/api/v1/reload", &json!({})).await?;
    Ok(output::line("the config was reloaded")?)
}
