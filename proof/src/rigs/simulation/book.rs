//! What is really so: every event and delivery that became durable, every attempt that a handler saw, every word that
//! ended a lease. It is kept at the disk and at the handlers, on both sides of the gateway, and each new fact is judged
//! against the ones before. It knows the contract, and nothing of how the gateway keeps it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tenterhook::model::{DeadReason, EventId, Lease, Message, Priority, Settlement, Timestamp, Verdict};

use super::fault::Fault;
use super::settings::{ROUTES, STEADY, Settings};
use super::world::World;

/// Something durable that is never late may be this late.
const LATE_MAX: Duration = Duration::from_secs(1);

/// The gateway gives up on a destination this much later than the destination's own timeout.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// A clock that leaps by more from one process to the next is not believed for as long, by the contract: what cannot be
/// undone, forgetting keys and removing events, waits.
const LEAP: Duration = Duration::from_secs(3600);

/// How long a delivery rests that could not be tried.
const REST_NOT_TRIED: Duration = Duration::from_secs(10);

/// A delivery, by its event and its destination's number.
pub(super) type Id = (EventId, usize);

/// Everything.
#[derive(Default)]
pub(super) struct Book {
    pub(super) events: BTreeMap<EventId, Event>,
    pub(super) deliveries: BTreeMap<Id, Delivery>,
    /// What senders sent and did not forge, by source and the provider's id.
    pub(super) sent: HashMap<(usize, String), Sent>,
    /// The newest event of each key.
    newest: HashMap<(usize, String), EventId>,
    pub(super) paused: [bool; 3],
    /// Until then nobody can be blamed for being late.
    excused: Timestamp,
    /// The clock of the process is believed from then on, by itself.
    believed_from: Timestamp,
    /// The latest time, by a clock that was believed, at which keys were let go whose window was over.
    forgotten: Timestamp,
    /// The store refuses everything, or only new events, until that true time.
    pub(super) away_until: Timestamp,
    pub(super) full_until: Timestamp,
}

/// What was sent under one id.
#[derive(Clone, Default)]
pub(super) struct Sent {
    pub(super) kind: &'static str,
    pub(super) key: String,
    pub(super) bodies: Vec<Bytes>,
}

/// An event that is durable, or was.
pub(super) struct Event {
    pub(super) source: usize,
    pub(super) pid: String,
    pub(super) body: Bytes,
    pub(super) received_at: Timestamp,
    pub(super) suspect: bool,
    pub(super) gone: bool,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Pending,
    Leased,
    Delivered,
    Dead(DeadReason),
    Gone,
}

/// A delivery that is owed, or was.
pub(super) struct Delivery {
    pub(super) stand: Stand,
    pub(super) priority: Priority,
    pub(super) key: Option<String>,
    /// No attempt before, by the clock of the process; and none much later than `latest`.
    due: Timestamp,
    latest: Timestamp,
    until: Timestamp,
    pub(super) settled_at: Timestamp,
    pub(super) attempts: u32,
    pub(super) spent: u32,
    pub(super) tries: Vec<Try>,
    /// Tries before the last time that somebody asked for it again.
    before: usize,
}

/// One call of a handler.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) attempt: u32,
    pub(super) began: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) said: Option<Said>,
    /// The handler has really handled it.
    pub(super) handled: bool,
    pub(super) settled: bool,
    /// The gateway cannot know what was said: it died, or its store lost the word.
    pub(super) excused: bool,
}

/// What a handler said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Delivered,
    Failed(Option<Duration>),
    Rejected,
    NotTried,
}

impl Book {
    /// Nobody can be blamed for being late till then.
    pub(super) fn excuse(&mut self, until: Timestamp) {
        self.excused = self.excused.max(until);
    }

    /// The clock of a new process may be behind the last one's, or far ahead of it.
    pub(super) fn new_process(&mut self, now: Timestamp, by_the_last: Option<Timestamp>) {
        self.excused = now;
        if by_the_last.is_some_and(|last| now.since(last).max(last.since(now)) > LEAP) {
            self.believed_from = now.plus(LEAP);
        }
    }

    /// Whether the clock of the process is believed. A doubt outlives the process.
    pub(super) fn is_believed(&self, now: Timestamp) -> bool {
        now >= self.believed_from
    }

    /// Retention has let go of keys. Only what a believed clock calls over may be forgotten, also by a clock that is set
    /// back afterwards.
    pub(super) fn forgot_keys(&mut self, now: Timestamp) {
        if self.is_believed(now) {
            self.forgotten = self.forgotten.max(now);
        }
    }

    /// Calls of handlers.
    pub(super) fn attempts(&self) -> u64 {
        self.deliveries.values().map(|delivery| delivery.tries.len() as u64).sum()
    }

    /// An event became durable.
    pub(super) fn accepted(&mut self, world: &World, id: EventId, event: Event, keyed: bool, now: Timestamp) {
        let key = (event.source, event.pid.clone());
        let sent = self.sent.get(&key);
        let told = || format!("{id} of `{}`", key.1);
        world.check(sent.is_some_and(|sent| sent.bodies.contains(&event.body)), "R8", || {
            format!("{} was never sent like that, and is stored", told())
        });
        if let Some(older) = self.newest.get(&key).filter(|_| keyed).and_then(|older| self.events.get(older))
        {
            let window_ends = older.received_at.plus(world.settings.dedupe.window);
            let latest = event.received_at.max(self.forgotten);
            world.check(latest >= window_ends, "R5", || format!("a second event {}", told()));
        }
        let (kind, ordering_key) = sent.map_or(("", ""), |sent| (sent.kind, sent.key.as_str()));
        for (_, to, priority, ordered) in ROUTES.iter().filter(|(of, ..)| *of == kind) {
            let delivery = Delivery {
                stand: Stand::Pending,
                priority: *priority,
                key: ordered.then(|| ordering_key.to_owned()),
                due: event.received_at,
                latest: now,
                until: event.received_at,
                settled_at: event.received_at,
                attempts: 0,
                spent: 0,
                tries: Vec::new(),
                before: 0,
            };
            self.deliveries.insert((id, *to), delivery);
        }
        if keyed {
            self.newest.insert(key, id);
        }
        self.events.insert(id, event);
    }

    /// The leases of a destination that are over by the gateway's clock have been noticed.
    pub(super) fn notice_expired(&mut self, destination: usize, now: Timestamp, found_dead: &[Id]) {
        let of_lane = self.deliveries.iter_mut().filter(|((_, to), _)| *to == destination);
        for (id, delivery) in of_lane {
            if delivery.stand == Stand::Leased && delivery.until <= now {
                delivery.expire(found_dead.contains(id));
            }
        }
    }

    /// A lease was taken at `now`.
    pub(super) fn leased(&mut self, world: &World, id: &Id, lease: &Lease, now: Timestamp) {
        let (lasts, most) = (world.settings.lease(id.1), world.settings.retry.attempts_max);
        world.check(!self.paused[id.1], "pause", || format!("{id:?} leased while paused"));
        self.check_order(world, id);
        let Some(delivery) = self.deliveries.get_mut(id) else {
            return world.check(false, "R4", || format!("{id:?} leased, never owed"));
        };
        world.check(delivery.stand == Stand::Pending, "R12", || {
            format!("{id:?} leased while {:?} until {:?}", delivery.stand, delivery.until)
        });
        delivery.stand = Stand::Leased;
        delivery.attempts += 1;
        delivery.spent += 1;
        delivery.until = now.plus(lasts);
        let fits = (lease.message.attempt, lease.attempt_of_budget) == (delivery.attempts, delivery.spent);
        world.check(fits, "R4", || format!("{id:?}: attempt {} is told otherwise", delivery.attempts));
        world.check(delivery.spent <= most, "R15", || format!("{id:?} gets more than {most} attempts"));
    }

    /// None of an ordering key before an older one, and one at a time.
    fn check_order(&self, world: &World, id: &Id) {
        let Some(key) = self.deliveries.get(id).and_then(|delivery| delivery.key.as_ref()) else { return };
        let of_key = |(other, it): &(&Id, &Delivery)| other.1 == id.1 && it.key.as_ref() == Some(key);
        for (other, it) in self.deliveries.iter().filter(of_key).filter(|(other, _)| *other != id) {
            let waits = match it.stand {
                Stand::Leased => true,
                Stand::Pending => other < id,
                Stand::Dead(_) => other < id && world.settings.on_dead == tenterhook::model::OnDead::Hold,
                Stand::Delivered | Stand::Gone => false,
            };
            world.check(!waits, "order", || format!("{id:?} leased while {other:?} is {:?}", it.stand));
        }
    }

    /// A handler is called.
    pub(super) fn tried(&mut self, world: &World, id: &Id, message: &Message, now: Timestamp) {
        self.check_message(world, id, message);
        let excused = self.excused;
        let Some(delivery) = self.deliveries.get_mut(id) else { return };
        let attempt = message.attempt;
        let mine = delivery.stand == Stand::Leased && delivery.attempts == attempt;
        let again = delivery.tries.iter().any(|it| it.attempt == attempt);
        world.check(mine && !again, "R12", || {
            format!("{id:?}: attempt {attempt} of {} while {:?}", delivery.attempts, delivery.stand)
        });
        world.check(now >= delivery.due, "R13", || {
            format!("{id:?}: attempt {attempt} is {:?} early", delivery.due.since(now))
        });
        if id.1 == STEADY && delivery.key.is_none() {
            let late = now.since(delivery.latest.max(excused));
            world.check(late <= LATE_MAX, "R13, R14", || {
                format!("{id:?}: attempt {attempt} is {late:?} late")
            });
        }
        for it in &delivery.tries[delivery.before..] {
            world.check(it.said != Some(Said::Delivered) || it.excused, "R12", || {
                format!("{id:?}: attempt {attempt} although it was confirmed: {it:?}")
            });
        }
        delivery.tries.push(Try {
            attempt,
            began: now,
            ended: None,
            said: None,
            handled: false,
            settled: false,
            excused: false,
        });
    }

    fn check_message(&self, world: &World, id: &Id, message: &Message) {
        let Some(event) = self.events.get(&id.0).filter(|event| !event.gone) else {
            return world.check(false, "R4", || format!("{id:?} tried, and there is no such event"));
        };
        world.check(event.body == message.body, "R7", || format!("{id:?} tried with another body"));
        let same_id = message.provider_event_id.as_deref() == Some(&event.pid) && message.id == id.0;
        world.check(same_id, "R7", || format!("{id:?} tried under another id"));
        let kind = self.sent.get(&(event.source, event.pid.clone())).map_or("", |sent| sent.kind);
        let told = message.event_type == kind && message.headers.contains_key("content-type");
        world.check(told, "R7", || format!("{id:?} tried as `{}`, or without headers", message.event_type));
        world.check(message.replay_suspect == event.suspect, "replay", || format!("{id:?}: wrong suspicion"));
    }

    /// A handler has answered.
    pub(super) fn said(&mut self, id: &Id, attempt: u32, said: Said, now: Timestamp, handled: bool) {
        let tries = self.deliveries.get_mut(id).map(|delivery| &mut delivery.tries);
        if let Some(it) = tries.and_then(|tries| tries.iter_mut().find(|it| it.attempt == attempt)) {
            (it.said, it.ended, it.handled) = (Some(said), Some(now), it.handled || handled);
        }
    }

    /// A settlement was recorded.
    pub(super) fn settled(&mut self, world: &World, id: &Id, settlement: &Settlement, now: Timestamp) {
        let settings = &world.settings;
        let Some(delivery) = self.deliveries.get_mut(id) else {
            return world.check(false, "R4", || format!("{id:?} settled, never owed"));
        };
        let attempt = settlement.attempt;
        let given_up = settings.timeouts[id.1] + TIMEOUT_MARGIN;
        let mine = delivery.stand == Stand::Leased && delivery.attempts == attempt;
        world.check(mine, "R11", || format!("{id:?}: attempt {attempt} settles what is not its own"));
        let (said, ended) = match delivery.tries.iter_mut().find(|it| it.attempt == attempt) {
            None => (Said::NotTried, now),
            Some(it) => {
                it.settled = true;
                let over = it.ended.unwrap_or(it.began.plus(given_up));
                world.check(over <= now, "R11", || {
                    format!("{id:?}: settled before there was an answer: {it:?}")
                });
                (it.said.unwrap_or(Said::Failed(None)), over)
            }
        };
        let spent_all = delivery.spent >= settings.retry.attempts_max;
        let right = match (&settlement.verdict, said) {
            (Verdict::Complete, said) => said == Said::Delivered,
            (Verdict::Retry { .. }, said) => matches!(said, Said::Failed(_)) && !spent_all,
            (Verdict::Release { .. }, said) => said == Said::NotTried,
            (Verdict::DeadLetter { reason: DeadReason::Rejected }, said) => said == Said::Rejected,
            (Verdict::DeadLetter { reason }, said) => {
                *reason == DeadReason::AttemptsExhausted && matches!(said, Said::Failed(_)) && spent_all
            }
        };
        world.check(right, "R15", || {
            format!(
                "{id:?}: {said:?} at attempt {} of the budget becomes {:?}",
                delivery.spent, settlement.verdict
            )
        });
        delivery.settled_at = settlement.ended_at();
        delivery.stand = match settlement.verdict {
            Verdict::Complete => Stand::Delivered,
            Verdict::DeadLetter { reason } => Stand::Dead(reason),
            Verdict::Retry { .. } | Verdict::Release { .. } => Stand::Pending,
        };
        let tried = delivery.tries.last().is_some_and(|it| it.attempt == attempt);
        (delivery.due, delivery.latest) = match said {
            Said::Failed(after) => retry_window(settings, delivery.spent, after, ended),
            _ if tried => (ended.plus(REST_NOT_TRIED), ended.plus(REST_NOT_TRIED)),
            _ => (settlement.started_at, now),
        };
        // What is recorded late can only go on late.
        delivery.latest = delivery.latest.max(now);
        if said == Said::NotTried {
            delivery.spent -= 1;
        }
    }

    /// A process has died or a dispatcher, or the store lost a word: what was said and not recorded is unknown.
    pub(super) fn nobody_knows(&mut self, only: Option<&Id>) {
        for (id, delivery) in &mut self.deliveries {
            if only.is_none_or(|only| only == id) {
                delivery.tries.iter_mut().filter(|it| !it.settled).for_each(|it| it.excused = true);
            }
        }
    }
}

impl Delivery {
    fn expire(&mut self, dead: bool) {
        self.stand = if dead { Stand::Dead(DeadReason::LeaseExpired) } else { Stand::Pending };
        (self.due, self.latest, self.settled_at) = (self.until, self.until, self.until);
    }

    /// The store was opened by a new process, which ends the leases of the one before. What counts as not begun must not
    /// have been: nobody may be tried more often than the budget says. (But for what was forgotten of a lease while its
    /// process lived: then others are older.)
    pub(super) fn reopened(&mut self, world: &World, id: &Id, dead: bool, is_begun: bool, now: Timestamp) {
        self.until = now;
        self.expire(dead);
        if !is_begun {
            let forgets = [Fault::WorkerLost, Fault::LeaseFailsAfterCommit, Fault::SettleLost];
            let was_tried = self.tries.iter().any(|it| it.attempt == self.attempts);
            world.check(!was_tried || forgets.iter().any(|it| world.has(*it)), "R15", || {
                format!("{id:?}: attempt {} was begun, and does not count", self.attempts)
            });
            self.spent -= 1;
        }
    }

    /// Somebody asked for it again, or a duplicate did.
    pub(super) fn requeued(&mut self, due: Timestamp, latest: Timestamp) {
        self.stand = Stand::Pending;
        self.spent = 0;
        (self.due, self.latest) = (due, latest);
        self.before = self.tries.len();
    }

    /// Whether the handler has really handled it since somebody last asked for it.
    pub(super) fn handled(&self) -> bool {
        self.tries.iter().any(|it| it.handled)
    }

    /// Whether it may be tried at `now`.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.stand == Stand::Pending && self.latest <= now
    }
}

/// When the next attempt may begin and has to have begun, after failure number `spent` of a budget.
fn retry_window(
    settings: &Settings,
    spent: u32,
    after: Option<Duration>,
    ended: Timestamp,
) -> (Timestamp, Timestamp) {
    let retry = &settings.retry;
    let doubled = retry.base.saturating_mul(2u32.saturating_pow(spent.saturating_sub(1)));
    let delay = doubled.min(retry.cap);
    let (least, most) = (delay.mul_f64(1.0 - retry.jitter), delay.mul_f64(1.0 + retry.jitter));
    let asked = after.unwrap_or_default().min(retry.cap);
    // Times are whole milliseconds, cut.
    (ended.plus(least.max(asked)).minus(Duration::from_millis(1)), ended.plus(most.max(asked)))
}
