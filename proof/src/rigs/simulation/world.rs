//! One simulated world: its time, its randomness, its faults, its trace and what went wrong in it. Everything comes from
//! one seed and runs in one thread, so a world can be had again as often as wanted. It does not know the gateway.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenterhook::model::{Clock, Timestamp};
use tokio::time::Instant;

use super::book::Book;
use super::bug::Bug;
use super::fault::{Fault, Faults};
use super::settings::Settings;

/// When every world begins.
pub(super) const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Violations kept of one world; the first is the one that matters.
const VIOLATIONS_MAX: usize = 5;

/// Leases asked for in one moment of simulated time, at most. Whoever goes on asking spins: time stands still for it.
const LOOKS_MAX: u32 = 2000;

/// Lines of a trace that are kept.
const LINES_MAX: usize = 4000;

/// One world.
pub(super) struct World {
    pub(super) settings: Settings,
    /// The deliberate bug of this world, in a control.
    pub(super) bug: Option<Bug>,
    pub(super) book: Mutex<Book>,
    started: Instant,
    rng: Mutex<fastrand::Rng>,
    faults: Faults,
    fired: Mutex<Faults>,
    wall: Mutex<Wall>,
    healing: AtomicBool,
    /// The last moment in which leases were asked for, and how often.
    looks: Mutex<(Duration, u32)>,
    trace: Mutex<Trace>,
    violations: Mutex<Vec<String>>,
}

#[derive(Clone, Copy, Default)]
struct Wall {
    offset_ms: i64,
    /// How much faster than the true time, in millionths, and since when.
    drift_ppm: i64,
    drifts_since_ms: i64,
}

#[derive(Default)]
struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

/// What a world is made from: its seed, its bug, and the faults that it may have.
#[derive(Clone, Copy)]
pub(super) struct Recipe {
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
    pub(super) faults: Faults,
    /// Whether to keep the lines of the trace.
    pub(super) told: bool,
}

/// What came of a world.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) violations: Vec<String>,
    pub(super) fired: Faults,
    pub(super) hash: u64,
    pub(super) lines: Vec<String>,
    pub(super) events: u64,
    pub(super) attempts: u64,
    pub(super) simulated: Duration,
}

impl World {
    /// Makes one. Only within a runtime whose time is paused.
    pub(super) fn new(recipe: Recipe) -> Arc<Self> {
        let mut rng = fastrand::Rng::with_seed(recipe.seed);
        // Not every fault in every world: many faults hide each other.
        let share = [0.1, 0.25, 0.5][rng.usize(..3)];
        let drawn = |set: Faults, fault: &Fault| if rng.f64() < share { set.with(*fault) } else { set };
        let faults = Fault::ALL.iter().fold(Faults::default(), drawn).and(recipe.faults);
        let settings = Settings::draw(&mut rng);
        let trace = Trace { hash: recipe.seed, lines: recipe.told.then(Vec::new) };
        Arc::new(Self {
            settings,
            bug: recipe.bug,
            book: Mutex::default(),
            started: Instant::now(),
            rng: Mutex::new(rng),
            faults,
            fired: Mutex::default(),
            wall: Mutex::default(),
            healing: AtomicBool::new(false),
            looks: Mutex::default(),
            trace: Mutex::new(trace),
            violations: Mutex::default(),
        })
    }

    /// The world's one source of randomness.
    pub(super) fn rng(&self) -> MutexGuard<'_, fastrand::Rng> {
        lock(&self.rng)
    }

    /// A time between two, in milliseconds.
    pub(super) fn between(&self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.rng().u64(low_ms..=high_ms))
    }

    /// The book.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Whether this world has the fault, and it strikes now.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        if self.is_healing() || !self.faults.has(fault) || self.rng().f64() >= fault.chance() {
            return false;
        }
        self.fired(fault);
        true
    }

    /// Whether this world has the fault.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }

    /// The fault took place.
    pub(super) fn fired(&self, fault: Fault) {
        let mut fired = lock(&self.fired);
        *fired = fired.with(fault);
        drop(fired);
        self.trace(fault.name(), 0, 0);
    }

    /// No more faults from here on.
    pub(super) fn heal(&self) {
        self.healing.store(true, Ordering::SeqCst);
        self.trace("healing", 0, 0);
    }

    /// Whether the time of faults is over.
    pub(super) fn is_healing(&self) -> bool {
        self.healing.load(Ordering::SeqCst)
    }

    /// Somebody asks for leases. True: again and again, without any time going by.
    pub(super) fn spins(&self) -> bool {
        let (now, mut looks) = (self.elapsed(), lock(&self.looks));
        *looks = if looks.0 == now { (now, looks.1 + 1) } else { (now, 1) };
        looks.1 > LOOKS_MAX
    }

    /// True time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The true time.
    pub(super) fn now(&self) -> Timestamp {
        BEGINNING.plus(self.elapsed())
    }

    /// What the wall clock says.
    pub(super) fn wall(&self) -> Timestamp {
        let (wall, now) = (*lock(&self.wall), self.now().millis());
        let drifted = (now - wall.drifts_since_ms) * wall.drift_ppm / 1_000_000;
        Timestamp::from_millis(now + wall.offset_ms + drifted)
    }

    /// Steps the wall clock.
    pub(super) fn step_wall(&self, by_ms: i64) {
        lock(&self.wall).offset_ms += by_ms;
        self.trace("wall clock steps by", by_ms.unsigned_abs(), u64::from(by_ms < 0));
    }

    /// Lets the wall clock run faster or slower from here on.
    pub(super) fn drift_wall(&self, ppm: i64) {
        *lock(&self.wall) = Wall {
            offset_ms: self.wall().millis() - self.now().millis(),
            drift_ppm: ppm,
            drifts_since_ms: self.now().millis(),
        };
    }

    /// Sets the wall clock right.
    pub(super) fn set_wall_right(&self) {
        *lock(&self.wall) = Wall::default();
    }

    /// Notes that something happened. The hash of all notes tells whether two runs were the same.
    pub(super) fn trace(&self, what: &str, one: u64, two: u64) {
        let at = self.elapsed().as_millis() as u64;
        let mut trace = lock(&self.trace);
        let mut hash = trace.hash;
        let word = what.bytes().fold(0_u64, |sum, it| sum.wrapping_mul(31).wrapping_add(u64::from(it)));
        for part in [at, one, two, what.len() as u64, word] {
            hash = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        trace.hash = hash;
        if let Some(lines) = trace.lines.as_mut().filter(|lines| lines.len() < LINES_MAX) {
            lines.push(format!("{:>9}.{:03} s  {what} {one} {two}", at / 1000, at % 1000));
        }
    }

    /// Notes a broken promise unless `holds`.
    pub(super) fn check(&self, holds: bool, promise: &str, what: impl FnOnce() -> String) {
        if holds {
            return;
        }
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS_MAX {
            let at = self.elapsed();
            violations.push(format!("{promise}: {} (at {:.3} s)", what(), at.as_secs_f64()));
        }
        drop(violations);
        self.trace("VIOLATION", 0, 0);
    }

    /// Whether a promise is broken already; then nothing more is of interest.
    pub(super) fn is_broken(&self) -> bool {
        !lock(&self.violations).is_empty()
    }

    /// What came of it.
    pub(super) fn outcome(&self) -> Outcome {
        let mut trace = lock(&self.trace);
        let book = self.book();
        Outcome {
            violations: std::mem::take(&mut *lock(&self.violations)),
            fired: *lock(&self.fired),
            hash: trace.hash,
            lines: trace.lines.take().unwrap_or_default(),
            events: book.events.len() as u64,
            attempts: book.attempts(),
            simulated: self.elapsed(),
        }
    }
}

/// The clock of one process: the wall clock as it was at its start, and monotonic from there, as the gateway's own.
pub(super) struct ProcessClock {
    world: Arc<World>,
    base: Timestamp,
    started: Instant,
}

impl ProcessClock {
    /// Reads the wall clock once.
    pub(super) fn start(world: &Arc<World>) -> Self {
        Self { world: Arc::clone(world), base: world.wall(), started: Instant::now() }
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        self.base.plus(self.started.elapsed())
    }

    fn wall_now(&self) -> Timestamp {
        self.world.wall()
    }
}

/// Numbers that tell things apart in a trace, from one.
#[derive(Default)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    /// The next one.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Locks; a panic elsewhere ends the round anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
