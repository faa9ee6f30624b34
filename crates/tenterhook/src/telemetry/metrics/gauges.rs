//! The gauges: built anew for every page from what the store and the lanes say at that moment, so that they never
//! drift from it.

use std::collections::BTreeSet;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::registry::Registry;

use super::series::{Name, OfDestination};
use crate::model::{DestinationName, DestinationStats, LaneView, Stats};

/// Gauges of every configured destination and of every one that the store still owes something (an orphan).
pub(super) fn registry<'a>(
    configured: impl Iterator<Item = &'a DestinationName>,
    stats: Option<&'a Stats>,
    lanes: &[LaneView],
) -> Registry {
    let mut registry = Registry::default();
    let up = Gauge::<i64>::default();
    up.set(i64::from(stats.is_some()));
    registry.register("tenterhook_store_up", "Whether the store could be read for this page", up);
    in_flight(&mut registry, configured, stats, lanes);
    registry
}

fn in_flight<'a>(
    registry: &mut Registry,
    configured: impl Iterator<Item = &'a DestinationName>,
    stats: Option<&'a Stats>,
    lanes: &[LaneView],
) {
    let mut names: BTreeSet<&DestinationName> = configured.collect();
    let attempts = Family::<OfDestination, Gauge>::default();
    for name in &names {
        let lane = lanes.iter().find(|lane| lane.destination == **name);
        attempts.get_or_create(&of(name)).set(lane.map_or(0, |lane| i64::from(lane.in_flight)));
    }
    registry.register("tenterhook_lane_in_flight", "Attempts under way", attempts);
    if let Some(stats) = stats {
        names.extend(stats.destinations.keys());
        from_store(registry, &names, stats);
    }
}

fn from_store(registry: &mut Registry, names: &BTreeSet<&DestinationName>, stats: &Stats) {
    let mut per_destination = |name: &str, help: &str, value: fn(&DestinationStats) -> u64| {
        let family = Family::<OfDestination, Gauge>::default();
        for destination in names {
            let figures = stats.destinations.get(*destination).copied().unwrap_or_default();
            family.get_or_create(&of(destination)).set(signed(value(&figures)));
        }
        registry.register(name, help, family);
    };
    per_destination("webhook_retry_queue_size", "Pending deliveries with failed attempts", |of| of.retrying);
    per_destination("webhook_dlq_size", "Dead letters", |of| of.dead);
    per_destination("tenterhook_lane_pending", "Deliveries that wait to be attempted", |of| of.pending);
    per_destination(
        "tenterhook_lane_held",
        "Deliveries that wait behind another of their ordering key",
        |of| of.held,
    );
    per_destination("tenterhook_lane_paused", "Whether a person paused the destination", |of| {
        u64::from(of.paused)
    });
    oldest_pending(registry, names, stats);
    whole_store(registry, stats);
}

fn oldest_pending(registry: &mut Registry, names: &BTreeSet<&DestinationName>, stats: &Stats) {
    let family = Family::<OfDestination, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    for destination in names {
        let oldest = stats.destinations.get(*destination).and_then(|figures| figures.oldest_pending);
        family.get_or_create(&of(destination)).inner().set(oldest.unwrap_or_default().as_secs_f64());
    }
    registry.register(
        "tenterhook_oldest_pending_age_seconds",
        "Age of the oldest event that is still owed",
        family,
    );
}

fn whole_store(registry: &mut Registry, stats: &Stats) {
    let bytes = Gauge::<i64>::default();
    bytes.set(signed(stats.store_bytes));
    registry.register("tenterhook_store_bytes", "Bytes that the store takes", bytes);
    let keys = Gauge::<i64>::default();
    keys.set(signed(stats.dedupe_keys));
    registry.register("tenterhook_dedupe_keys", "Idempotency keys that are remembered", keys);
}

fn of(destination: &DestinationName) -> OfDestination {
    OfDestination { destination: Name(destination.clone()) }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
