//! Who waits at the door for the first attempt of a delivery, by the correlation id of the request that brought it: no
//! other request has that one, so a duplicate never hears (nor asks) anything. Knows nothing of HTTP or of the store:
//! whoever is forgotten here goes without an answer, and its event is delivered all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::{DestinationName, HandlerAnswer, Heard, Message, Outcome};

/// By correlation id, for which destination, and how to tell.
type Waiting = HashMap<String, (DestinationName, oneshot::Sender<Heard>)>;

/// Everybody who waits. As many as the sources allow.
#[derive(Debug, Default)]
pub(super) struct Callers {
    waiting: Mutex<Waiting>,
    /// So many are in there: attempts that nobody waits for look no further.
    count: AtomicUsize,
}

/// Somebody who waits; dropped, nobody does any more.
#[derive(Debug)]
pub(super) struct Place {
    callers: Arc<Callers>,
    correlation_id: String,
    heard: oneshot::Receiver<Heard>,
}

/// The way to somebody who waits. Dropped unused (the attempt panicked, or was abandoned): it heard nothing.
#[derive(Debug)]
pub(super) struct Caller(oneshot::Sender<Heard>);

impl Callers {
    /// Waits from now on: before the event is stored, so that no attempt comes too early.
    pub(super) fn enter(self: &Arc<Self>, destination: &DestinationName, correlation_id: &str) -> Place {
        let (sender, heard) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.insert(correlation_id.to_owned(), (destination.clone(), sender));
        self.count.store(waiting.len(), Ordering::SeqCst);
        Place { callers: Arc::clone(self), correlation_id: correlation_id.to_owned(), heard }
    }

    /// Whether nobody waits. Costs next to nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Who waits for the attempt that begins with these messages. It is this attempt that they hear of, and no later one.
    pub(super) fn take(&self, messages: &[Message]) -> Option<Caller> {
        if self.is_empty() {
            return None;
        }
        let [message] = messages else { return None };
        self.remove(&message.correlation_id).map(Caller)
    }

    /// Tells those who wait for an attempt of this destination that none begins for now.
    pub(super) fn close(&self, destination: &DestinationName) {
        let mut waiting = self.lock();
        for (_, (_, sender)) in waiting.extract_if(|_, (wanted, _)| wanted == destination) {
            let _ = sender.send(Heard::Closed);
        }
        self.count.store(waiting.len(), Ordering::SeqCst);
    }

    fn remove(&self, correlation_id: &str) -> Option<oneshot::Sender<Heard>> {
        let mut waiting = self.lock();
        let (_, sender) = waiting.remove(correlation_id)?;
        self.count.store(waiting.len(), Ordering::SeqCst);
        Some(sender)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What came of the attempt; `None` when it came to no end.
    pub(super) async fn heard(mut self) -> Option<Heard> {
        (&mut self.heard).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.callers.remove(&self.correlation_id);
    }
}

impl Caller {
    /// Tells what came of the attempt, before the store knows: an answer that came in time must not be late for a disk.
    pub(super) fn tell(self, outcome: &Outcome, answer: Option<HandlerAnswer>) {
        let heard = match (outcome, answer) {
            (Outcome::Delivered, Some(answer)) => Heard::Answer(answer),
            (Outcome::Delivered, None) => Heard::Unfit,
            _ => Heard::Failed,
        };
        // Whoever waited may be gone: its deadline has passed, or the provider hung up.
        let _ = self.0.send(heard);
    }
}
