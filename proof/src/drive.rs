//! Runs the parts of a rig round by round until the goal is reached: progress, resuming, and the command that repeats a
//! round that failed. It does not know what a round does.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::lab::Lab;
use crate::machine;
use crate::record::Record;
use crate::rig::{Budget, CannotRun, Kind, Part, Rig, Tally};

/// A round that takes longer than this hangs, and a hang is a violation.
const ROUND_MAX: Duration = Duration::from_secs(900);

/// How to run.
#[derive(Clone, Debug)]
pub struct Orders {
    /// How much.
    pub budget: Budget,
    /// The seed that every round's own is made from.
    pub seed: u64,
    /// Only this part.
    pub part: Option<String>,
    /// At most so many rounds per part, each with exactly `seed`: repeating a failure.
    pub rounds: Option<u64>,
    /// Rounds side by side.
    pub jobs: usize,
    /// Stop starting rounds after this.
    pub until: Option<Instant>,
    /// Where the records are.
    pub records: PathBuf,
    /// The binary and the place to work.
    pub lab: Lab,
}

/// Runs one rig as far as ordered and returns its record.
pub async fn run(rig: &Rig, orders: &Orders) -> anyhow::Result<Record> {
    let repeating = orders.rounds.is_some();
    let mut record = if repeating { Record::default() } else { Record::read(&orders.records, rig.name)? };
    rig.name.clone_into(&mut record.rig);
    record.promises = rig.promises.iter().map(|&it| it.to_owned()).collect();
    record.date = machine::now();
    record.machine = machine::describe();
    record.command = format!("./scripts/prove {} --budget {}", rig.name, name(orders.budget));
    record.not_run = (rig.missing)();
    record.parts.retain(|name, _| rig.parts.iter().any(|part| part.name == name));
    if let Some(why) = &record.not_run {
        say(&format!("{}: NOT RUN: {why}", rig.name));
    } else {
        record.commits.insert(machine::commit());
        let named = |part: &&Part| orders.part.as_deref().is_none_or(|it| it == part.name);
        // Where the budget asks for none of it, only its name does.
        let asked = |part: &&Part| orders.part.is_some() || part.goal(orders.budget) > 0;
        for part in rig.parts.iter().filter(named).filter(asked) {
            run_part(rig, part, orders, &mut record).await?;
        }
    }
    if !repeating {
        record.write(&orders.records)?;
    }
    Ok(record)
}

async fn run_part(rig: &Rig, part: &Part, orders: &Orders, record: &mut Record) -> anyhow::Result<()> {
    let goal = record.part(part, orders.budget).goal;
    let mut next = record.part(part, orders.budget).rounds;
    let first = next;
    record.part(part, orders.budget).not_run = None;
    let mut under_way = FuturesUnordered::new();
    let mut shown = Instant::now();
    loop {
        let so_far = record.part(part, orders.budget);
        let enough = match orders.rounds {
            Some(rounds) => next - first >= rounds,
            None => so_far.tally.done >= goal || so_far.failed(),
        } || so_far.not_run.is_some();
        let out_of_time = orders.until.is_some_and(|until| Instant::now() > until);
        if !enough && !out_of_time && under_way.len() < orders.jobs {
            let seed = match orders.rounds {
                Some(_) => orders.seed,
                None => round_seed(orders.seed, rig.name, part.name, next),
            };
            next += 1;
            under_way.push(round(part, orders.lab.clone(), seed));
            continue;
        }
        let Some((seed, found, seconds)) = under_way.next().await else { break };
        let tally = match found {
            Ok(tally) => tally,
            Err(CannotRun(why)) => {
                record.part(part, orders.budget).not_run = Some(why);
                continue;
            }
        };
        let bad = !tally.violations.is_empty();
        if bad && part.kind == Kind::Proof {
            let repeat =
                format!("./scripts/prove {} --part {} --seed {seed} --rounds 1", rig.name, part.name);
            say(&format!("{} {}: {}\nrepeat: {repeat}", rig.name, part.name, tally.violations.join("\n  ")));
            record.part(part, orders.budget).repeat.get_or_insert(repeat);
        }
        record.part(part, orders.budget).add(tally, seconds);
        if orders.rounds.is_none() {
            record.write(&orders.records)?;
        }
        if shown.elapsed() > Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 15 }) {
            shown = Instant::now();
            let done = record.part(part, orders.budget);
            say(&format!("{} {}: {} of {goal} {}", rig.name, part.name, done.tally.done, part.unit));
        }
    }
    let done = record.part(part, orders.budget);
    if let Some(why) = &done.not_run {
        say(&format!("{} {}: NOT RUN: {why}", rig.name, part.name));
        return Ok(());
    }
    let word = match (done.failed(), done.passed(), done.control) {
        (true, ..) => "FAILED",
        (_, true, true) => "caught",
        (_, true, false) => "passed",
        _ => "not complete",
    };
    say(&format!(
        "{} {}: {word}, {} of {goal} {}, {:.0} s",
        rig.name, part.name, done.tally.done, part.unit, done.seconds
    ));
    Ok(())
}

/// One round; trouble of the rig itself is a violation, too: what did not run proves nothing.
async fn round(part: &Part, lab: Lab, seed: u64) -> (u64, Result<Tally, CannotRun>, f64) {
    let started = Instant::now();
    let run = part.run;
    let outcome = tokio::time::timeout(ROUND_MAX, tokio::spawn(run(lab, seed))).await;
    let result = match outcome {
        Ok(joined) => joined.context("the round panicked").and_then(|it| it),
        Err(_) => Err(anyhow::anyhow!("the round did not end within {} s", ROUND_MAX.as_secs())),
    };
    let tally = result.or_else(|error| {
        let trouble = |error| Tally {
            violations: vec![format!("rig trouble: {error:#}")],
            trouble: 1,
            ..Tally::default()
        };
        error.downcast::<CannotRun>().map_or_else(|error| Ok(trouble(error)), Err)
    });
    (seed, tally, started.elapsed().as_secs_f64())
}

/// Seeds that differ between rigs, parts and rounds, and are the same in every run. Their low 16 bits count the rounds: a
/// part that goes through a plan finds its place there, also when a failure is repeated.
fn round_seed(seed: u64, rig: &str, part: &str, round: u64) -> u64 {
    // FNV-1a, 64 bit: http://www.isthe.com/chongo/tech/comp/fnv/
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = seed.to_le_bytes().into_iter().chain(round.to_le_bytes());
    for byte in rig.bytes().chain(part.bytes()).chain(bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash & !0xffff) | (round & 0xffff)
}

fn name(budget: Budget) -> &'static str {
    match budget {
        Budget::Ci => "ci",
        Budget::Full => "full",
    }
}

/// A line of progress.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
