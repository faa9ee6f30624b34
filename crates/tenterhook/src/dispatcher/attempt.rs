//! One attempt: deliver, judge, settle.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;

use super::callers::Caller;
use super::lane::Batch;
use super::{Dispatcher, Slot};
use crate::destination::Destination;
use crate::model::{FailureKind, Lease, Message, Outcome, Reply, Settled, Settlement, Verdict};
use crate::policy::verdict::verdict;

/// How much longer than its own timeout a destination may take before it is given up from outside.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// How long a settlement rests that the store could not take.
const SETTLE_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Tries the leases of one batch once, and ends them.
pub(super) async fn attempt(slot: &mut Slot, batch: Batch) {
    let (dispatcher, lane) = (Arc::clone(&slot.dispatcher), Arc::clone(&slot.lane));
    let Batch { destination, policy, leases, probe } = batch;
    let started_at = dispatcher.clock.now();
    let (leases, messages) = split(leases);

    let caller = dispatcher.callers.take(&messages);
    let delivering = AssertUnwindSafe(deliver(&*destination, &messages, caller)).catch_unwind();
    let delivered = tokio::time::timeout(policy.timeout + TIMEOUT_MARGIN, delivering).await;
    let now = dispatcher.clock.now();
    let replies = complete(delivered, messages.len(), now.since(started_at));

    lane.learn(now.since(started_at));
    lane.record(&replies, probe, now, &mut dispatcher.rng());
    if !dispatcher.callers.is_empty() && !lane.is_open(now) {
        dispatcher.callers.close(lane.name());
    }
    let settlements: Vec<_> = leases
        .iter()
        .zip(replies)
        .map(|(lease, reply)| Settlement {
            delivery: lease.delivery.clone(),
            attempt: lease.attempt,
            started_at,
            verdict: verdict(
                &policy.retry,
                lease.attempt_of_budget,
                &reply.outcome,
                now,
                &mut dispatcher.rng(),
            ),
            reply,
        })
        .collect();
    slot.answered();
    let settled = settle(&dispatcher, &settlements).await;
    for ((settlement, message), settled) in settlements.iter().zip(&messages).zip(settled) {
        tell(&dispatcher, settlement, message, settled);
    }
}

/// One try, of which somebody may wait to hear.
async fn deliver(destination: &dyn Destination, messages: &[Message], caller: Option<Caller>) -> Vec<Reply> {
    let (Some(caller), [message]) = (caller, messages) else { return destination.deliver(messages).await };
    let (reply, answer) = destination.ask(message).await;
    if let Some(reply) = &reply {
        caller.tell(&reply.outcome, answer);
    }
    reply.into_iter().collect()
}

/// What is left of a lease once its message is on its way.
struct Held {
    delivery: crate::model::DeliveryId,
    attempt: u32,
    attempt_of_budget: u32,
}

fn split(leases: Vec<Lease>) -> (Vec<Held>, Vec<Message>) {
    leases
        .into_iter()
        .map(|lease| {
            let held = Held {
                attempt: lease.message.attempt,
                delivery: lease.delivery,
                attempt_of_budget: lease.attempt_of_budget,
            };
            (held, lease.message)
        })
        .unzip()
}

type Delivered = Result<Result<Vec<Reply>, Box<dyn std::any::Any + Send>>, tokio::time::error::Elapsed>;

/// One reply for each message, whatever the destination did.
fn complete(delivered: Delivered, count: usize, took: Duration) -> Vec<Reply> {
    let failed = |kind, excerpt: &str| Reply {
        outcome: Outcome::Failed { kind, after: None },
        status: None,
        excerpt: excerpt.to_owned(),
        result: None,
        took,
    };
    let (mut replies, filler) = match delivered {
        Ok(Ok(replies)) => (replies, failed(FailureKind::Protocol, "no result for this event")),
        Ok(Err(_)) => {
            (Vec::new(), failed(FailureKind::Internal, "the destination's code panicked: a bug of ours"))
        }
        Err(_) => (Vec::new(), failed(FailureKind::Timeout, "no answer in time")),
    };
    replies.resize(count, filler);
    replies
}

/// Ends leases that are not tried, so that they wait for their destination to come back instead of for their end.
pub(super) async fn give_back(dispatcher: &Dispatcher, leases: Vec<Lease>, why: &str) {
    let now = dispatcher.clock.now();
    let settlement = |lease: Lease| Settlement {
        delivery: lease.delivery,
        attempt: lease.message.attempt,
        started_at: now,
        verdict: Verdict::Release { at: now },
        reply: Reply {
            outcome: Outcome::NotTried,
            status: None,
            excerpt: why.to_owned(),
            result: None,
            took: Duration::ZERO,
        },
    };
    let settlements: Vec<_> = leases.into_iter().map(settlement).collect();
    settle(dispatcher, &settlements).await;
    dispatcher.changed.notify_one();
}

/// Settles, again and again while the store cannot. It counts also after the lease's end as long as nobody leases
/// anew, and the dispatcher does not while this waits: an outage of the store delivers nothing twice.
async fn settle(dispatcher: &Dispatcher, settlements: &[Settlement]) -> Vec<Settled> {
    let mut owing = None;
    loop {
        match dispatcher.store.settle(settlements.to_vec()).await {
            Ok(settled) => return settled,
            Err(error) if error.is_retryable() => {
                tracing::debug!(error = %error, "settle_postponed");
                owing.get_or_insert_with(|| Owing::new(dispatcher));
                tokio::time::sleep(SETTLE_AGAIN_AFTER).await;
            }
            Err(error) => {
                tracing::error!(error = %error, deliveries = settlements.len(), "settle_failed");
                return vec![Settled::LeaseLost; settlements.len()];
            }
        }
    }
}

/// Counts an attempt as waiting for the store, for as long as it lives. With the last one leasing goes on: a settlement
/// that turns out lost changes nothing in the store, which then has no news that would wake the loop.
struct Owing<'d>(&'d Dispatcher);

impl<'d> Owing<'d> {
    fn new(dispatcher: &'d Dispatcher) -> Self {
        dispatcher.owing.fetch_add(1, Ordering::SeqCst);
        Self(dispatcher)
    }
}

impl Drop for Owing<'_> {
    fn drop(&mut self) {
        if self.0.owing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_one();
        }
    }
}

/// Counts and logs what came of it.
fn tell(dispatcher: &Dispatcher, settlement: &Settlement, message: &Message, settled: Settled) {
    let destination = &settlement.delivery.destination;
    // The same words as the answers at the door: `id` is ours, `event_id` the provider's.
    let (id, attempt) = (settlement.delivery.event, settlement.attempt);
    let event_id = message.provider_event_id.as_deref();
    let processing_time_ms = u64::try_from(settlement.reply.took.as_millis()).unwrap_or(u64::MAX);
    let status = settlement.reply.status;
    macro_rules! log {
        ($level:ident, $name:literal $(, $($more:tt)*)?) => {
            tracing::$level!(
                %id, event_id, event_type = %message.event_type, source = %message.source, %destination, attempt,
                correlation_id = %message.correlation_id, processing_time_ms, status, $($($more)*,)? $name
            )
        };
    }
    match &settlement.reply.outcome {
        Outcome::Failed { kind, .. } => dispatcher.metrics.attempt_failed(destination, *kind),
        Outcome::Rejected => dispatcher.metrics.attempt_rejected(destination),
        Outcome::Delivered | Outcome::NotTried => {}
    }
    if settled == Settled::LeaseLost {
        log!(warn, "lease_lost");
        return;
    }
    match &settlement.verdict {
        Verdict::Complete => {
            let since_received = settlement.ended_at().since(message.first_received);
            dispatcher.metrics.delivered(&message.source, destination, since_received);
            log!(info, "webhook_processed");
        }
        Verdict::Retry { at } => {
            let kind = match &settlement.reply.outcome {
                Outcome::Failed { kind, .. } => kind.code(),
                _ => "",
            };
            log!(warn, "webhook_processing_error", kind);
            log!(info, "webhook_retry_enqueued", due = %at.rfc3339());
        }
        Verdict::DeadLetter { reason } => log!(error, "webhook_moved_to_dlq", reason = reason.code()),
        Verdict::Release { at } => log!(info, "webhook_retry_enqueued", due = %at.rfc3339()),
    }
}
