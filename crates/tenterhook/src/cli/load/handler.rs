//! The handler that a load plays: it answers 200 to everything at once, and writes down which events it was given. A
//! destination that leads to it must not be a batch.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use memchr::memmem;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::figures::{histogram, record};
use super::journal::Journal;
use super::plan::Plan;
use super::wire::Wire;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What the handler was given.
#[derive(Debug)]
pub(super) struct Seen {
    /// Requests answered.
    pub(super) calls: u64,
    /// Requests in which there was no event of this run.
    pub(super) strangers: u64,
    /// From the sending of an event to the handler's first sight of it, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// When an event was seen for the first time last.
    pub(super) last: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Handler {
    plan: Arc<Plan>,
    journal: Arc<Journal>,
    seen: Mutex<Seen>,
}

impl Handler {
    pub(super) fn new(plan: Arc<Plan>, journal: Arc<Journal>) -> Self {
        let seen = Seen { calls: 0, strangers: 0, latency: histogram(), last: None };
        Self { plan, journal, seen: Mutex::new(seen) }
    }

    /// Serves for as long as the process lives.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&self);
                    // A connection that breaks is the gateway's to notice: its delivery is tried again.
                    tokio::spawn(async move { drop(handler.connection(stream).await) });
                }
                Err(error) => tracing::debug!(%error, "handler_accept_failed"),
            }
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream)?;
        while let Some(message) = wire.message().await? {
            self.note(wire.bytes(message));
            wire.consume(message);
            wire.write(ANSWER).await?;
        }
        Ok(())
    }

    /// The id is in the body, and in the headers of some providers: the first one found is the event's.
    fn note(&self, request: &[u8]) {
        let at = memmem::find(request, self.plan.run());
        let number = at.and_then(|at| self.plan.number(&request[at..]));
        let now = Instant::now();
        let mut seen = self.seen();
        seen.calls += 1;
        let Some(number) = number else {
            seen.strangers += 1;
            return;
        };
        if let Some(took) = self.journal.handled(number, now) {
            record(&mut seen.latency, took);
            seen.last = Some(now);
        }
    }
}
