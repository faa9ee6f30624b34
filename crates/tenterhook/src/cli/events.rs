//! `tenterhook events`: what was received, and what became of it.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Global;
use super::failure::Failure;
use super::gateway::Gateway;
use super::output;
use super::page::{self, Column, text};
use super::select::Filters;

/// How often `tail` asks for news.
const TAIL_EVERY: Duration = Duration::from_millis(500);

const COLUMNS: &[Column] = &[
    ("event", "/id"),
    ("received", "/received_at"),
    ("source", "/source"),
    ("type", "/type"),
    ("state", "/state"),
    ("provider's id", "/event_id"),
    ("duplicates", "/duplicates"),
];

/// Lists, shows and follows events
#[derive(Args, Debug)]
pub struct EventsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Lists events, newest first
    List {
        #[command(flatten)]
        filters: Filters,
        /// In this state: pending, delivered, dead, ignored
        #[arg(long)]
        state: Option<String>,
        /// With this id of the provider's
        #[arg(long, value_name = "ID")]
        event_id: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Shows one event with its deliveries and attempts
    Show {
        /// `evt_…`
        id: String,
        /// Prints the stored body, too
        #[arg(long)]
        body: bool,
        /// One JSON object instead
        #[arg(long)]
        json: bool,
    },
    /// Follows events as they arrive, until Ctrl-C
    Tail {
        #[command(flatten)]
        filters: Filters,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub async fn run(global: &Global, args: &EventsArgs) -> Result<(), Failure> {
    let gateway = Gateway::find(global)?;
    match &args.verb {
        Verb::List { filters, state, event_id, limit, json } => {
            let mut query = filters.query();
            query.extend(state.clone().map(|state| ("state", state)));
            query.extend(event_id.clone().map(|id| ("event_id", id)));
            let items = page::fetch(&gateway, "/api/v1/events", &query, *limit).await?;
            page::print(&items, *json, COLUMNS)?;
        }
        Verb::Show { id, body, json } => show(&gateway, id, *body, *json).await?,
        Verb::Tail { filters, json } => tail(&gateway, filters, *json).await?,
    }
    gateway.close().await
}

async fn show(gateway: &Gateway, id: &str, with_body: bool, as_json: bool) -> Result<(), Failure> {
    let event: Value = gateway.get(&format!("/api/v1/events/{id}"), &[]).await?;
    if as_json {
        output::json(&event)?;
    } else {
        facts(&event)?;
    }
    if with_body {
        let bytes = gateway.bytes(&format!("/api/v1/events/{id}/body")).await?;
        output::line(output::printable_text(&bytes))?;
    }
    Ok(())
}

fn facts(event: &Value) -> Result<(), Failure> {
    let fact = |name: &str, place: &str| {
        output::line(format!("{name:<16}{}", output::printable(&text(event, place))))
    };
    fact("event", "/id")?;
    fact("provider's id", "/event_id")?;
    fact("type", "/type")?;
    fact("source", "/source")?;
    fact("state", "/state")?;
    fact("received", "/received_at")?;
    fact("from", "/source_ip")?;
    fact("correlation id", "/correlation_id")?;
    fact("body", "/body_bytes")?;
    fact("duplicates", "/duplicates")?;
    if event["replay_suspect"] == true {
        output::line("the same signed content was seen before under another id")?;
    }
    for delivery in event["deliveries"].as_array().into_iter().flatten() {
        output::line("")?;
        let reason = match delivery["dead_reason"].as_str() {
            Some(reason) => format!(" ({reason})"),
            None => String::new(),
        };
        output::line(format!("to {}: {}{reason}", text(delivery, "/destination"), text(delivery, "/state")))?;
        let attempts: Vec<_> = delivery["attempt_log"].as_array().cloned().unwrap_or_default();
        if !attempts.is_empty() {
            page::print(
                &attempts,
                false,
                &[
                    ("attempt", "/number"),
                    ("at", "/started_at"),
                    ("ms", "/took_ms"),
                    ("status", "/status"),
                    ("then", "/verdict"),
                    ("answer", "/excerpt"),
                ],
            )?;
        }
    }
    for conflict in event["conflicts"].as_array().into_iter().flatten() {
        output::line("")?;
        output::line(format!("another body under the same id, at {}", text(conflict, "/received_at")))?;
    }
    Ok(())
}

async fn tail(gateway: &Gateway, filters: &Filters, as_json: bool) -> Result<(), Failure> {
    let mut query = filters.query();
    query.push(("order", "asc".to_owned()));
    let begin = crate::model::SystemClock::wall().rfc3339();
    if filters.since.is_none() {
        query.push(("since", begin));
    }
    let mut every = tokio::time::interval(TAIL_EVERY);
    let mut after = String::new();
    loop {
        every.tick().await;
        let mut asked = query.clone();
        asked.push(("after", after.clone()));
        let found: page::Page = gateway.get("/api/v1/events", &asked).await?;
        for event in &found.items {
            if as_json {
                output::json(event)?;
            } else {
                let line: Vec<_> = COLUMNS[..5].iter().map(|(_, place)| text(event, place)).collect();
                output::line(output::printable(&line.join("  ")))?;
            }
        }
        after = found.next.unwrap_or(after);
    }
}
