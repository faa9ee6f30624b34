//! Bugs that somebody could write into a gateway, each small. The rig is worth what it finds of them. This file names
//! them and holds those at the edges; `bugged` has those in the store's place.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tenterhook::destination::{CheckError, Destination};
use tenterhook::model::{DeliveryId, Digest16, EventId, Lease, Message, Outcome, Reply};

use super::settings::secret;

macro_rules! bugs {
    ($($name:ident = $text:literal;)*) => {
        /// One deliberate bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Bug {
            $(#[doc = $text] $name,)*
        }

        impl Bug {
            /// All of them.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it is, for people.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

bugs! {
    AckBeforeCommit = "answers before the commit";
    SwallowedCommitError = "answers 202 although the commit failed";
    KeyNotScoped = "a key counts for every source";
    KeyForgottenNowAndThen = "two at once are both new";
    DuplicateBeforeDurable = "a duplicate is answered before the first is durable";
    KeyBurnt = "a failed commit burns its key";
    KeysPrunedEarly = "retention forgets keys before their window ends";
    ConflictSwallowed = "a conflict is answered as a duplicate";
    ConflictNotKept = "the body of a conflict is not kept";
    LeapBelieved = "retention believes a clock that leapt";
    EventsPrunedEarly = "retention takes events before their time";
    DeadPruned = "retention takes dead letters that are kept for ever";
    NoFencing = "a late settlement ends another attempt's lease";
    DoubleLease = "one delivery is leased twice";
    LeaseTooLong = "a lease lasts an hour";
    WallClockLeases = "leases and due times are judged by the wall clock";
    SettleForgotten = "a settlement is answered and not recorded";
    SettleWrongDelivery = "a settlement ends another delivery of the batch or event";
    DeadLetterDropped = "a dead letter counts as delivered";
    RetryDropped = "a failed attempt counts as delivered";
    DiesEarly = "a delivery dies before its budget is spent";
    NeverDies = "attempts are not counted against the budget";
    EarlyRetry = "a retry comes at half of its backoff";
    LateRetry = "a retry waits an hour more";
    RetryAfterIgnored = "Retry-After is ignored";
    BodySwapped = "two events of one lease swap their bodies";
    HeadersLost = "the headers of a second attempt are lost";
    AttemptRepeats = "attempt numbers begin again after a redrive";
    OtherEventId = "a second attempt has another id";
    SuspicionLost = "a replay is not told to the handler";
    OrderIgnored = "ordering keys are ignored";
    HoldIgnored = "a dead letter does not hold its ordering key";
    PriorityInverted = "the least urgent goes first";
    PauseIgnored = "a pause is forgotten";
    OneLaneStarves = "one lane at work keeps the others waiting";
    PurgeTakesPending = "a purge takes pending deliveries, too";
    RedriveKeepsBudget = "a redrive does not give a new budget";
    LedgerDrifts = "the ledger counts what waits twice";
    RetiredSecretCounts = "a retired secret still counts";
}

/// By key: the digest of the first body, and its event.
pub(super) type FirstBodies = HashMap<Digest16, (Digest16, EventId)>;

/// What bugs remember, over restarts.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) under_way: Mutex<HashSet<[u8; 16]>>,
    pub(super) burnt: Mutex<HashMap<[u8; 16], EventId>>,
    pub(super) first: Mutex<FirstBodies>,
    pub(super) redriven: Mutex<HashMap<DeliveryId, u32>>,
    pub(super) last_lease: Mutex<Option<Lease>>,
}

impl Bug {
    /// The secrets that count with the bug.
    pub(super) fn around_secrets(self, secrets: &mut Vec<String>) {
        if self == Self::RetiredSecretCounts {
            let retired: Vec<_> = (0..100).map(secret).filter(|it| !secrets.contains(it)).collect();
            secrets.extend(retired);
        }
    }

    /// Whether what cannot be undone waits while the clock is in doubt.
    pub(super) fn doubts_clocks(self) -> bool {
        self != Self::LeapBelieved
    }

    /// A handler with the bug in front of it.
    pub(super) fn around_handler(self, handler: Arc<dyn Destination>) -> Arc<dyn Destination> {
        match self {
            Self::RetryAfterIgnored | Self::HeadersLost | Self::OtherEventId | Self::SuspicionLost => {
                Arc::new(BuggedHandler { inner: handler, bug: self })
            }
            _ => handler,
        }
    }
}

struct BuggedHandler {
    inner: Arc<dyn Destination>,
    bug: Bug,
}

#[async_trait]
impl Destination for BuggedHandler {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn deliver(&self, batch: &[Message]) -> Vec<Reply> {
        let mut batch = batch.to_vec();
        for message in &mut batch {
            match self.bug {
                Bug::HeadersLost if message.attempt > 1 => message.headers.clear(),
                Bug::OtherEventId if message.attempt > 1 => {
                    message.id = EventId::from_raw(message.id.raw() + i64::from(message.attempt));
                }
                Bug::SuspicionLost => message.replay_suspect = false,
                _ => {}
            }
        }
        let mut replies = self.inner.deliver(&batch).await;
        for reply in &mut replies {
            if let (Bug::RetryAfterIgnored, Outcome::Failed { after, .. }) = (self.bug, &mut reply.outcome) {
                *after = None;
            }
        }
        replies
    }

    async fn check(&self) -> Result<(), CheckError> {
        self.inner.check().await
    }
}
