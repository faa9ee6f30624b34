//! What a rig is: a name, the promises that it proves, and parts. A part is one experiment that is repeated, with a goal
//! for each budget; a control is a part over something deliberately broken, which the rig has to catch. This file does
//! not know how experiments are run or reported.

use std::collections::BTreeMap;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::lab::Lab;

/// How much is done: what a commit can afford, or what a release must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// Minutes.
    Ci,
    /// Hours; runs add up.
    Full,
}

/// A rig.
pub struct Rig {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line: what it does to the gateway.
    pub about: &'static str,
    /// The promises that it proves, as `R1`.
    pub promises: &'static [&'static str],
    /// Why it cannot run on this machine; it then counts as not run, never as passed.
    pub missing: fn() -> Option<String>,
    /// Its experiments, the controls among them.
    pub parts: Vec<Part>,
}

/// One experiment, repeated round by round.
pub struct Part {
    /// Its name, unique in the rig.
    pub name: &'static str,
    /// What is counted towards the goal: `kills`, `cuts`.
    pub unit: &'static str,
    /// How many with the budget `ci`.
    pub ci: u64,
    /// How many with the budget `full`.
    pub full: u64,
    /// Whether violations are bad news or what is asked for.
    pub kind: Kind,
    /// One round. The seed repeats it.
    pub run: fn(Lab, u64) -> Round,
}

impl Part {
    /// How many units the budget asks for.
    #[must_use]
    pub fn goal(&self, budget: Budget) -> u64 {
        match budget {
            Budget::Ci => self.ci,
            Budget::Full => self.full,
        }
    }
}

/// What a part's violations mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Each one is a broken promise.
    Proof,
    /// The rig must find some in at least this share of the rounds, or it is blind.
    Control(f64),
}

/// The error of a round that cannot be run on this machine, and why: its part then counts as not run.
#[derive(Debug)]
pub struct CannotRun(pub String);

impl std::fmt::Display for CannotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotRun {}

/// One round under way.
pub type Round = Pin<Box<dyn Future<Output = anyhow::Result<Tally>> + Send>>;

/// What a round found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Units done.
    pub done: u64,
    /// What was promised and did not hold, a line each.
    pub violations: Vec<String>,
    /// Rounds that the rig itself could not do: they prove nothing, and a control that had some caught nothing.
    #[serde(default)]
    pub trouble: u64,
    /// What adds up over rounds: events acknowledged, requests refused.
    pub counts: BTreeMap<String, u64>,
    /// Of what only the largest matters, with its unit in its name: `recovery_ms`.
    pub worst: BTreeMap<String, f64>,
}

impl Tally {
    /// Nothing wrong with `done` units.
    #[must_use]
    pub fn of(done: u64) -> Self {
        Self { done, ..Self::default() }
    }

    /// Notes a broken promise unless `holds`.
    pub fn check(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(violation());
        }
    }

    /// Adds to a count.
    pub fn count(&mut self, name: &str, more: u64) {
        *self.counts.entry(name.to_owned()).or_default() += more;
    }

    /// Keeps the largest.
    pub fn worst(&mut self, name: &str, value: f64) {
        let kept = self.worst.entry(name.to_owned()).or_insert(value);
        *kept = kept.max(value);
    }

    /// Takes another round's findings in.
    pub fn add(&mut self, other: Self) {
        self.done += other.done;
        self.trouble += other.trouble;
        self.violations.extend(other.violations);
        for (name, more) in other.counts {
            self.count(&name, more);
        }
        for (name, value) in other.worst {
            self.worst(&name, value);
        }
    }
}
