//! Troubles that come by the clock: the death of processes, reloads, people, full disks, steps of the wall clock. Each
//! is a small story of its own at a random time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tenterhook::model::{Clock, DeliveryState};
use tenterhook::ops::order::{Order, Verb};
use tenterhook::store::Selection;
use tokio::task::JoinSet;

use super::checker;
use super::fault::Fault;
use super::sender;
use super::settings::{BAD, BATCH, DESTINATIONS, destination};
use super::site::Site;

/// The stories that a world can have.
const STORIES: [Fault; 21] = [
    Fault::StoreFull,
    Fault::StoreUnavailable,
    Fault::Crash,
    Fault::GracefulStop,
    Fault::WorkerLost,
    Fault::Reload,
    Fault::Rotation,
    Fault::DestinationRemoved,
    Fault::Paused,
    Fault::Redrive,
    Fault::Replay,
    Fault::Purge,
    Fault::Cancel,
    Fault::Prune,
    Fault::Flood,
    Fault::KeyFlood,
    Fault::StepBack,
    Fault::StepForward,
    Fault::Drift,
    // Twice, as each is only one moment.
    Fault::Prune,
    Fault::Redrive,
];

/// How often the ledger is looked at while there is trouble.
const LOOKS: u64 = 3;

/// Begins the stories of a world. Senders that a story brings along go into the same set.
pub(super) fn begin(site: &Arc<Site>, tasks: &mut JoinSet<anyhow::Result<()>>) {
    let world = &site.world;
    let chaos = world.settings.chaos.as_millis() as u64;
    for fault in STORIES.into_iter().filter(|fault| world.has(*fault)) {
        let times = world.rng().u64(1..=2);
        for _ in 0..times {
            let at = world.between(0, chaos);
            if matches!(fault, Fault::Flood | Fault::KeyFlood) {
                flood(site, fault, at, tasks);
            } else {
                tasks.spawn(story(Arc::clone(site), fault, at));
            }
        }
    }
    for _ in 0..LOOKS {
        let (site, at) = (Arc::clone(site), world.between(0, chaos));
        tasks.spawn(async move {
            tokio::time::sleep(at).await;
            checker::ledger(&site).await;
            Ok(())
        });
    }
}

fn flood(site: &Arc<Site>, fault: Fault, at: Duration, tasks: &mut JoinSet<anyhow::Result<()>>) {
    let count = site.world.rng().u64(5..=12);
    for _ in 0..count {
        let number = 1000 + site.numbers.next();
        let few = site.world.rng().u8(..4) == 0;
        let kind = match fault {
            Fault::KeyFlood => "order",
            _ if few => "alert",
            _ => "bulk",
        };
        tasks.spawn(sender::work(Arc::clone(site), number, at, Some(kind)));
    }
    site.world.fired(fault);
}

async fn story(site: Arc<Site>, fault: Fault, at: Duration) -> anyhow::Result<()> {
    tokio::time::sleep(at).await;
    let world = &site.world;
    if !world.strikes(fault) {
        return Ok(());
    }
    match fault {
        Fault::StoreFull => world.book().full_until = world.now().plus(world.between(1000, 60_000)),
        Fault::StoreUnavailable => world.book().away_until = world.now().plus(world.between(1000, 30_000)),
        Fault::Crash => site.crash(),
        Fault::GracefulStop => site.stop().await,
        Fault::WorkerLost => site.lose_worker(),
        Fault::Reload => site.reload()?,
        Fault::Rotation => rotate(&site).await?,
        Fault::DestinationRemoved => remove(&site).await?,
        Fault::Paused => pause(&site).await,
        Fault::StepBack => world.step_wall(-(world.between(1, 7_200_000).as_millis() as i64)),
        Fault::StepForward => {
            let longest = [5000, 7_200_000, 86_400_000][world.rng().usize(..3)];
            world.step_wall(world.between(1, longest).as_millis() as i64);
        }
        Fault::Drift => world.drift_wall(if world.rng().bool() { 100_000 } else { -100_000 }),
        _ => person(&site, fault).await,
    }
    Ok(())
}

async fn rotate(site: &Site) -> anyhow::Result<()> {
    site.add_secret();
    site.reload()?;
    tokio::time::sleep(site.world.between(1, 10_000)).await;
    site.tell_senders();
    tokio::time::sleep(site.world.between(1, 10_000)).await;
    site.retire_secrets();
    site.reload()
}

async fn remove(site: &Site) -> anyhow::Result<()> {
    let index = if site.world.rng().bool() { BAD } else { BATCH };
    site.set_removed(index, true);
    site.reload()?;
    tokio::time::sleep(site.world.between(1, 120_000)).await;
    site.set_removed(index, false);
    site.reload()
}

async fn pause(site: &Site) {
    let index = site.world.rng().usize(..DESTINATIONS.len());
    for paused in [true, false] {
        // It may fail, or never be answered where the process dies; whoever heals the world resumes everything.
        site.ask(async |process| process.ops.set_paused(destination(index), paused, "rig").await).await;
        tokio::time::sleep(site.world.between(1, 60_000)).await;
    }
}

/// An order of a person, or retention.
async fn person(site: &Site, fault: Fault) {
    let world = &site.world;
    let out_of_order = world.rng().u8(..4) == 0;
    let verb = match fault {
        Fault::Redrive => Verb::Redrive { out_of_order },
        Fault::Replay => Verb::Replay { out_of_order },
        Fault::Cancel => Verb::Cancel,
        Fault::Purge => Verb::Purge,
        _ => {
            let retention = world.settings.retention;
            site.ask(async |process| process.store.prune(retention, process.clock.now()).await).await;
            return;
        }
    };
    let mut selection = Selection::default();
    if matches!(fault, Fault::Replay | Fault::Cancel) {
        let index = world.rng().usize(..DESTINATIONS.len());
        selection.destination = Some(destination(index));
    }
    if fault == Fault::Replay && world.rng().bool() {
        selection.state = Some(DeliveryState::Delivered);
    }
    let order = Order { verb, selection, dry_run: false, deliveries_max: Some(10), actor: "rig".to_owned() };
    site.ask(async |process| process.ops.order(order).await).await;
}

/// Carries an order out, again and again until it is done: for when the world heals.
pub(super) async fn insist(site: &Site, verb: Verb, selection: Selection) -> anyhow::Result<()> {
    let order = Order { verb, selection, dry_run: false, deliveries_max: None, actor: "rig".to_owned() };
    site.ask(async |process| process.ops.order(order).await).await.context("no process to order")??;
    Ok(())
}
