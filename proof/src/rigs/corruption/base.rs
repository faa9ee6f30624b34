//! The store that is damaged: events still to deliver and dead letters, some in the database file, some only in the WAL
//! that a SIGKILL left behind.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::http::StatusCode;

use super::damage::wal_of;
use crate::lab::{Gateway, Handler, Lab, Load, PATIENCE, Site};

/// Dead letters, and events to deliver: so many in the database, so many in the WAL.
const DEAD: usize = 20;
const IN_DATABASE: usize = 140;
const IN_WAL: usize = 80;

/// The store, and what is known of it.
pub(super) struct Base {
    site: Site,
    /// Every event that was acknowledged, by the provider's id.
    pub(super) events: HashMap<String, Known>,
}

/// One event.
pub(super) struct Known {
    /// The gateway's id of it.
    pub(super) id: String,
    /// It is a dead letter.
    pub(super) dead: bool,
}

impl Base {
    /// Copies the store.
    pub(super) fn copy_to(&self, database: &Path) -> anyhow::Result<()> {
        let from = self.site.database();
        let pairs: [(PathBuf, PathBuf); 2] =
            [(from.to_owned(), database.to_owned()), (wal_of(from), wal_of(database))];
        for (from, to) in pairs {
            std::fs::copy(&from, &to).with_context(|| format!("{}", from.display()))?;
        }
        Ok(())
    }
}

/// Fills a store and kills its gateway.
pub(super) async fn build(lab: &Lab, seed: u64) -> anyhow::Result<Base> {
    // The first events are refused for good; later ones meet a handler that is down.
    let refusing = Arc::new(AtomicBool::new(true));
    let answer = {
        let refusing = Arc::clone(&refusing);
        move |_: &_| match refusing.load(Ordering::SeqCst) {
            true => StatusCode::GONE.into(),
            false => StatusCode::SERVICE_UNAVAILABLE.into(),
        }
    };
    let handler = Handler::answering(answer).await?;
    let destination = "retry = { base = \"50ms\", cap = \"100ms\", attempts_max = 1000 }";
    let site = Site::simple(lab, None, &handler.url(), destination)?;

    let gateway = site.start().await?;
    let dead: Vec<String> = fill(&gateway, &format!("c{seed}-dead"), DEAD).await?;
    let all_dead = |ledger: &serde_json::Value| ledger["deliveries"]["dead"] == dead.len();
    gateway.ledger_when("the first events are dead letters", all_dead).await?;
    refusing.store(false, Ordering::SeqCst);
    fill(&gateway, &format!("c{seed}-early"), IN_DATABASE).await?;
    // A graceful stop moves everything into the database file.
    anyhow::ensure!(gateway.stop().await?.success(), "the gateway did not stop in peace");
    let gateway = site.start().await?;
    fill(&gateway, &format!("c{seed}-late"), IN_WAL).await?;
    let events = stored(&gateway).await?;
    gateway.kill().await?;
    anyhow::ensure!(events.len() >= DEAD + IN_DATABASE + IN_WAL, "only {} events", events.len());
    Ok(Base { site, events })
}

/// Sends at least `count` events; gives their ids.
async fn fill(gateway: &Gateway, prefix: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let load = Load::start(4, prefix);
    load.aim(Some(&gateway.at));
    anyhow::ensure!(load.acked(count, PATIENCE).await, "events are not acknowledged");
    Ok(load.finish().await?.acked_ids())
}

/// What the gateway says it holds, while nothing is damaged yet.
async fn stored(gateway: &Gateway) -> anyhow::Result<HashMap<String, Known>> {
    let mut events = HashMap::new();
    let mut after = String::new();
    loop {
        let page = gateway.admin(&format!("/api/v1/events?limit=100{after}")).await?;
        for event in page["items"].as_array().context("a list of events")? {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            events.insert(text("event_id"), Known { id: text("id"), dead: text("state") == "dead" });
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(events),
        }
    }
}
