//! `tenterhook dead` and `tenterhook replay`: what was given up, and how it is sent again.

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use super::Global;
use super::failure::Failure;
use super::gateway::Gateway;
use super::output;
use super::page::{self, Column};
use super::select::{Filters, require_choice};
use crate::admin::wire::ReportWire;

const COLUMNS: &[Column] = &[
    ("event", "/event"),
    ("destination", "/destination"),
    ("type", "/type"),
    ("reason", "/dead_reason"),
    ("attempts", "/attempts"),
    ("dead since", "/settled_at"),
];

/// Lists, redrives and purges dead letters
#[derive(Args, Debug)]
pub struct DeadArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Lists dead letters, newest first
    List {
        #[command(flatten)]
        which: Which,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Makes dead letters pending again, with a new budget of attempts
    Retry {
        #[command(flatten)]
        change: ChangeArgs,
        /// Also behind newer ones of the same ordering key that are delivered already
        #[arg(long)]
        out_of_order: bool,
    },
    /// Removes dead letters for good; they stay in the ledger as purged
    Purge {
        #[command(flatten)]
        change: ChangeArgs,
        /// Instead: what is owed to destinations that are no longer configured
        #[arg(long, conflicts_with_all = ["ids", "all"])]
        orphaned: bool,
    },
}

/// Delivers events again that were delivered, or given up
#[derive(Args, Debug)]
pub struct ReplayArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Also behind newer ones of the same ordering key that are delivered already
    #[arg(long)]
    out_of_order: bool,
}

#[derive(Args, Debug, Clone)]
struct Which {
    #[command(flatten)]
    filters: Filters,
    /// To this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

#[derive(Args, Debug, Clone)]
struct ChangeArgs {
    /// Events (`evt_…`) or single deliveries (`evt_…/DESTINATION`)
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only counts
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of a sentence
    #[arg(long)]
    json: bool,
}

impl ChangeArgs {
    fn body(&self, more: &[(&str, Value)]) -> Result<Map<String, Value>, Failure> {
        let chosen =
            !self.ids.is_empty() || !self.which.filters.is_empty() || self.which.destination.is_some();
        require_choice(chosen, self.all)?;
        let mut body = self.which.filters.object();
        if let Some(destination) = &self.which.destination {
            body.insert("destination".to_owned(), json!(destination));
        }
        if !self.ids.is_empty() {
            body.insert("ids".to_owned(), json!(self.ids));
        }
        body.insert("dry_run".to_owned(), json!(self.dry_run));
        if self.all {
            body.insert("all".to_owned(), json!(true));
        }
        for (name, value) in more {
            body.insert((*name).to_owned(), value.clone());
        }
        Ok(body)
    }

    fn report(&self, done: &str, answer: &ReportWire) -> Result<(), Failure> {
        if self.json {
            return Ok(output::json(answer)?);
        }
        let count = answer.changed;
        let would = if self.dry_run { "would be " } else { "" };
        let plural = if count == 1 { "delivery" } else { "deliveries" };
        output::line(format!("{count} {plural} {would}{done}"))?;
        let behind = answer.out_of_order;
        if behind > 0 {
            output::line(format!(
                "{behind} left alone: newer ones of their ordering key are delivered already (`--out-of-order` takes them, too)"
            ))?;
        }
        Ok(())
    }
}

/// Runs `dead`.
pub async fn run(global: &Global, args: &DeadArgs) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    match &args.verb {
        Verb::List { which, limit, json } => {
            let mut query = which.filters.query();
            query.extend(which.destination.clone().map(|name| ("destination", name)));
            let items = page::fetch(&gateway, "/api/v1/dead", &query, *limit).await?;
            page::print(&items, *json, COLUMNS)?;
        }
        Verb::Retry { change, out_of_order } => {
            let body = change.body(&[("out_of_order", json!(out_of_order))])?;
            let answer = order(&gateway, "/api/v1/dead/redrive", body).await?;
            change.report("redriven", &answer)?;
        }
        Verb::Purge { change, orphaned } => {
            let body = if *orphaned {
                [("orphaned", true), ("dry_run", change.dry_run)]
                    .map(|(name, value)| (name.to_owned(), json!(value)))
                    .into_iter()
                    .collect()
            } else {
                change.body(&[])?
            };
            let answer = order(&gateway, "/api/v1/dead/purge", body).await?;
            change.report("purged", &answer)?;
        }
    }
    gateway.close().await
}

/// Runs `replay`.
pub async fn replay(global: &Global, args: &ReplayArgs) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    let body = args.change.body(&[("out_of_order", json!(args.out_of_order))])?;
    let answer = order(&gateway, "/api/v1/replay", body).await?;
    args.change.report("pending again", &answer)?;
    gateway.close().await
}

/// Deliveries changed by one request at most: each is answered soon, however many there are.
const SLICE: u64 = 1_000;

/// Gives an order slice by slice, with a line that counts on a terminal; the sum of the reports.
async fn order(gateway: &Gateway, path: &str, mut body: Map<String, Value>) -> Result<ReportWire, Failure> {
    let progress = progress();
    body.insert("limit".to_owned(), json!(SLICE));
    let mut sum: ReportWire = gateway.post(path, &body).await?;
    while let Some(next) = sum.next.take() {
        progress.set_message(format!("{} deliveries so far", sum.changed));
        body.insert("after".to_owned(), json!(next));
        let slice: ReportWire = gateway.post(path, &body).await?;
        sum.changed += slice.changed;
        sum.out_of_order += slice.out_of_order;
        sum.next = slice.next;
    }
    progress.finish_and_clear();
    Ok(sum)
}

/// A spinner on a terminal; nothing where stderr is not one.
fn progress() -> ProgressBar {
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}
