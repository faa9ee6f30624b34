//! Drives the requests of a load through its connections, as a closed loop (each connection sends as soon as it was
//! answered) or an open one (requests fall due at their own pace). One thread and uncontended locks: a load shares the
//! machine with what it measures.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::figures::{Figures, Handled, Percentiles, Progress, Sent, record};
use super::handler::Handler;
use super::journal::Journal;
use super::pace::Pacer;
use super::plan::{Plan, Slot};
use super::wire::Wire;
use crate::cli::failure::{Exit, Failure};
use crate::model::SystemClock;

/// Acknowledged events that a connection remembers, to send them again.
const REMEMBERED: usize = 1024;
/// How long a connection rests before it is made again.
const RECONNECT: Duration = Duration::from_millis(10);
/// Without any answer for this long, a load gives up waiting.
const SILENCE: Duration = Duration::from_secs(30);
/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// How much is sent, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Connections.
    pub connections: u32,
    /// Requests per second, whatever the answers; `None`: a closed loop.
    pub rate: Option<f64>,
    /// Not measured.
    pub warmup: Duration,
    /// Measured, after the warm-up; `None`: until `count` were sent.
    pub duration: Option<Duration>,
    /// Requests in all, warm-up included.
    pub count: Option<u64>,
    /// The share of requests that repeat an event that was acknowledged before: 0 to 1.
    pub duplicates: f64,
    /// What the choice of duplicates comes from.
    pub seed: u64,
}

/// A load: sent first, then waited for.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    handler: Option<Arc<Handler>>,
}

#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    journal: Arc<Journal>,
    address: SocketAddr,
    pace: Pace,
    start: Instant,
    measured_from: Instant,
    until: Option<Instant>,
    /// Requests begun, to end at `count`.
    begun: AtomicU64,
    pacer: Option<Pacer>,
    figures: Mutex<Figures>,
    /// The first reason why no request can be made any more.
    broken: Mutex<Option<Failure>>,
}

impl Load {
    /// Starts the handler, where there is a listener for one. The clock of the load runs from here.
    #[must_use]
    pub fn new(plan: Plan, address: SocketAddr, pace: Pace, handler: Option<TcpListener>) -> Self {
        let start = Instant::now();
        let (plan, journal) = (Arc::new(plan), Arc::new(Journal::new(start)));
        let handler = handler.map(|listener| {
            let handler = Arc::new(Handler::new(Arc::clone(&plan), Arc::clone(&journal)));
            tokio::spawn(Arc::clone(&handler).serve(listener));
            handler
        });
        let measured_from = start + pace.warmup;
        let shared = Arc::new(Shared {
            plan,
            journal,
            address,
            pace,
            start,
            measured_from,
            until: pace.duration.map(|duration| measured_from + duration),
            begun: AtomicU64::new(0),
            pacer: pace.rate.map(|rate| Pacer::new(start, rate, pace.count)),
            figures: Mutex::new(Figures::new()),
            broken: Mutex::default(),
        });
        Self { shared, handler }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Sends everything, and waits for the answers.
    ///
    /// # Errors
    /// `Unreachable` when nobody listens at the start; what signing says when a request cannot be signed.
    pub async fn send(&self, progress: &impl Fn(Progress)) -> Result<Sent, Failure> {
        let address = self.shared.address;
        drop(TcpStream::connect(address).await.map_err(|error| {
            Failure::new(Exit::Unreachable, format!("nobody answers at {address}: {error}"))
        })?);
        let mut tasks = JoinSet::new();
        for number in 0..self.shared.pace.connections {
            tasks.spawn(connection(Arc::clone(&self.shared), number));
        }
        let shared = Arc::clone(&self.shared);
        let pacer = tokio::spawn(async move {
            match &shared.pacer {
                Some(pacer) => pacer.run(shared.until).await,
                None => Ok(()),
            }
        });
        self.wait(&mut tasks, progress).await;
        pacer.abort();
        if let Ok(Err(error)) = pacer.await {
            return Err(error.into());
        }
        if let Some(failure) = lock(&self.shared.broken).take() {
            return Err(failure);
        }
        Ok(self.shared.sent())
    }

    /// Until every connection has ended, or nothing is answered any more.
    async fn wait(&self, tasks: &mut JoinSet<()>, progress: &impl Fn(Progress)) {
        let mut tick = tokio::time::interval(TICK);
        let (mut answered, mut since) = (0, Instant::now());
        loop {
            tokio::select! {
                ended = tasks.join_next() => if ended.is_none() { break },
                _ = tick.tick() => {
                    let now = self.progress();
                    progress(now);
                    if now.answered != answered || now.sent == 0 {
                        (answered, since) = (now.answered, Instant::now());
                    } else if since.elapsed() > SILENCE {
                        break;
                    }
                }
            }
        }
        tasks.shutdown().await;
        progress(self.progress());
    }

    fn progress(&self) -> Progress {
        let figures = self.shared.figures();
        Progress {
            sent: figures.sent,
            answered: figures.answered(),
            acked: figures.acked,
            owed: if self.handler.is_some() { self.shared.journal.owed() } else { 0 },
        }
    }

    /// Waits until the handler has seen every acknowledged event, or no further one for `patience`. `None` without a
    /// handler.
    pub async fn drain(&self, patience: Duration, progress: &impl Fn(Progress)) -> Option<Handled> {
        let handler = self.handler.as_ref()?;
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let (mut owed, mut since) = (u64::MAX, Instant::now());
        loop {
            tick.tick().await;
            let now = self.progress();
            progress(now);
            if now.owed != owed {
                (owed, since) = (now.owed, Instant::now());
            }
            if owed == 0 || since.elapsed() > patience {
                break;
            }
        }
        Some(self.handled(handler))
    }

    /// What the handler saw up to now.
    fn handled(&self, handler: &Handler) -> Handled {
        let journal = &self.shared.journal;
        let (once, twice) =
            (journal.count(|entry| entry.handled == 1), journal.count(|entry| entry.handled > 1));
        let seen = handler.seen();
        let seconds = seen.last.map_or(0.0, |last| last.duration_since(self.shared.start).as_secs_f64());
        Handled {
            calls: seen.calls,
            strangers: seen.strangers,
            once,
            twice,
            never: journal.owed(),
            seconds,
            rate: if seconds > 0.0 { (once + twice) as f64 / seconds } else { 0.0 },
            latency: Percentiles::of(&seen.latency),
        }
    }
}

impl Shared {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        lock(&self.figures)
    }

    fn sent(&self) -> Sent {
        let figures = self.figures();
        let end = match (self.until, figures.last) {
            (Some(until), Some(last)) if self.pace.count.is_none() => until.min(last.max(self.measured_from)),
            (_, last) => last.unwrap_or(self.start),
        };
        let seconds = end.duration_since(self.measured_from).as_secs_f64();
        Sent {
            sent: figures.sent,
            duplicates_sent: figures.duplicates,
            statuses: figures.statuses.clone(),
            io_errors: figures.io_errors,
            unanswered: figures.sent - figures.answered() - figures.io_errors,
            unsent: self.pacer.as_ref().map_or(0, Pacer::unsent),
            acked: figures.acked,
            seconds,
            rate: if seconds > 0.0 { figures.latency.len() as f64 / seconds } else { 0.0 },
            latency: Percentiles::of(&figures.latency),
        }
    }

    /// When the next request is due, once it is; `None` when there is none any more.
    async fn next(&self) -> Option<Instant> {
        let is_over = |at: Instant| self.until.is_some_and(|until| at >= until);
        if self.pace.count.is_some_and(|count| self.begun.fetch_add(1, Ordering::Relaxed) >= count) {
            return None;
        }
        let due = match &self.pacer {
            Some(pacer) => pacer.next().await?,
            None => Instant::now(),
        };
        (!is_over(due)).then_some(due)
    }

    /// Notes an answer; whether it is a 2xx.
    fn answered(&self, number: u64, status: u16, due: Instant) -> bool {
        let now = Instant::now();
        let is_ack = (200..300).contains(&status);
        let is_first = is_ack && self.journal.acked(number);
        let mut figures = self.figures();
        *figures.statuses.entry(status).or_default() += 1;
        figures.acked += u64::from(is_first);
        figures.last = Some(now);
        if is_ack && now >= self.measured_from && self.until.is_none_or(|until| now < until) {
            record(&mut figures.latency, now.duration_since(due));
        }
        is_ack
    }
}

/// One connection, made anew when it breaks.
async fn connection(shared: Arc<Shared>, number: u32) {
    let mut random = fastrand::Rng::with_seed(shared.pace.seed.wrapping_add(u64::from(number)));
    let mut slot = shared.plan.slot();
    let mut wire = None;
    let mut remembered = Vec::new();
    while let Some(due) = shared.next().await {
        let again = (!remembered.is_empty() && random.f64() < shared.pace.duplicates)
            .then(|| remembered[random.usize(..remembered.len())]);
        let event = again.unwrap_or_else(|| shared.journal.begin(due));
        if let Err(failure) = shared.plan.write(event, SystemClock::wall().to_system(), &mut slot) {
            lock(&shared.broken).get_or_insert(failure);
            break;
        }
        {
            let mut figures = shared.figures();
            figures.sent += 1;
            figures.duplicates += u64::from(again.is_some());
        }
        match exchange(&mut wire, shared.address, &slot).await {
            Ok(status) => {
                if shared.answered(event, status, due) && again.is_none() && shared.pace.duplicates > 0.0 {
                    remember(&mut remembered, event, &mut random);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "load_connection_broke");
                shared.figures().io_errors += 1;
                wire = None;
                tokio::time::sleep(RECONNECT).await;
            }
        }
    }
}

fn remember(remembered: &mut Vec<u64>, event: u64, random: &mut fastrand::Rng) {
    if remembered.len() < REMEMBERED {
        remembered.push(event);
    } else {
        remembered[random.usize(..REMEMBERED)] = event;
    }
}

/// Sends the slot's request and waits for the whole answer; its status.
async fn exchange(wire: &mut Option<Wire>, address: SocketAddr, slot: &Slot) -> io::Result<u16> {
    let open = match wire.take() {
        Some(open) => open,
        None => Wire::new(TcpStream::connect(address).await?)?,
    };
    let open = wire.insert(open);
    open.write(&slot.out).await?;
    let answer = open.message().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    open.consume(answer);
    if answer.closes {
        *wire = None;
    }
    Ok(answer.status)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
