//! Everything that can go wrong in a simulated world, each with a name. This file does not know what a fault does, only
//! how often it is let loose; what fired is counted, and a fault that never fires is a hole in the rig.

/// Makes the enum, the table of all and the names in one place.
macro_rules! faults {
    ($($name:ident = $text:literal, $chance:literal;)*) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Fault {
            $(#[doc = $text] $name,)*
        }

        impl Fault {
            /// Every kind.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in reports.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How probable it is at each opportunity, in a world that has it at all.
            pub(super) fn chance(self) -> f64 {
                match self { $(Self::$name => $chance,)* }
            }
        }
    };
}

faults! {
    // The store.
    AcceptFails = "commit fails", 0.15;
    AcceptFailsAfterCommit = "commit fails after it took effect", 0.15;
    AcceptSlow = "commit is slow", 0.3;
    AcceptOutlastsDeadline = "commit outlasts its deadline", 0.1;
    AcceptAnswersLate = "answer comes long after the commit", 0.2;
    StoreFull = "store is full for a while", 1.0;
    StoreUnavailable = "store is away for a while", 1.0;
    SettleFails = "settle fails", 0.15;
    SettleFailsAfterCommit = "settle fails after it took effect", 0.15;
    SettleOutlastsLease = "settle outlasts its lease", 0.1;
    SettleLost = "settle is lost for good", 0.1;
    LeaseFails = "lease fails", 0.15;
    LeaseFailsAfterCommit = "lease fails after it took effect", 0.1;
    LeaseSlow = "lease is slow", 0.15;
    ChangeFails = "order of an operator fails", 0.3;
    PruneFails = "prune fails", 0.3;
    // The process.
    Crash = "process dies", 1.0;
    CrashBeforeCommit = "process dies before a commit", 0.05;
    CrashAfterCommit = "process dies between commit and answer", 0.05;
    CrashAfterLease = "process dies between lease and attempt", 0.03;
    CrashBeforeSettle = "process dies between attempt and settle", 0.03;
    CrashAfterSettle = "process dies just after a settle", 0.03;
    GracefulStop = "process stops and starts again", 1.0;
    WorkerLost = "dispatcher dies and its leases with it", 1.0;
    // The config.
    Reload = "reload under way", 1.0;
    Rotation = "secret rotated", 1.0;
    DestinationRemoved = "destination goes and comes back", 1.0;
    // People.
    Paused = "destination paused", 1.0;
    Redrive = "dead letters redriven amid retries", 1.0;
    Replay = "delivered events replayed", 1.0;
    Purge = "dead letters purged", 1.0;
    Cancel = "pending deliveries given up by hand", 1.0;
    Prune = "retention at work", 1.0;
    // Senders.
    LostAck = "answer lost on its way to the sender", 0.3;
    SenderHangsUp = "sender hangs up amid its request", 0.15;
    DuplicateBurst = "same event many times at once", 0.25;
    LateDuplicate = "same event again much later", 0.3;
    Conflict = "same id with another body", 0.25;
    NearId = "id that is nearly the same", 0.25;
    OtherSource = "same id at another source", 0.25;
    Forged = "forged signature", 0.3;
    RetiredSecret = "signature by a retired secret", 0.3;
    Replayed = "same content under another id", 0.25;
    TornBody = "body breaks off", 0.15;
    SlowBody = "body drips in", 0.15;
    StuckBody = "body never ends", 0.1;
    Flood = "flood of least urgent events", 1.0;
    KeyFlood = "flood of one ordering key", 1.0;
    // Receivers.
    ServerError = "handler answers 500", 0.3;
    SlowHandler = "handler is slow", 0.3;
    HangingHandler = "handler never answers", 0.1;
    RateLimited = "handler answers 429 with Retry-After", 0.15;
    AbsurdRetryAfter = "handler asks to wait ten years", 0.1;
    Rejected = "handler refuses for good", 0.1;
    ResetAfterHandling = "connection breaks after the handling", 0.2;
    Flapping = "handler flaps", 0.15;
    Lying = "handler confirms what it never handled", 0.1;
    PanickingHandler = "code of the destination panics", 0.1;
    NotTried = "attempt cannot be made", 0.08;
    PartialBatch = "handler answers for a part of the batch", 0.3;
    // Clocks.
    StepBack = "wall clock steps back", 1.0;
    StepForward = "wall clock steps forward", 1.0;
    Drift = "wall clock drifts", 1.0;
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults(u64);

impl Faults {
    /// Whether it is one of them.
    pub(super) fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    /// With this one.
    pub(super) fn with(self, fault: Fault) -> Self {
        Self(self.0 | (1 << fault as u8))
    }

    /// Without this one.
    pub(super) fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u8))
    }

    /// Those that are in both.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Every kind.
    pub(super) fn all() -> Self {
        Fault::ALL.iter().fold(Self::default(), |set, fault| set.with(*fault))
    }

    /// Each of them.
    pub(super) fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |fault| self.has(*fault))
    }
}

const _: () = assert!(Fault::ALL.len() <= 64, "a set of faults is a u64");
