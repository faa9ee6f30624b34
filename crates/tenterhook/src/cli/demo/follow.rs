//! The demo's screen: one line for each thing that happens, in the order in which it happens.

use std::collections::HashMap;
use std::time::Duration;

use super::super::failure::{Exit, Failure};
use super::super::output;
use crate::model::{DeliveryId, DeliveryState, EventId, Timestamp};
use crate::server::Gateway;
use crate::store::{AttemptRecord, DeliveryDetail};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Prints lines with the time since the demo began, and remembers which attempts it has shown.
pub(super) struct Screen {
    began: Timestamp,
    shown: HashMap<DeliveryId, u32>,
}

impl Screen {
    pub(super) fn start(began: Timestamp) -> Self {
        Self { began, shown: HashMap::new() }
    }

    /// A request that was answered.
    pub(super) fn received(
        &self,
        now: Timestamp,
        provider: &str,
        event_type: &str,
        status: u16,
        what: &str,
        why: &str,
    ) -> Result<(), Failure> {
        let line = format!("-> {provider:<18} {event_type:<26} {status}  {what:<30} {why}");
        self.line(now, &line)
    }

    fn attempt(
        &self,
        now: Timestamp,
        delivery: &DeliveryDetail,
        attempt: &AttemptRecord,
    ) -> Result<(), Failure> {
        let summary = &delivery.summary;
        let what = match attempt.verdict.as_str() {
            "complete" => "delivered".to_owned(),
            "dead_letter" => "dead-lettered".to_owned(),
            _ => "will be retried".to_owned(),
        };
        let status = attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let line = format!(
            "   /{:<17} {:<26} {status}  {what:<30} attempt {} of event {}",
            summary.id.destination.as_str(),
            summary.event_type,
            attempt.number,
            summary.id.event
        );
        self.line(now, &line)
    }

    fn line(&self, now: Timestamp, text: &str) -> Result<(), Failure> {
        let seconds = now.since(self.began).as_secs_f64();
        Ok(output::line(format!("{seconds:5.2}s  {}", text.trim_end()))?)
    }
}

/// Shows every attempt as it is recorded, until nothing is pending any more.
pub(super) async fn until_settled(
    gateway: &Gateway,
    events: &[EventId],
    screen: &mut Screen,
    patience: Duration,
) -> Result<(), Failure> {
    let followed = async {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            look.tick().await;
            if !show_news(gateway, events, screen).await? {
                return Ok(());
            }
        }
    };
    let late = |_| Failure::new(Exit::Internal, "the demo's deliveries did not settle in time");
    tokio::time::timeout(patience, followed).await.map_err(late)?
}

/// Shows what is new; whether anything is still owed.
pub(super) async fn show_news(
    gateway: &Gateway,
    events: &[EventId],
    screen: &mut Screen,
) -> Result<bool, Failure> {
    let mut news = Vec::new();
    let mut owed = false;
    for event in events {
        let found = gateway.store().event(*event).await;
        let found = found.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        for delivery in found.map(|detail| detail.deliveries).unwrap_or_default() {
            let state = delivery.summary.state;
            owed |= matches!(state, DeliveryState::Pending | DeliveryState::Leased);
            let shown = screen.shown.entry(delivery.summary.id.clone()).or_default();
            for attempt in &delivery.attempts {
                if attempt.number > *shown {
                    *shown = attempt.number;
                    let at = attempt.started_at.plus(Duration::from_millis(attempt.took_ms));
                    news.push((at, delivery.clone(), attempt.clone()));
                }
            }
        }
    }
    news.sort_by_key(|(at, ..)| *at);
    for (at, delivery, attempt) in &news {
        screen.attempt(*at, delivery, attempt)?;
    }
    Ok(owed)
}
