//! The store of a simulated world, as a process sees it: the real memory store plays the disk and outlives every
//! process, and faults strike before and after each of its steps. What became durable is written into the book.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tenterhook::model::{
    Accepted, Clock, DeliveryId, DestinationName, EventId, Lease, Ledger, NewDelivery, Settled, Settlement,
    Stats, Submission, Timestamp,
};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Standby, Store, StoreError,
    StoreErrorKind,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::absorb;
use super::book::{Event, Id};
use super::fault::Fault;
use super::handout::Handout;
use super::settings::{SOURCES, index_of};
use super::world::{ProcessClock, World, lock};

/// After a failed lease the dispatcher rests for a second at most, after a failed settle for a fifth.
const REST_MAX: Duration = Duration::from_secs(1);

/// The disk as one part of one process sees it.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) world: Arc<World>,
    pub(super) inner: Arc<MemoryStore>,
    pub(super) clock: Arc<ProcessClock>,
    /// The part that calls; after its end no call has an effect or an answer.
    pub(super) part: CancellationToken,
    /// The process that the part belongs to.
    pub(super) process: CancellationToken,
    /// Whether it keeps everything while the clock is in doubt.
    pub(super) doubts: bool,
    /// Leases at the accept, where this world has them.
    pub(super) handout: Arc<Mutex<Arc<Handout>>>,
}

/// A delivery's id in the book.
pub(super) fn id_of(delivery: &DeliveryId) -> Id {
    (delivery.event, index_of(&delivery.destination))
}

fn failing(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "a fault of the simulated world")
}

impl Disk {
    /// What is dead gets no answer any more.
    async fn alive(&self) {
        if self.part.is_cancelled() || self.process.is_cancelled() {
            pending::<()>().await;
        }
    }

    /// The process dies here and now.
    async fn die<T>(&self) -> T {
        self.process.cancel();
        self.world.book().nobody_knows(None);
        pending().await
    }

    fn strikes(&self, fault: Fault) -> bool {
        self.world.strikes(fault)
    }

    async fn rest(&self, low_ms: u64, high_ms: u64) {
        let time = self.world.between(low_ms, high_ms);
        tokio::time::sleep(time).await;
        self.alive().await;
    }

    /// Whether it is there at all.
    async fn open(&self) -> Result<(), StoreError> {
        self.alive().await;
        if self.world.now() < self.world.book().away_until {
            self.excuse();
            return Err(failing(StoreErrorKind::Unavailable));
        }
        Ok(())
    }

    fn excuse(&self) {
        self.world.book().excuse(self.clock.now().plus(REST_MAX));
    }

    /// The commit of an accept, and what the book has to know of it.
    async fn commit(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        let arrived: Vec<_> = batch.iter().map(event_of).collect();
        let owed: Vec<Vec<_>> = batch.iter().map(|it| unordered(&it.deliveries)).collect();
        let answers = self.inner.accept(batch).await?;
        for ((event, answer), owed) in arrived.into_iter().zip(&answers).zip(&owed) {
            self.note(event, answer).await;
            if matches!(answer, Accepted::New { .. }) && self.world.settings.hands_out {
                self.hand_out(owed).await;
            }
        }
        Ok(answers)
    }

    /// What was just accepted is leased in the same step, where a lane stands by.
    async fn hand_out(&self, owed: &[DestinationName]) {
        let handout = Arc::clone(&lock(&self.handout));
        for destination in owed {
            let now = self.clock.now();
            if let Some((demand, leased)) = handout.lease(&self.inner, destination, now).await {
                self.world.trace("handed out", leased.leases.len() as u64, index_of(destination) as u64);
                self.note_leases(&demand, &leased);
                handout.send(leased);
            }
        }
    }

    async fn note(&self, event: Event, answer: &Accepted) {
        let (world, now) = (&self.world, self.clock.now());
        match answer {
            Accepted::New { id, replay_suspect } => {
                world.trace("accepted", id.raw() as u64, 0);
                let event = Event { suspect: *replay_suspect, ..event };
                world.book().accepted(world, *id, event, true, now);
            }
            Accepted::Duplicate(known) if known.redriven > 0 => {
                world.trace("redriven by a duplicate", known.id.raw() as u64, 0);
                absorb::redriven(world, &self.inner, known.id, event.received_at, now).await;
            }
            Accepted::Duplicate(_) => {}
            // A body that is delivered beside the first is an event without a key, and the newest of all.
            Accepted::Conflict(_) => {
                let newest = EventQuery { limit: 1, ..EventQuery::default() };
                let Ok(page) = self.inner.events(newest).await else { return };
                let Some(beside) = page.items.first() else { return };
                if !world.book().events.contains_key(&beside.id) {
                    world.trace("accepted beside", beside.id.raw() as u64, 0);
                    let event = Event { suspect: beside.replay_suspect, ..event };
                    world.book().accepted(world, beside.id, event, false, now);
                }
            }
        }
    }

    /// Writes taken leases into the book, and judges whether the most urgent were taken.
    fn note_leases(&self, demand: &Demand, leased: &Leased) {
        let (world, now) = (&self.world, self.clock.now());
        let mut book = world.book();
        let found_dead: Vec<_> = leased.found_dead.iter().map(id_of).collect();
        for lane in &demand.lanes {
            book.notice_expired(index_of(&lane.destination), demand.now, &found_dead);
        }
        let mut by_lane: BTreeMap<usize, Vec<Id>> = BTreeMap::new();
        for lease in &leased.leases {
            let id = id_of(&lease.delivery);
            world.trace("leased", id.0.raw() as u64, u64::from(lease.message.attempt) * 10 + id.1 as u64);
            book.leased(world, &id, lease, now);
            by_lane.entry(id.1).or_default().push(id);
        }
        for lane in demand.lanes.iter().filter(|lane| lane.avoid.is_none()) {
            let (to, fair) = (index_of(&lane.destination), lane.least_urgent_first as usize);
            let urgency = |id: &Id| book.deliveries.get(id).map(|it| it.priority);
            let taken = by_lane.get(&to).into_iter().flatten().skip(fair).filter_map(urgency).max();
            let left = book.deliveries.iter().filter(|(id, it)| {
                id.1 == to && it.key.is_none() && it.is_due(demand.now) && Some(it.priority) < taken
            });
            let left: Vec<_> = left.map(|(id, _)| id).collect();
            world.check(taken.is_none() || left.is_empty(), "priority", || {
                format!("{taken:?} taken while {left:?} wait")
            });
        }
    }
}

/// The destinations that are owed without an order.
fn unordered(deliveries: &[NewDelivery]) -> Vec<DestinationName> {
    let free = deliveries.iter().filter(|it| it.ordering_key.is_none());
    free.map(|it| it.destination.clone()).collect()
}

fn event_of(submission: &Submission) -> Event {
    let parts = &submission.admitted;
    let source = SOURCES.iter().position(|(name, _)| *name == parts.source.as_str()).unwrap_or(0);
    Event {
        source,
        pid: parts.provider_event_id.clone().unwrap_or_default(),
        body: parts.body.clone(),
        received_at: parts.received_at,
        suspect: false,
        gone: false,
    }
}

#[async_trait]
impl Store for Disk {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        self.open().await?;
        if self.world.now() < self.world.book().full_until {
            return Err(failing(StoreErrorKind::Full));
        }
        if self.strikes(Fault::CrashBeforeCommit) {
            return self.die().await;
        }
        if self.strikes(Fault::AcceptFails) {
            return Err(failing(StoreErrorKind::Unavailable));
        }
        if self.strikes(Fault::AcceptSlow) {
            self.rest(10, 4500).await;
        }
        let answers = if self.strikes(Fault::AcceptOutlastsDeadline) {
            let disk = self.clone();
            let late = async move {
                disk.rest(5100, 20_000).await;
                disk.commit(batch).await
            };
            tokio::spawn(late).await.map_err(|_| failing(StoreErrorKind::Unavailable))??
        } else {
            self.commit(batch).await?
        };
        if self.strikes(Fault::CrashAfterCommit) {
            return self.die().await;
        }
        if self.strikes(Fault::AcceptFailsAfterCommit) {
            return Err(failing(StoreErrorKind::Unavailable));
        }
        if self.strikes(Fault::AcceptAnswersLate) {
            self.rest(10, 8000).await;
        }
        self.alive().await;
        Ok(answers)
    }

    async fn lease(&self, demand: Demand) -> Result<Leased, StoreError> {
        self.open().await?;
        if self.world.spins() {
            self.world.check(false, "R14", || "the dispatcher asks for leases without a rest".to_owned());
            // Simulated time goes by only while everybody waits.
            tokio::time::sleep(REST_MAX).await;
        }
        if self.strikes(Fault::LeaseFails) {
            self.excuse();
            return Err(failing(StoreErrorKind::Unavailable));
        }
        let leased = self.inner.lease(demand.clone()).await?;
        self.note_leases(&demand, &leased);
        if !leased.leases.is_empty() && self.strikes(Fault::CrashAfterLease) {
            return self.die().await;
        }
        if !leased.leases.is_empty() && self.strikes(Fault::LeaseFailsAfterCommit) {
            self.excuse();
            return Err(failing(StoreErrorKind::Unavailable));
        }
        if self.strikes(Fault::LeaseSlow) {
            self.rest(10, 3000).await;
            self.world.book().excuse(self.clock.now());
        }
        Ok(leased)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        self.open().await?;
        let ids: Vec<_> = batch.iter().map(|it| id_of(&it.delivery)).collect();
        let unknown = || ids.iter().for_each(|id| self.world.book().nobody_knows(Some(id)));
        if self.strikes(Fault::CrashBeforeSettle) {
            return self.die().await;
        }
        if self.strikes(Fault::SettleFails) {
            self.excuse();
            return Err(failing(StoreErrorKind::Full));
        }
        if self.strikes(Fault::SettleLost) {
            unknown();
            return Err(failing(StoreErrorKind::Corrupt));
        }
        if self.strikes(Fault::SettleOutlastsLease) {
            unknown();
            self.rest(10_000, 60_000).await;
            // If it had failed before, nothing was leased until now.
            self.excuse();
        }
        let settled = self.inner.settle(batch.clone()).await?;
        for ((settlement, id), settled) in batch.iter().zip(&ids).zip(&settled) {
            let recorded = *settled == Settled::Recorded;
            self.world.trace("settled", id.0.raw() as u64, u64::from(recorded) * 10 + id.1 as u64);
            if recorded {
                self.world.book().settled(&self.world, id, settlement, self.clock.now());
            }
        }
        if self.strikes(Fault::CrashAfterSettle) {
            return self.die().await;
        }
        if self.strikes(Fault::SettleFailsAfterCommit) {
            self.excuse();
            return Err(failing(StoreErrorKind::Unavailable));
        }
        Ok(settled)
    }

    async fn change(
        &self,
        selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError> {
        self.open().await?;
        if self.strikes(Fault::ChangeFails) {
            return Err(failing(StoreErrorKind::Unavailable));
        }
        let at = by.at;
        let changed = self.inner.change(selection, change, by).await?;
        absorb::changed(&self.world, &self.inner, change, at).await;
        Ok(changed)
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        self.open().await?;
        if self.strikes(Fault::PruneFails) {
            return Err(failing(StoreErrorKind::Unavailable));
        }
        // As the embedded store does: a clock that leapt between two processes takes nothing away.
        if self.doubts && !self.world.book().is_believed(self.clock.now()) {
            self.world.trace("clock in doubt", 0, 0);
            return Ok(Pruned::default());
        }
        let pruned = self.inner.prune(retention, now).await?;
        absorb::pruned(&self.world, &self.inner, self.clock.now()).await;
        Ok(pruned)
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
        self.open().await?;
        let index = index_of(&destination);
        self.inner.set_paused(destination, paused, by).await?;
        let mut book = self.world.book();
        book.paused[index] = paused;
        book.excuse(self.clock.now());
        Ok(())
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.inner.audit(entry).await
    }

    async fn audits(&self, before: Option<i64>, limit: u32) -> Result<Page<AuditEntry>, StoreError> {
        self.inner.audits(before, limit).await
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready()
    }

    fn work(&self) -> watch::Receiver<u64> {
        self.inner.work()
    }

    fn handed_out(&self) -> Option<mpsc::UnboundedReceiver<Lease>> {
        let hears = self.world.settings.hands_out && !self.part.is_cancelled();
        if hears { lock(&self.handout).receiver() } else { None }
    }

    fn stand_by(&self, lanes: Vec<Arc<Standby>>) {
        lock(&self.handout).stand_by(lanes);
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
