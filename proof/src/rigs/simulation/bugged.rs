//! A store with one deliberate bug, between the gateway and the disk.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method};
use tenterhook::model::{
    Accepted, Admitted, AdmittedParts, DeadReason, DestinationName, EventId, EventState, Known, Lease,
    Ledger, OnDead, Priority, Settled, Settlement, Stats, Submission, Timestamp, Verdict,
};
use tenterhook::store::memory::MemoryStore;
use tenterhook::store::{
    AuditEntry, Change, Changed, DeliveryQuery, DeliverySummary, Demand, EventDetail, EventQuery,
    EventSummary, Leased, Page, Payload, Pruned, Retention, Selection, Standby, Store, StoreError,
};
use tenterhook_verify::{Request, Scheme, Verifier};
use tokio::sync::{mpsc, watch};

use super::bug::{Bug, Memory};
use super::settings::{BATCH, destination};
use super::world::{World, lock};

const HOUR: Duration = Duration::from_secs(3600);

/// The store with the bug.
pub(super) struct Bugged {
    inner: Arc<dyn Store>,
    /// The same without any eyes on it.
    disk: Arc<MemoryStore>,
    bug: Bug,
    world: Arc<World>,
    memory: Arc<Memory>,
}

impl Bugged {
    /// The bug over a good store.
    pub(super) fn over(
        inner: Arc<dyn Store>,
        disk: Arc<MemoryStore>,
        bug: Bug,
        world: &Arc<World>,
        memory: &Arc<Memory>,
    ) -> Self {
        Self { inner, disk, bug, world: Arc::clone(world), memory: Arc::clone(memory) }
    }

    async fn accept_all(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        let made_up = |it: &Submission| EventId::floor_of(it.admitted.received_at);
        let new = |it: &Submission| Accepted::New { id: made_up(it), replay_suspect: false };
        let first_key = batch.first().and_then(|it| it.admitted.key).unwrap_or_default();
        match self.bug {
            Bug::AckBeforeCommit => {
                let (answer, inner) = (batch.iter().map(new).collect(), Arc::clone(&self.inner));
                tokio::spawn(async move { inner.accept(batch).await });
                Ok(answer)
            }
            Bug::SwallowedCommitError => {
                let answer = batch.iter().map(new).collect();
                Ok(self.inner.accept(batch).await.unwrap_or(answer))
            }
            Bug::DuplicateBeforeDurable => {
                if !lock(&self.memory.under_way).insert(first_key) {
                    return Ok(batch.iter().map(|it| Accepted::Duplicate(known(made_up(it)))).collect());
                }
                let answer = self.inner.accept(batch).await;
                lock(&self.memory.under_way).remove(&first_key);
                answer
            }
            Bug::KeyBurnt => {
                if let Some(id) = lock(&self.memory.burnt).get(&first_key) {
                    return Ok(vec![Accepted::Duplicate(known(*id))]);
                }
                let id = batch.first().map(made_up);
                let answer = self.inner.accept(batch).await;
                if let (Err(_), Some(id)) = (&answer, id) {
                    lock(&self.memory.burnt).insert(first_key, id);
                }
                answer
            }
            Bug::ConflictNotKept => {
                let digest = batch.first().map(|it| it.admitted.body_digest).unwrap_or_default();
                let first = lock(&self.memory.first).get(&first_key).copied();
                if let Some((_, id)) = first.filter(|(first, _)| *first != digest) {
                    return Ok(vec![Accepted::Conflict(known(id))]);
                }
                let answers = self.inner.accept(batch).await?;
                if let Some(Accepted::New { id, .. }) = answers.first() {
                    lock(&self.memory.first).insert(first_key, (digest, *id));
                }
                Ok(answers)
            }
            _ => self.inner.accept(batch).await,
        }
    }

    fn spoil(&self, submission: Submission) -> Submission {
        let Submission { admitted, mut deliveries } = submission;
        let original = admitted.clone();
        let mut parts = admitted.into_parts();
        match self.bug {
            Bug::KeyNotScoped => {
                // A digest of the id alone, as far as anybody can tell.
                let id = parts.provider_event_id.clone().unwrap_or_default();
                let mut key = [0; 16];
                id.bytes()
                    .enumerate()
                    .for_each(|(at, byte)| key[at % 16] ^= byte.rotate_left(at as u32 / 16));
                parts.key = Some(key);
            }
            Bug::KeyForgottenNowAndThen if self.world.rng().u8(..4) == 0 => parts.key = None,
            Bug::OrderIgnored => deliveries.iter_mut().for_each(|it| it.ordering_key = None),
            Bug::HoldIgnored => deliveries.iter_mut().for_each(|it| it.on_dead = OnDead::Continue),
            Bug::PriorityInverted => deliveries.iter_mut().for_each(|it| {
                it.priority = match it.priority {
                    Priority::High => Priority::Low,
                    Priority::Normal => Priority::Normal,
                    Priority::Low => Priority::High,
                };
            }),
            _ => {}
        }
        Submission { admitted: rewrap(parts).unwrap_or(original), deliveries }
    }

    fn spoil_leases(&self, leased: &mut Leased) {
        let leases = &mut leased.leases;
        match self.bug {
            Bug::DoubleLease => {
                let mut last = lock(&self.memory.last_lease);
                if let Some(first) = leases.first() {
                    if let Some(again) = last.take().filter(|_| self.world.rng().u8(..4) == 0) {
                        leases.push(again);
                    } else {
                        *last = Some(first.clone());
                    }
                }
            }
            Bug::BodySwapped if leases.len() > 1 => {
                let body = leases[0].message.body.clone();
                leases[0].message.body = std::mem::replace(&mut leases[1].message.body, body);
            }
            Bug::NeverDies => leases.iter_mut().for_each(|it| it.attempt_of_budget = 1),
            Bug::RedriveKeepsBudget => {
                leases.iter_mut().for_each(|it| it.attempt_of_budget = it.message.attempt);
            }
            Bug::AttemptRepeats => {
                let mut redriven = lock(&self.memory.redriven);
                for lease in leases {
                    if lease.attempt_of_budget == 1 {
                        redriven.insert(lease.delivery.clone(), lease.message.attempt - 1);
                    }
                    let before = redriven.get(&lease.delivery).copied().unwrap_or_default();
                    lease.message.attempt = lease.message.attempt.saturating_sub(before).max(1);
                }
            }
            _ => {}
        }
    }

    async fn spoil_settlement(&self, mut settlement: Settlement) -> Settlement {
        let half = |at: Timestamp, from: Timestamp| from.plus(at.since(from) / 2);
        match (self.bug, &settlement.verdict) {
            (Bug::NoFencing, _) => {
                if let Ok(Some(event)) = self.inner.event(settlement.delivery.event).await {
                    let mine = event.deliveries.iter().find(|it| it.summary.id == settlement.delivery);
                    settlement.attempt = mine.map_or(settlement.attempt, |it| it.summary.attempts);
                }
            }
            (Bug::SettleWrongDelivery, _) => {
                if let Ok(Some(event)) = self.inner.event(settlement.delivery.event).await {
                    let other = event.deliveries.iter().find(|it| it.summary.id != settlement.delivery);
                    settlement.delivery = other.map_or(settlement.delivery, |it| it.summary.id.clone());
                }
            }
            (Bug::DeadLetterDropped, Verdict::DeadLetter { .. }) => settlement.verdict = Verdict::Complete,
            (Bug::RetryDropped, Verdict::Retry { .. }) if self.world.rng().u8(..4) == 0 => {
                settlement.verdict = Verdict::Complete;
            }
            (Bug::DiesEarly, Verdict::Retry { .. }) if self.world.rng().u8(..4) == 0 => {
                settlement.verdict = Verdict::DeadLetter { reason: DeadReason::AttemptsExhausted };
            }
            (Bug::EarlyRetry, Verdict::Retry { at }) => {
                settlement.verdict = Verdict::Retry { at: half(*at, settlement.ended_at()) };
            }
            (Bug::LateRetry, Verdict::Retry { at }) => {
                settlement.verdict = Verdict::Retry { at: at.plus(HOUR) }
            }
            _ => {}
        }
        settlement
    }
}

fn known(id: EventId) -> Known {
    Known { id, state: EventState::Pending, processed_at: None, result: None, redriven: 0 }
}

/// Parts that were changed are admitted again, by a scheme that admits anything.
fn rewrap(parts: AdmittedParts) -> Option<Admitted> {
    let headers = HeaderMap::new();
    let body = parts.body.clone();
    let request = Request { method: &Method::POST, url: None, headers: &headers, body: &body };
    let verifier = Verifier::new(Scheme::unsigned(), Vec::new()).ok()?;
    let verified = verifier.verify(&request, parts.received_at.to_system()).ok()?;
    Some(Admitted::new(&verified, parts))
}

#[async_trait]
impl Store for Bugged {
    async fn accept(&self, batch: Vec<Submission>) -> Result<Vec<Accepted>, StoreError> {
        let batch: Vec<_> = batch.into_iter().map(|it| self.spoil(it)).collect();
        let mut answers = self.accept_all(batch).await?;
        for answer in &mut answers {
            if let (Bug::ConflictSwallowed, Accepted::Conflict(known)) = (self.bug, &answer) {
                *answer = Accepted::Duplicate(known.clone());
            }
        }
        Ok(answers)
    }

    async fn lease(&self, mut demand: Demand) -> Result<Leased, StoreError> {
        match self.bug {
            Bug::WallClockLeases => demand.now = self.world.wall(),
            Bug::LeaseTooLong => demand.lanes.iter_mut().for_each(|lane| lane.lease = HOUR),
            Bug::OneLaneStarves => {
                let stats = self.inner.stats(demand.now).await?;
                let at_work =
                    |name: &DestinationName| stats.destinations.get(name).is_some_and(|it| it.leased > 0);
                if at_work(&destination(BATCH)) {
                    demand.lanes.retain(|lane| lane.destination == destination(BATCH));
                }
            }
            _ => {}
        }
        let mut leased = self.inner.lease(demand).await?;
        self.spoil_leases(&mut leased);
        Ok(leased)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<Settled>, StoreError> {
        let mut spoilt = Vec::with_capacity(batch.len());
        for settlement in batch {
            spoilt.push(self.spoil_settlement(settlement).await);
        }
        if self.bug == Bug::SettleForgotten && self.world.rng().u8(..4) == 0 {
            return Ok(vec![Settled::Recorded; spoilt.len()]);
        }
        self.inner.settle(spoilt).await
    }

    async fn change(
        &self,
        mut selection: Selection,
        change: Change,
        by: AuditEntry,
    ) -> Result<Changed, StoreError> {
        if (self.bug, change) == (Bug::PurgeTakesPending, Change::Forget) {
            (selection.not_to, selection.state) = (Some(Vec::new()), None);
        }
        self.inner.change(selection, change, by).await
    }

    async fn prune(&self, mut retention: Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        match self.bug {
            Bug::KeysPrunedEarly => {
                // Nothing but keys is old enough in that far future.
                let never = Duration::from_secs(u64::from(u32::MAX));
                let keys = Retention { events: never, dead: None, audit: never, ..retention };
                let week = Duration::from_secs(8 * 86_400);
                self.inner.prune(keys, now.plus(week)).await?;
            }
            Bug::EventsPrunedEarly => retention.events = Duration::ZERO,
            Bug::DeadPruned => retention.dead = Some(Duration::ZERO),
            _ => {}
        }
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
        let (mut counted, recounted) = self.inner.compare().await?;
        if self.bug == Bug::LedgerDrifts && counted.pending > 0 {
            counted.owed += 1;
        }
        Ok((counted, recounted))
    }

    async fn set_paused(
        &self,
        destination: DestinationName,
        paused: bool,
        by: AuditEntry,
    ) -> Result<(), StoreError> {
        self.inner.set_paused(destination.clone(), paused, by.clone()).await?;
        if self.bug == Bug::PauseIgnored && paused {
            // Undone at once, where nobody looks.
            self.disk.set_paused(destination, false, by).await?;
        }
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
        self.inner.handed_out()
    }

    fn stand_by(&self, lanes: Vec<Arc<Standby>>) {
        self.inner.stand_by(lanes);
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
