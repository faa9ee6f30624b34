//! `tenterhook demo`: the main job with nothing else installed. A gateway, a small application behind it, correctly
//! signed events of several providers through real HTTP, and what becomes of each, as it happens.

mod application;
mod follow;
mod senders;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::failure::{Exit, Failure};
use super::output;
use crate::model::Ledger;
use crate::server::Server;

/// How long the demo waits for its last delivery.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows the main job in a few seconds: receive, verify, keep, deliver, retry, give up
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Leaves the gateway running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub async fn run(args: &DemoArgs) -> Result<(), Failure> {
    let directory = directory()?;
    let application = application::start().await?;
    let secrets = senders::secrets()?;
    let config = directory.join("tenterhook.toml");
    std::fs::write(&config, senders::config(application))?;
    let server = Server::start(&config, secrets.clone())
        .await
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    output::line(format!("gateway      http://{}/webhooks/…", server.ingress()))?;
    output::line(format!("application  http://{application}: /works, /recovers (fails twice), /never"))?;
    output::line("")?;

    let mut screen = follow::Screen::start(server.gateway().clock().now());
    let events = senders::send_all(&server, &secrets, &mut screen).await?;
    follow::until_settled(server.gateway(), &events, &mut screen, PATIENCE).await?;
    let stats = server
        .gateway()
        .store()
        .stats(server.gateway().clock().now())
        .await
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    show_ledger(&stats.ledger)?;
    show_further(&config, args.keep.then(|| server.admin()), events.first().map(ToString::to_string))?;
    if args.keep {
        output::note("\nThe gateway goes on; stop it with Ctrl-C.");
        let _ = tokio::signal::ctrl_c().await;
    }
    server.stop().await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))
}

/// A new directory for this run. It is kept: the database is what people look at afterwards.
fn directory() -> Result<PathBuf, Failure> {
    let id = super::signing::fresh_id()?;
    let path = std::env::temp_dir().join(format!("tenterhook-demo-{}", &id[..8]));
    std::fs::create_dir(&path)?;
    Ok(path)
}

fn show_ledger(ledger: &Ledger) -> Result<(), Failure> {
    let events = &ledger.events;
    output::line("")?;
    output::line("the ledger")?;
    output::line(format!(
        "  events      {} accepted, {} of them ignored; {} conflicts",
        events.accepted, events.ignored, events.conflicts
    ))?;
    output::line(format!(
        "  deliveries  {} owed = {} delivered + {} pending + {} leased + {} dead + {} purged: {}",
        ledger.owed,
        ledger.delivered,
        ledger.pending,
        ledger.leased,
        ledger.dead,
        ledger.purged,
        if ledger.is_balanced() { "balanced" } else { "NOT BALANCED" }
    ))?;
    Ok(())
}

fn show_further(config: &Path, running: Option<SocketAddr>, event: Option<String>) -> Result<(), Failure> {
    let database = config.with_file_name("tenterhook.db");
    let program =
        std::env::current_exe().map_or_else(|_| "tenterhook".to_owned(), |path| path.display().to_string());
    let ask = match running {
        Some(admin) => format!("{program} --admin-url http://{admin}"),
        None => format!("{program} --config {}", config.display()),
    };
    output::line("")?;
    output::line(format!("the database is {}; look further with", database.display()))?;
    output::line(format!("  {ask} events list"))?;
    if let Some(event) = event {
        output::line(format!("  {ask} events show {event}"))?;
    }
    output::line(format!("  {ask} dead list"))?;
    output::line(format!("  {ask} dead retry --all"))?;
    output::line(format!("  {ask} ledger --verify"))?;
    Ok(())
}
