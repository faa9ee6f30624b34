//! The disk fills up byte by byte under load, and is freed again. Whatever fills it goes on taking what becomes free.
//!
//! | file | what it is for |
//! |---|---|
//! | `disk` | small disks that fill up: a loop device with ext4, a tmpfs, a limit on the size of files |
//! | `cycle` | filling and freeing once: what must be refused, what must go on, what must come back |

mod cycle;
mod disk;

use crate::broken::Bug;
use crate::lab::{Lab, judge};
use crate::rig::{Kind, Part, Rig, Tally};
use disk::Medium;

/// Cycles in one round: the store of a round lives through all of them.
const CYCLES: u64 = 5;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, ci, full, kind, run| Part { name, unit: "cycles", ci, full, kind, run };
    Rig {
        name: "disk-full",
        about: "the disk fills up byte by byte under load, and is freed",
        promises: &["R3", "R6"],
        missing: disk::missing,
        parts: vec![
            part("ext4", 5, 120, Kind::Proof, |lab, seed| Box::pin(round(lab, seed, Medium::Ext4, None))),
            part("tmpfs", 5, 60, Kind::Proof, |lab, seed| Box::pin(round(lab, seed, Medium::Tmpfs, None))),
            part("file-size-limit", 5, 20, Kind::Proof, |lab, seed| {
                Box::pin(round(lab, seed, Medium::FileSizeLimit, None))
            }),
            part("control-swallowed-error", 5, 20, Kind::Control(0.9), |lab, seed| {
                Box::pin(round(lab, seed, Medium::Ext4, Some(Bug::SwallowedCommitError)))
            }),
        ],
    }
}

async fn round(lab: Lab, seed: u64, medium: Medium, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let mut scene = cycle::Scene::set(&lab, medium, seed, bug).await?;
    let mut tally = Tally::default();
    for number in 0..CYCLES {
        let found = scene.cycle(number).await?;
        tally.add(found);
        if bug.is_none() && !tally.violations.is_empty() {
            return Ok(tally);
        }
    }
    tally.add(scene.end().await?);
    if bug.is_some() {
        // It has to be caught for what is wrong with it.
        tally.violations.retain(|violation| violation.contains(judge::LOST));
    }
    Ok(tally)
}
