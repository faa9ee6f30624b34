//! What is kept of a rig between runs: how far each part is and what it found. Runs add up until the goal is reached, so
//! a record also says which commits they were of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::rig::{Budget, Kind, Part, Tally};

/// Violations kept per part; more of the same would not help anybody.
const VIOLATIONS_KEPT: usize = 20;

/// One rig's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The rig.
    pub rig: String,
    /// The promises that it proves.
    pub promises: Vec<String>,
    /// Why it did not run here; nothing is proved then.
    pub not_run: Option<String>,
    /// When it last ran, RFC 3339.
    pub date: String,
    /// The commits that the runs were of.
    pub commits: BTreeSet<String>,
    /// The machine.
    pub machine: String,
    /// The command that continues it.
    pub command: String,
    /// Its parts.
    pub parts: BTreeMap<String, PartRecord>,
}

/// One part's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PartRecord {
    /// Why it did not run here; it has proved nothing then.
    #[serde(default)]
    pub not_run: Option<String>,
    /// What is counted.
    pub unit: String,
    /// How many the budget asks for.
    pub goal: u64,
    /// How many the full budget asks for.
    pub full: u64,
    /// Whether it is over something deliberately broken.
    pub control: bool,
    /// The share of rounds that must find something, for a control.
    pub share: f64,
    /// Rounds.
    pub rounds: u64,
    /// Rounds that found something.
    pub caught: u64,
    /// Time spent, s.
    pub seconds: f64,
    /// What was found.
    #[serde(flatten)]
    pub tally: Tally,
    /// The command that repeats the first round that failed.
    pub repeat: Option<String>,
}

impl PartRecord {
    /// Takes in one round.
    pub fn add(&mut self, round: Tally, seconds: f64) {
        self.rounds += 1;
        self.caught += u64::from(!round.violations.is_empty() && round.trouble == 0);
        self.seconds += seconds;
        self.tally.add(round);
        self.tally.violations.truncate(VIOLATIONS_KEPT);
    }

    /// Whether it did all and is as it should be.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.not_run.is_none() && self.tally.done >= self.goal && !self.failed()
    }

    /// Whether a promise is broken, or a control was not noticed.
    #[must_use]
    pub fn failed(&self) -> bool {
        if self.tally.trouble > 0 {
            return true;
        }
        if !self.control {
            return self.caught > 0;
        }
        let complete = self.tally.done >= self.goal;
        complete && (self.caught as f64) < self.share * self.rounds as f64
    }
}

impl Record {
    /// Where a rig's record is kept.
    #[must_use]
    pub fn path(directory: &Path, rig: &str) -> PathBuf {
        directory.join(format!("{rig}.json"))
    }

    /// The record so far; a new one where there is none.
    pub fn read(directory: &Path, rig: &str) -> anyhow::Result<Self> {
        let path = Self::path(directory, rig);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory)?;
        let path = Self::path(directory, &self.rig);
        let fresh = path.with_extension("json.new");
        std::fs::write(&fresh, format!("{}\n", serde_json::to_string_pretty(self)?))?;
        std::fs::rename(&fresh, &path).with_context(|| format!("{}", path.display()))
    }

    /// The part's record, brought to what the part says now.
    pub fn part(&mut self, part: &Part, budget: Budget) -> &mut PartRecord {
        let record = self.parts.entry(part.name.to_owned()).or_default();
        part.unit.clone_into(&mut record.unit);
        (record.goal, record.full) = (part.goal(budget), part.full);
        if let Kind::Control(share) = part.kind {
            (record.control, record.share) = (true, share);
        }
        record
    }

    /// Whether every part passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.not_run.is_none() && self.parts.values().all(PartRecord::passed)
    }

    /// Whether some part failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.parts.values().any(PartRecord::failed)
    }
}
