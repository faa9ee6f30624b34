//! The end of a world: the faults cease, everything is mended, and then every promise is called in. What is still wrong
//! when there is nothing left to go wrong is the gateway's own doing.

use std::sync::Arc;
use std::time::Duration;

use tenterhook::model::{Clock, DeliveryId, OnDead};
use tenterhook::ops::order::Verb;
use tenterhook::store::{ATTEMPTS_KEPT, Selection};
use tokio::task::JoinSet;

use super::absorb::{self, stands};
use super::book::{Book, Id, Stand};
use super::director::insist;
use super::settings::{DESTINATIONS, destination};
use super::site::{Process, Site};

/// The longest that anything can have to wait: a step of the clock by a day, the longest backoff, a good margin.
const PATIENCE: Duration = Duration::from_secs(4 * 86_400);

/// A clock that is off by more is set right by a restart.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// Mends the world, waits until it is at rest, and calls in what was promised.
pub(super) async fn judge(site: &Site, tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let world = &site.world;
    mend(site).await?;
    let all_acked = finish(tasks);
    match tokio::time::timeout(PATIENCE, all_acked).await {
        Ok(done) => done?,
        Err(_) => world.check(false, "R6", || "an event is refused for ever".to_owned()),
    }
    // A story may have ended on a mended world.
    mend(site).await?;
    wait(site, |book| waiting(book, world.settings.on_dead)).await;
    dead_letters(site).await;
    compare(site).await;
    ledger(site).await;
    let lied_about: Vec<DeliveryId> = {
        let book = world.book();
        let lied = book.deliveries.iter().filter(|(_, it)| it.stand == Stand::Delivered && !it.handled());
        lied.map(|(id, _)| DeliveryId { event: id.0, destination: destination(id.1) }).collect()
    };
    if world.is_broken() {
        return Ok(());
    }
    insist(site, Verb::Redrive { out_of_order: true }, Selection::default()).await?;
    if !lied_about.is_empty() {
        let selection = Selection { ids: Some(lied_about), ..Selection::default() };
        insist(site, Verb::Replay { out_of_order: true }, selection).await?;
    }
    wait(site, |book| {
        let open = |stand| !matches!(stand, Stand::Delivered | Stand::Gone);
        book.deliveries.iter().filter(|(_, it)| open(it.stand)).map(|(id, _)| *id).collect()
    })
    .await;
    compare(site).await;
    ledger(site).await;
    let book = world.book();
    for (id, delivery) in &book.deliveries {
        let confirmed = delivery.stand != Stand::Delivered || delivery.handled();
        world.check(confirmed, "R4", || format!("{id:?} counts as delivered, and no handler has it"));
    }
    Ok(())
}

/// Nothing is paused or missing any more, and the clock is right.
async fn mend(site: &Site) -> anyhow::Result<()> {
    let world = &site.world;
    world.heal();
    world.set_wall_right();
    for index in 0..DESTINATIONS.len() {
        site.set_removed(index, false);
    }
    let off = site.process().map(|process| {
        let (now, its) = (world.now(), process.clock.now());
        now.since(its).max(its.since(now))
    });
    if off.is_some_and(|off| off > SKEW_MAX) {
        site.stop().await;
    }
    while site.process().is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    site.reload()?;
    // The store may be away for some seconds more.
    for index in 0..DESTINATIONS.len() {
        let resume =
            async |process: Arc<Process>| process.ops.set_paused(destination(index), false, "rig").await;
        while !matches!(site.ask(resume).await, Some(Ok(()))) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

async fn finish(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Waits until no delivery is open; those that are after all that patience are a broken promise.
async fn wait(site: &Site, open: impl Fn(&Book) -> Vec<Id>) {
    let world = &site.world;
    let begun = world.elapsed();
    let mut rest = Duration::from_secs(1);
    loop {
        let left = open(&world.book());
        let late = world.elapsed() - begun > PATIENCE;
        world.check(!late, "R4", || format!("{left:?} are never settled"));
        if left.is_empty() || world.is_broken() {
            return;
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 3 / 2).min(Duration::from_secs(300));
    }
}

/// What is neither settled nor held back by a dead letter.
fn waiting(book: &Book, on_dead: OnDead) -> Vec<Id> {
    let is_held = |id: &Id, key: &Option<String>| {
        let before = |(other, _): &(&Id, _)| other.1 == id.1 && other.0 < id.0;
        let mut older = book.deliveries.iter().filter(before);
        let dead = |stand| matches!(stand, Stand::Dead(_));
        on_dead == OnDead::Hold && key.is_some() && older.any(|(_, it)| it.key == *key && dead(it.stand))
    };
    let open = book.deliveries.iter().filter(|(id, it)| match it.stand {
        Stand::Leased => true,
        Stand::Pending => !is_held(id, &it.key),
        _ => false,
    });
    open.map(|(id, _)| *id).collect()
}

/// Every dead letter has its reason, its body and every attempt that was recorded.
async fn dead_letters(site: &Site) {
    let world = &site.world;
    let dead: Vec<Id> = {
        let book = world.book();
        let is_dead = |stand| matches!(stand, Stand::Dead(_));
        book.deliveries.iter().filter(|(_, it)| is_dead(it.stand)).map(|(id, _)| *id).collect()
    };
    let Some(process) = site.process() else { return };
    for id in dead {
        let (Ok(Some(event)), Ok(Some(payload))) =
            (process.ops.event(id.0).await, process.ops.payload(id.0, None).await)
        else {
            world.check(false, "R15", || format!("{id:?} is dead, and its event is gone"));
            continue;
        };
        let book = world.book();
        let (Some(known), Some(delivery)) = (book.events.get(&id.0), book.deliveries.get(&id)) else {
            continue;
        };
        world.check(payload.body == known.body, "R15", || format!("{id:?} is dead, and its body another"));
        let Some(row) = event.deliveries.iter().find(|it| it.summary.id.destination == destination(id.1))
        else {
            world.check(false, "R15", || format!("{id:?} is dead, and nobody lists it"));
            continue;
        };
        let reason = row.summary.dead_reason.map(Stand::Dead);
        world.check(reason == Some(delivery.stand), "R15", || {
            format!("{id:?} is {:?}, and its reason is {reason:?}", delivery.stand)
        });
        let recorded = |attempt: u32| row.attempts.iter().any(|it| it.number == attempt);
        let missing = delivery.tries.iter().find(|it| it.settled && !recorded(it.attempt));
        world.check(missing.is_none() || row.attempts.len() >= ATTEMPTS_KEPT, "R15", || {
            format!("{id:?} is dead, and of its attempts is missing {missing:?}")
        });
    }
}

/// The disk holds exactly what the book says.
async fn compare(site: &Site) {
    let (rows, kept) = (absorb::rows(&site.disk).await, absorb::events(&site.disk).await);
    let world = &site.world;
    let book = world.book();
    for (id, event) in &book.events {
        world.check(event.gone != kept.contains(id), "R1", || format!("{id} of `{}` is lost", event.pid));
    }
    world.check(kept.iter().all(|id| book.events.contains_key(id)), "R8", || {
        "an event from nowhere".to_owned()
    });
    for (id, delivery) in &book.deliveries {
        let row = rows.get(id).copied();
        world.check(stands(delivery.stand) == row, "R4", || {
            format!("{id:?} should be {:?}, and is {row:?}", delivery.stand)
        });
    }
    let owed = rows.keys().all(|id| book.deliveries.contains_key(id));
    world.check(owed, "R4", || "something is owed to a destination that no route names".to_owned());
}

/// The ledger balances, its rows say the same, and so does the book.
pub(super) async fn ledger(site: &Site) {
    let (world, Some(process)) = (&site.world, site.process()) else { return };
    let Ok((ledger, recounted)) = process.ops.compare().await else { return };
    world.check(ledger.is_balanced(), "R4", || format!("the ledger does not balance: {ledger:?}"));
    world.check(ledger == recounted, "R4", || format!("counted {ledger:?}, recounted {recounted:?}"));
    let book = world.book();
    let count = |wanted: &[&str]| {
        let stands = book.deliveries.values().map(|it| match it.stand {
            Stand::Pending => "pending",
            Stand::Leased => "leased",
            Stand::Delivered => "delivered",
            Stand::Dead(_) => "dead",
            Stand::Gone => "gone",
        });
        stands.filter(|it| wanted.contains(it)).count() as u64
    };
    let told = [
        ledger.events.accepted,
        ledger.owed,
        ledger.pending,
        ledger.leased,
        ledger.dead,
        ledger.delivered + ledger.purged,
    ];
    let known = [
        book.events.len() as u64,
        book.deliveries.len() as u64,
        count(&["pending"]),
        count(&["leased"]),
        count(&["dead"]),
        count(&["delivered", "gone"]),
    ];
    world.check(told == known, "R4", || format!("the ledger says {told:?}, it is {known:?}"));
}
