//! Takes what a change by hand, a redrive or retention did to the disk into the book, row by row, and judges whether
//! just that was asked for.

use std::collections::{HashMap, HashSet};

use tenterhook::model::{DeadReason, DeliveryState, EventId, Timestamp};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{Change, DeliveryQuery, EventQuery, Store};

use super::book::{Id, Stand};
use super::disk::id_of;
use super::world::World;

/// Every delivery on the disk.
pub(super) async fn rows(disk: &MemoryStore) -> HashMap<Id, DeliveryState> {
    let mut rows = HashMap::new();
    let mut after = None;
    loop {
        let Ok(page) = disk.deliveries(DeliveryQuery { after, ..DeliveryQuery::default() }).await else {
            break;
        };
        rows.extend(page.items.iter().map(|row| (id_of(&row.id), row.state)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    rows
}

/// Every event on the disk.
pub(super) async fn events(disk: &MemoryStore) -> HashSet<EventId> {
    let mut ids = HashSet::new();
    let mut after = None;
    loop {
        let Ok(page) = disk.events(EventQuery { after, ..EventQuery::default() }).await else { break };
        ids.extend(page.items.iter().map(|event| event.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ids
}

/// A duplicate has redriven the dead letters of an event.
pub(super) async fn redriven(
    world: &World,
    disk: &MemoryStore,
    event: EventId,
    due: Timestamp,
    now: Timestamp,
) {
    let rows = rows(disk).await;
    let mut book = world.book();
    for (id, delivery) in book.deliveries.iter_mut().filter(|(id, _)| id.0 == event) {
        let is_dead = matches!(delivery.stand, Stand::Dead(_));
        if is_dead && rows.get(id) == Some(&DeliveryState::Pending) {
            delivery.requeued(due, now);
        }
    }
}

/// Somebody gave an order.
pub(super) async fn changed(world: &World, disk: &MemoryStore, change: Change, now: Timestamp) {
    let (rows, kept) = (rows(disk).await, events(disk).await);
    let mut book = world.book();
    let book = &mut *book;
    for (id, delivery) in &mut book.deliveries {
        let (was, is) = (delivery.stand, rows.get(id).copied());
        if stands(was) == is {
            continue;
        }
        let asked = match (change, was, is) {
            (Change::Requeue { .. }, Stand::Dead(_) | Stand::Delivered, Some(DeliveryState::Pending)) => {
                delivery.requeued(now, now);
                true
            }
            (Change::DeadLetter, Stand::Pending, Some(DeliveryState::Dead)) => {
                (delivery.stand, delivery.settled_at) = (Stand::Dead(DeadReason::Cancelled), now);
                true
            }
            (Change::Forget, Stand::Dead(_), None) => {
                delivery.stand = Stand::Gone;
                true
            }
            _ => false,
        };
        world.check(asked, "R4", || format!("{change:?} made {id:?} {is:?}, which was {was:?}"));
        world.trace("changed by hand", id.0.raw() as u64, id.1 as u64);
    }
    forget(book, &kept);
}

/// Retention has done its work.
pub(super) async fn pruned(world: &World, disk: &MemoryStore, now: Timestamp) {
    let (rows, kept) = (rows(disk).await, events(disk).await);
    let retention = &world.settings.retention;
    let mut book = world.book();
    let book = &mut *book;
    book.forgot_keys(now);
    for (id, event) in book.events.iter().filter(|(id, event)| !event.gone && !kept.contains(id)) {
        let old = event.received_at.plus(retention.events) <= now;
        world.check(old, "R4", || format!("retention took {id} too early"));
    }
    for (id, delivery) in &mut book.deliveries {
        let (was, is) = (delivery.stand, rows.get(id).copied());
        if stands(was) == is {
            continue;
        }
        let allowed = match was {
            Stand::Delivered => true,
            Stand::Dead(_) => retention.dead.is_some_and(|dead| delivery.settled_at.plus(dead) <= now),
            _ => false,
        };
        world.check(allowed && is.is_none(), "R15", || {
            format!("retention made {id:?} {is:?}, which was {was:?}")
        });
        world.trace("pruned", id.0.raw() as u64, id.1 as u64);
        delivery.stand = Stand::Gone;
    }
    forget(book, &kept);
}

fn forget(book: &mut super::book::Book, kept: &HashSet<EventId>) {
    for (id, event) in &mut book.events {
        event.gone |= !kept.contains(id);
    }
}

/// How a stand is written on the disk.
pub(super) fn stands(stand: Stand) -> Option<DeliveryState> {
    match stand {
        Stand::Pending => Some(DeliveryState::Pending),
        Stand::Leased => Some(DeliveryState::Leased),
        Stand::Delivered => Some(DeliveryState::Delivered),
        Stand::Dead(_) => Some(DeliveryState::Dead),
        Stand::Gone => None,
    }
}
