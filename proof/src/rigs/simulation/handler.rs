//! The receivers of a simulated world: slow, failing, flapping, lying. They are destinations without a network; what
//! they see and say goes into the book. They do not know the store.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tenterhook::destination::{CheckError, Destination};
use tenterhook::model::{Clock, FailureKind, Message, Outcome, Reply, Timestamp};
use tokio_util::sync::CancellationToken;

use super::book::{Id, Said};
use super::fault::Fault;
use super::settings::{BATCH, STEADY};
use super::world::{ProcessClock, World, lock};

/// One receiver, as one process sees it.
pub(super) struct Handler {
    pub(super) world: Arc<World>,
    pub(super) clock: Arc<ProcessClock>,
    pub(super) part: CancellationToken,
    pub(super) index: usize,
    pub(super) mood: Arc<Mood>,
}

/// What lives through restarts of the gateway: until when a receiver is down.
#[derive(Default)]
pub(super) struct Mood {
    down_until: Mutex<Timestamp>,
}

/// What a receiver does about one message.
#[derive(Clone, Copy)]
struct Act {
    said: Said,
    kind: FailureKind,
    handled: bool,
}

impl Act {
    const FINE: Self = Self { said: Said::Delivered, kind: FailureKind::Server, handled: true };

    fn failing(kind: FailureKind, after: Option<Duration>) -> Self {
        Self { said: Said::Failed(after), kind, handled: false }
    }
}

impl Handler {
    fn ids(&self, batch: &[Message]) -> Vec<Id> {
        batch.iter().map(|message| (message.id, self.index)).collect()
    }

    /// Faults that a healthy receiver has, too, and those that stop the whole lane.
    fn act(&self) -> Act {
        let world = &self.world;
        if self.index != STEADY {
            if world.strikes(Fault::RateLimited) {
                let after = world.between(0, 120_000);
                return Act::failing(FailureKind::RateLimited, Some(after));
            }
            if world.strikes(Fault::AbsurdRetryAfter) {
                let after = Duration::from_secs(10 * 365 * 86_400);
                return Act::failing(FailureKind::Server, Some(after));
            }
            if world.strikes(Fault::NotTried) {
                return Act { said: Said::NotTried, ..Act::failing(FailureKind::Connect, None) };
            }
            if self.is_down() {
                return Act::failing(FailureKind::Connect, None);
            }
        }
        if world.strikes(Fault::ServerError) {
            return Act::failing(FailureKind::Server, None);
        }
        if world.strikes(Fault::Rejected) {
            return Act { said: Said::Rejected, handled: false, ..Act::FINE };
        }
        if world.strikes(Fault::ResetAfterHandling) {
            return Act { handled: true, ..Act::failing(FailureKind::Connect, None) };
        }
        if world.strikes(Fault::Lying) {
            return Act { handled: false, ..Act::FINE };
        }
        Act::FINE
    }

    fn is_down(&self) -> bool {
        let now = self.world.now();
        if self.world.strikes(Fault::Flapping) {
            let down = self.world.between(1000, 60_000);
            *lock(&self.mood.down_until) = now.plus(down);
        }
        !self.world.is_healing() && now < *lock(&self.mood.down_until)
    }

    fn answer(&self, id: &Id, message: &Message, act: Act, began: Timestamp) -> Reply {
        let now = self.clock.now();
        self.world.book().said(id, message.attempt, act.said, now, act.handled);
        let outcome = match act.said {
            Said::Delivered => Outcome::Delivered,
            Said::Rejected => Outcome::Rejected,
            Said::NotTried => Outcome::NotTried,
            Said::Failed(after) => Outcome::Failed { kind: act.kind, after },
        };
        Reply { outcome, status: None, excerpt: String::new(), result: None, took: now.since(began) }
    }
}

#[async_trait]
impl Destination for Handler {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn deliver(&self, batch: &[Message]) -> Vec<Reply> {
        if self.part.is_cancelled() {
            return pending().await;
        }
        let (world, began) = (&self.world, self.clock.now());
        for (id, message) in self.ids(batch).iter().zip(batch) {
            world.trace("tried", id.0.raw() as u64, u64::from(message.attempt) * 10 + id.1 as u64);
            world.book().tried(world, id, message, began);
        }
        world.check(batch.len() == 1 || self.index == BATCH, "batch", || {
            "a batch nobody asked for".to_owned()
        });
        if world.strikes(Fault::HangingHandler) {
            return pending().await;
        }
        if world.strikes(Fault::PanickingHandler) {
            for (id, message) in self.ids(batch).iter().zip(batch) {
                world.book().said(id, message.attempt, Said::Failed(None), began, false);
            }
            // The hook stays silent for this kind of payload, and the dispatcher has to catch it.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        if world.strikes(Fault::SlowHandler) {
            let longest = world.settings.timeouts[self.index].as_millis() as u64;
            let time = world.between(1, longest);
            tokio::time::sleep(time).await;
        }
        let mut answered = batch.len();
        if batch.len() > 1 && world.strikes(Fault::PartialBatch) {
            answered = world.rng().usize(0..batch.len());
        }
        let whole = self.act();
        let each = batch.len() > 1 && matches!(whole.said, Said::Delivered | Said::Failed(None));
        let mut replies = Vec::with_capacity(batch.len());
        for (place, (id, message)) in self.ids(batch).iter().zip(batch).enumerate() {
            let act = if each && place > 0 { self.act() } else { whole };
            let reply = self.answer(id, message, act, began);
            if place < answered {
                replies.push(reply);
            } else {
                // Not named in the answer: as good as failed, whatever became of it.
                world.book().said(id, message.attempt, Said::Failed(None), self.clock.now(), act.handled);
            }
        }
        replies
    }

    async fn check(&self) -> Result<(), CheckError> {
        Ok(())
    }
}
