//! Tells callers what became durable, in the order of the commits, and hands out what was leased with them. A task of its
//! own, for the disk must not wait until a hundred callers are woken; and of the runtime that they wait in, for waking
//! them costs least there.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::handout::Handout;
use super::inbox::{self, is_accept};
use super::queue::{Done, Shared, Work};
use super::syncer::Committed;
use crate::model::Accepted;
use crate::store::{StoreError, StoreErrorKind};
use crate::telemetry::metrics::Metrics;

/// A commit that the disk has.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) committed: Committed,
    pub(super) sync_took: Duration,
}

/// The way to the task. It holds no more than there are callers, and their number is bounded.
#[derive(Clone, Debug)]
pub(super) struct Answers(UnboundedSender<Durable>);

/// What the task works with.
pub(super) struct Audience {
    pub(super) shared: Arc<Shared>,
    pub(super) handout: Arc<Handout>,
    pub(super) metrics: Arc<Metrics>,
}

impl Answers {
    /// Starts the task, which ends with the last sender.
    ///
    /// # Errors
    /// `Unavailable` outside a runtime.
    pub(super) fn start(audience: Audience) -> Result<Self, StoreError> {
        let runtime = Handle::try_current().map_err(|_| {
            StoreError::new(StoreErrorKind::Unavailable, "a store is opened within an async runtime")
        })?;
        let (sender, receiver) = unbounded_channel();
        runtime.spawn(answer(audience, receiver));
        Ok(Self(sender))
    }

    /// Has the callers told. Where the runtime is gone, so are they.
    pub(super) fn give(&self, durable: Durable) {
        let _ = self.0.send(durable);
    }
}

async fn answer(audience: Audience, mut durables: UnboundedReceiver<Durable>) {
    while let Some(durable) = durables.recv().await {
        audience.publish(durable);
    }
}

impl Audience {
    /// Counts it, tells everybody, and hands out what was leased.
    fn publish(&self, Durable { committed, sync_took }: Durable) {
        let Committed { group, done, taken, log, woke, began, .. } = committed;
        self.shared.count_commit();
        if log.is_some() {
            self.metrics
                .commit_took(began.elapsed(), group.iter().map(|command| inbox::accepts(command)).sum());
            self.metrics.fsync_took(sync_took);
        }
        let accepts = group.iter().filter(|command| is_accept(command));
        if let Some(first) = accepts.map(|command| command.since).min() {
            self.shared.pressure.learn(first.elapsed());
        }
        let mut accepted = Vec::new();
        for (command, done) in group.into_iter().zip(done) {
            if !taken.is_empty()
                && let (Work::Accept(batch), Ok(Done::Accepted(answers))) = (command.work, &done)
            {
                accepted.extend(batch.into_iter().zip(answers.iter().map(new_id)));
            }
            let _ = command.reply.send(done);
        }
        let mut taken = taken.into_iter().peekable();
        for (packed, id) in accepted {
            let of_event: Vec<_> =
                std::iter::from_fn(|| taken.next_if(|taken| Some(taken.event) == id)).collect();
            self.handout.hand_out(packed, &of_event);
        }
        if woke {
            self.shared.tick();
        }
    }
}

fn new_id(answer: &Accepted) -> Option<i64> {
    match answer {
        Accepted::New { id, .. } => Some(id.raw()),
        Accepted::Duplicate(_) | Accepted::Conflict(_) => None,
    }
}
