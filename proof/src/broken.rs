//! Gateways with one deliberate bug each, for the controls: the real parts around a store that breaks one of its
//! promises. A rig that does not notice is blind.

mod pressure;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use tenterhook::config;
use tenterhook::model::{
    Accepted, Clock, DestinationName, EventId, Ledger, Settled, Settlement, Stats, Submission, SystemClock,
    Timestamp, Verdict,
};
use tenterhook::server::Server;
use tenterhook::store::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Store, StoreError, StoreErrorKind,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the store that writes behind is behind.
const BEHIND: Duration = Duration::from_millis(20);
use pressure::Pressure;

/// A deliberate bug of a whole gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// None: the same parts in this process, for what cannot live beside the allocator of the gateway's own binary.
    Nothing,
    /// Answers before the commit, and commits later.
    AckBeforeCommit,
    /// Answers 202 although the commit failed.
    SwallowedCommitError,
    /// Settles whatever comes, also for a lease that was lost.
    NoFencing,
    /// Says that a settlement is recorded a little before it is: writing behind.
    SettleBeforeCommit,
    /// Changes a byte of every thirteenth body that it leases.
    WrongByte,
    /// Lets accepts wait in a queue without an end.
    EndlessQueue,
    /// Keeps every body in memory.
    Leak,
    /// Leases nothing for anybody until all that is leased is settled.
    OneLane,
    /// Reads the whole store before it is ready.
    ScanAtOpen,
    /// Retries at once instead of after the backoff.
    EarlyRetry,
    /// Lives by the wall clock, and follows its steps.
    WallClock,
}

/// What [`Bug::WallClock`] takes for the time.
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        SystemClock::wall()
    }
}

impl Bug {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::AckBeforeCommit => "ack-before-commit",
            Self::SwallowedCommitError => "swallowed-commit-error",
            Self::NoFencing => "no-fencing",
            Self::SettleBeforeCommit => "settle-before-commit",
            Self::WrongByte => "wrong-byte",
            Self::EarlyRetry => "early-retry",
            Self::WallClock => "wall-clock",
            Self::EndlessQueue => "endless-queue",
            Self::Leak => "leak",
            Self::OneLane => "one-lane",
            Self::ScanAtOpen => "scan-at-open",
        }
    }
}

/// How the broken gateway is run.
#[derive(Debug, clap::Args)]
pub struct GatewayArgs {
    /// Its bug
    #[arg(long, value_enum)]
    bug: Bug,
    /// Its config
    #[arg(long)]
    config: PathBuf,
}

/// Runs a broken gateway until SIGTERM.
#[tokio::main(worker_threads = 1)]
pub async fn run(args: &GatewayArgs) -> anyhow::Result<()> {
    let environment = std::env::vars().collect();
    let clock: Arc<dyn Clock> = match args.bug {
        Bug::WallClock => Arc::new(WallClock),
        _ => Arc::new(SystemClock::start()),
    };
    let config =
        config::load(&args.config, &environment, clock.now()).map_err(|it| anyhow::anyhow!("{it}"))?;
    tenterhook::telemetry::log::init(config.server.log.json, &config.server.log.filter)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let bug = args.bug;
    let is_read = Arc::new(AtomicBool::new(bug != Bug::ScanAtOpen));
    let of_store = Arc::clone(&is_read);
    let around = move |inner| {
        Arc::new(BrokenStore { inner, bug, pressure: Pressure::new(bug), is_read: of_store })
            as Arc<dyn Store>
    };
    let server = Server::start_around(config, environment, clock, around).await?;
    if bug == Bug::ScanAtOpen {
        pressure::scan(server.gateway().store().as_ref()).await?;
        is_read.store(true, Ordering::SeqCst);
    }
    tracing::info!(ingress = %server.ingress(), admin = %server.admin(), "gateway_ready");
    signal(SignalKind::terminate())?.recv().await.context("signals end")?;
    Ok(server.stop().await?)
}

/// A store with a bug around a good one.
struct BrokenStore {
    inner: Arc<dyn Store>,
    bug: Bug,
    pressure: Pressure,
    /// It may say that it is ready.
    is_read: Arc<AtomicBool>,
}

#[async_trait]
impl Store for BrokenStore {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        let _held = self.pressure.accepting(&batch).await;
        let made_up = |batch: &[Submission]| {
            let id = |submission: &Submission| EventId::floor_of(submission.admitted.received_at);
            batch.iter().map(|it| Accepted::New { id: id(it), replay_suspect: false }).collect()
        };
        match self.bug {
            Bug::AckBeforeCommit => {
                let (answer, inner) = (made_up(&batch), Arc::clone(&self.inner));
                tokio::spawn(async move { inner.accept(batch).await });
                Ok(answer)
            }
            Bug::SwallowedCommitError => {
                let answer = made_up(&batch);
                Ok(self.inner.accept(batch).await.unwrap_or(answer))
            }
            _ => self.inner.accept(batch).await,
        }
    }

    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError> {
        self.pressure.leasing().await;
        let mut leased = self.inner.lease(demand).await?;
        self.pressure.leased(leased.leases.len());
        if self.bug == Bug::WrongByte {
            for lease in leased.leases.iter_mut().filter(|lease| lease.message.body.len() % 13 == 0) {
                let mut body = lease.message.body.to_vec();
                body.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                lease.message.body = body.into();
            }
        }
        Ok(leased)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        if self.bug == Bug::SettleBeforeCommit {
            let (said, inner) = (vec![Settled::Recorded; batch.len()], Arc::clone(&self.inner));
            tokio::spawn(async move {
                tokio::time::sleep(BEHIND).await;
                inner.settle(batch).await
            });
            return Ok(said);
        }
        if self.bug == Bug::EarlyRetry {
            let at_once = |mut settlement: Settlement| {
                if let Verdict::Retry { at } = &mut settlement.verdict {
                    *at = settlement.started_at;
                }
                settlement
            };
            return self.inner.settle(batch.into_iter().map(at_once).collect()).await;
        }
        self.pressure.settled(batch.len());
        if self.bug != Bug::NoFencing {
            return self.inner.settle(batch).await;
        }
        // Settles whichever attempt is under way: what a store does that does not compare the token.
        let mut forced = Vec::new();
        for mut settlement in batch {
            if let Some(event) = self.inner.event(settlement.delivery.event).await? {
                let mine = event.deliveries.iter().find(|it| it.summary.id == settlement.delivery);
                settlement.attempt = mine.map_or(settlement.attempt, |it| it.summary.attempts);
            }
            forced.push(settlement);
        }
        self.inner.settle(forced).await
    }

    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError> {
        self.inner.change(selection, change, by).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        self.inner.prune(retention, now).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<EventSummary>, StoreError> {
        self.inner.events(query).await
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        self.inner.event(id).await
    }

    async fn payload(&self, id: EventId, conflict: Option<u32>) -> Result<Option<Payload>, StoreError> {
        self.inner.payload(id, conflict).await
    }

    async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliverySummary>, StoreError> {
        self.inner.deliveries(query).await
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        self.inner.stats(now).await
    }

    async fn recount(&self) -> Result<Ledger, StoreError> {
        self.inner.recount().await
    }

    async fn compare(&self) -> Result<(Ledger, Ledger), StoreError> {
        self.inner.compare().await
    }

    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError> {
        self.inner.set_paused(destination, paused, by).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.inner.audit(entry).await
    }

    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        self.inner.audits(before, limit).await
    }

    fn ready(&self) -> Result<(), StoreError> {
        if !self.is_read.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "everything is read first"));
        }
        self.inner.ready()
    }

    fn work(&self) -> watch::Receiver<u64> {
        self.inner.work()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
