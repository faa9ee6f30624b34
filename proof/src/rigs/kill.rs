//! SIGKILL under load, again and again on the same store.

use std::time::Duration;

use crate::broken::Bug;
use crate::lab::{Handler, Lab, Load, PATIENCE, Site, judge};
use crate::rig::{Kind, Part, Rig, Tally};

/// Kills in one round: the store of a round lives through all of them.
const KILLS: u64 = 10;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    Rig {
        name: "kill",
        about: "SIGKILL under load",
        promises: &["R1", "R11", "R12"],
        missing: || None,
        parts: vec![
            Part {
                name: "sigkill",
                unit: "kills",
                ci: 100,
                full: 10_000,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(kills(lab, seed, None)),
            },
            Part {
                name: "control-early-ack",
                unit: "kills",
                ci: 20,
                full: 100,
                kind: Kind::Control(0.9),
                run: |lab, seed| Box::pin(kills(lab, seed, Some(Bug::AckBeforeCommit))),
            },
        ],
    }
}

async fn kills(lab: Lab, seed: u64, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let handler = Handler::start().await?;
    let destination = "concurrency = 16\nretry = { base = \"100ms\", cap = \"1s\" }";
    let mut site = Site::simple(&lab, None, &handler.url(), destination)?;
    if let Some(bug) = bug {
        site = site.broken(&lab, bug);
    }
    let load = Load::start(16, &format!("k{seed}"));
    for _ in 0..KILLS {
        let gateway = site.start().await?;
        load.aim(Some(&gateway.at));
        load.acked(load.journal.acked() + random.usize(1..40), PATIENCE).await;
        tokio::time::sleep(Duration::from_millis(random.u64(1..150))).await;
        load.aim(None);
        gateway.kill().await?;
    }
    let gateway = site.start().await?;
    load.aim(Some(&gateway.at));
    let journal = load.finish().await?;
    let mut tally = judge::settled(&gateway, &journal, &handler).await?;
    tally.done = KILLS;
    Ok(tally)
}
