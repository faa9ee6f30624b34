//! Simulation: real ingress, real dispatcher, real memory store, in one thread and in simulated time, everything from one
//! seed. Sixty kinds of faults strike at random; every fact is judged when it becomes one, and at the end, when all is
//! mended, every promise is called in.
//!
//! ```text
//!   senders ──letter──> ingress ──┐          ┌── dispatcher ──> handlers
//!      │                          └── disk ──┘                     │
//!      └───────── answers ──────────> book <────── what they saw ───┘      stories: crashes, reloads, people, clocks
//! ```
//!
//! The store is the memory store, which plays the disk and outlives the processes: the SQLite store's own promises are
//! for the rigs with real disks.

mod absorb;
mod book;
mod bug;
mod bugged;
mod checker;
mod director;
mod disk;
mod fault;
mod handler;
mod handout;
mod letter;
mod sender;
mod settings;
mod site;
mod world;

use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;

use self::bug::Bug;
use self::fault::{Fault, Faults};
use self::site::Site;
use self::world::{Outcome, Recipe, World};
use crate::lab::Lab;
use crate::rig::{Kind, Part, Rig, Tally};

/// Worlds in one round of the proof.
const WORLDS: u64 = 500;

/// Worlds in which a bug has to be found.
const WORLDS_PER_BUG: u64 = 2_000;

/// Every so many worlds, one is run twice to see that it is the same again.
const TWICE_EVERY: u64 = 50;

/// No world lasts longer, in simulated time.
const WORLD_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Lines of a trace that are shown of a world that failed.
const LINES_SHOWN: usize = 60;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    Rig {
        name: "simulation",
        about: "sixty kinds of faults in simulated time, from one seed",
        promises: &["R26", "R1", "R4", "R5", "R6", "R11", "R12", "R13", "R14", "R15"],
        missing: || None,
        parts: vec![
            Part {
                name: "seeds",
                unit: "seeds",
                ci: 20_000,
                full: 2_000_000,
                kind: Kind::Proof,
                run: |_: Lab, seed| Box::pin(in_thread(move || worlds(seed))),
            },
            Part {
                name: "bugs",
                unit: "bugs",
                ci: Bug::ALL.len() as u64,
                full: Bug::ALL.len() as u64,
                kind: Kind::Control(1.0),
                run: |_: Lab, seed| Box::pin(in_thread(move || bug(seed))),
            },
        ],
    }
}

async fn in_thread(work: impl FnOnce() -> anyhow::Result<Tally> + Send + 'static) -> anyhow::Result<Tally> {
    tokio::task::spawn_blocking(work).await.context("the simulation panicked")?
}

/// Runs the world of a recipe from its beginning to its end.
fn run(recipe: Recipe) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let world = World::new(recipe);
        let site = Site::new(&world);
        match tokio::time::timeout(WORLD_MAX, live(&site)).await {
            // What stops the rig after a broken promise is a consequence.
            Ok(done) if !world.is_broken() => done.with_context(|| format!("seed {}", recipe.seed))?,
            Ok(_) => {}
            Err(_) => world.check(false, "R4", || "the world never comes to rest".to_owned()),
        }
        Ok(world.outcome())
    })
}

async fn live(site: &std::sync::Arc<Site>) -> anyhow::Result<()> {
    let world = &site.world;
    site.start().await?;
    tokio::spawn(std::sync::Arc::clone(site).supervise());
    let mut tasks = JoinSet::new();
    let chaos = world.settings.chaos;
    for number in 0..world.settings.events as u64 {
        let begins = world.between(0, chaos.as_millis() as u64 * 4 / 5);
        tasks.spawn(sender::work(std::sync::Arc::clone(site), number, begins, None));
    }
    director::begin(site, &mut tasks);
    tokio::time::sleep(chaos).await;
    checker::judge(site, tasks).await
}

/// The seed after a seed; each world is the first one of the round that its own seed gives.
fn next(seed: u64) -> u64 {
    // SplitMix64, as in https://prng.di.unimi.it/splitmix64.c
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One round of the proof; it ends at the first world in which a promise was broken.
fn worlds(first: u64) -> anyhow::Result<Tally> {
    let (mut tally, mut seed) = (Tally::default(), first);
    let mut recipe = Recipe { seed, bug: None, faults: Faults::all(), told: false };
    for number in 0..WORLDS {
        recipe.seed = seed;
        let outcome = run(recipe)?;
        tally.done += 1;
        count(&mut tally, &outcome);
        if !outcome.violations.is_empty() {
            tally.violations.push(explain(recipe, &outcome)?);
            return Ok(tally);
        }
        if number % TWICE_EVERY == 0 {
            let again = run(recipe)?;
            tally.check(again.hash == outcome.hash, || format!("seed {seed} is not the same twice"));
            tally.count("seeds run twice, equal", 1);
        }
        seed = next(seed);
    }
    for fault in Fault::ALL {
        let fired = tally.counts.get(&of_fault(*fault)).copied().unwrap_or_default();
        tally.check(fired * 100 >= WORLDS, || format!("{}: in {fired} of {WORLDS} seeds only", fault.name()));
    }
    Ok(tally)
}

fn of_fault(fault: Fault) -> String {
    format!("seeds with fault: {}", fault.name())
}

fn count(tally: &mut Tally, outcome: &Outcome) {
    tally.count("events", outcome.events);
    tally.count("attempts", outcome.attempts);
    tally.count("simulated seconds", outcome.simulated.as_secs());
    for fault in outcome.fired.iter() {
        tally.count(&of_fault(fault), 1);
    }
}

/// What broke, with which faults at the least, how to see it again, and the end of its trace.
fn explain(recipe: Recipe, outcome: &Outcome) -> anyhow::Result<String> {
    let mut needed = outcome.fired;
    for fault in outcome.fired.iter() {
        let fewer = Recipe { faults: needed.without(fault), ..recipe };
        if run(fewer)?.violations.first().is_some_and(|it| promise(it) == promise(&outcome.violations[0])) {
            needed = needed.without(fault);
        }
    }
    let told = run(Recipe { told: true, ..recipe })?;
    let names: Vec<_> = needed.iter().map(Fault::name).collect();
    let end = told.lines.iter().position(|line| line.contains("VIOLATION")).unwrap_or(told.lines.len());
    let begin = end.saturating_sub(LINES_SHOWN);
    Ok(format!(
        "seed {seed}: {}\n  with no more faults than: {}\n  repeat: ./scripts/prove simulation --part seeds --seed {seed} --rounds 1\n{}",
        outcome.violations.join("\n  then: "),
        names.join(", "),
        told.lines[begin..end].join("\n"),
        seed = recipe.seed,
    ))
}

fn promise(violation: &str) -> &str {
    violation.split(':').next().unwrap_or_default()
}

/// One bug, in as many worlds as it takes; which one, the low bits of the seed say, which count the rounds.
fn bug(seed: u64) -> anyhow::Result<Tally> {
    let bug = Bug::ALL[usize::try_from(seed & 0xffff)? % Bug::ALL.len()];
    let mut recipe = Recipe { seed, bug: Some(bug), faults: Faults::all(), told: false };
    let mut tally = Tally::of(1);
    for number in 1..=WORLDS_PER_BUG {
        let outcome = run(recipe)?;
        if let Some(violation) = outcome.violations.into_iter().next() {
            tally.worst(&format!("seeds until found: {}", bug.name()), number as f64);
            tally.violations.push(format!("{} in seed {number}: {violation}", bug.name()));
            return Ok(tally);
        }
        recipe.seed = next(recipe.seed);
    }
    tally.count(&format!("NOT FOUND: {}", bug.name()), 1);
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_world() {
        for seed in 0..20 {
            let recipe = Recipe { seed, bug: None, faults: Faults::all(), told: true };
            let (one, two) = (run(recipe).unwrap(), run(recipe).unwrap());
            let differs = one.lines.iter().zip(&two.lines).find(|(one, two)| one != two);
            assert_eq!((one.hash, differs), (two.hash, None), "seed {seed}");
            assert_eq!(one.violations, Vec::<String>::new(), "seed {seed}");
        }
    }

    #[test]
    fn a_world_without_faults_delivers_everything_at_once() {
        let recipe = Recipe { seed: 7, bug: None, faults: Faults::default(), told: false };
        let outcome = run(recipe).unwrap();
        assert_eq!(outcome.violations, Vec::<String>::new());
        assert_eq!(outcome.fired, Faults::default());
        assert!(outcome.events > 0 && outcome.attempts > 0);
    }

    #[test]
    fn a_seed_leads_to_others() {
        let mut seen = std::collections::HashSet::new();
        let mut seed = 1;
        for _ in 0..10_000 {
            assert!(seen.insert(seed));
            seed = next(seed);
        }
    }
}
