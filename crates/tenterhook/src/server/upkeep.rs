//! What has to be done now and then: pruning, and the alarms that nobody would see otherwise.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Gateway;

/// How long a pruning pass rests when there was nothing to do, and when there is more.
const REST: Duration = Duration::from_secs(10);
const REST_WITH_MORE: Duration = Duration::from_millis(5);

/// How often alarms are looked at.
const ALARMS_EVERY: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub(super) async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let tasks = async {
        tokio::join!(prune(&gateway), alarms(&gateway), watchdog());
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = tasks => {}
    }
}

/// Removes what retention allows, a slice at a time, so that intake never waits long for it.
async fn prune(gateway: &Gateway) {
    loop {
        let (retention, now) = (gateway.config().store.retention, gateway.clock().now());
        let rest = match gateway.store().prune(retention, now).await {
            Ok(pruned) if pruned.more => REST_WITH_MORE,
            Ok(_) => REST,
            Err(error) => {
                tracing::debug!(error = %error, "prune_postponed");
                REST
            }
        };
        tokio::time::sleep(rest).await;
    }
}

/// Says what waits for a person: dead letters, and deliveries of destinations that are gone.
async fn alarms(gateway: &Gateway) {
    let mut every = tokio::time::interval(ALARMS_EVERY);
    loop {
        every.tick().await;
        let Ok(stats) = gateway.store().stats(gateway.clock().now()).await else { continue };
        let config = gateway.config();
        for (destination, figures) in &stats.destinations {
            if figures.dead > 0 {
                tracing::warn!(%destination, dead = figures.dead, "dead_letters_waiting");
            }
            let orphaned = figures.pending + figures.leased;
            if orphaned > 0 && !config.destinations.contains_key(destination) {
                tracing::warn!(%destination, orphaned, "deliveries_orphaned");
            }
        }
    }
}

/// Tells systemd that the process is alive, where it asks for that.
async fn watchdog() {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut every = tokio::time::interval(timeout / 3);
    loop {
        every.tick().await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
}
