//! Every system call on the store's files fails once: the k-th of each kind, for every k, in a gateway that is started,
//! sent twenty-five events, and stopped.
//!
//! | file | what it is for |
//! |---|---|
//! | `plan` | which call fails, how, and when: the list that a part goes through |
//! | `board` | the shim that makes calls fail, and what it tells |
//! | `run` | one injection: what is sent, what must be answered, and what must be there afterwards |

mod board;
mod plan;
mod run;

use std::path::Path;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::broken::Bug;
use crate::lab::{Lab, judge};
use crate::rig::{Kind, Part, Rig, Tally};
use plan::{Injection, Plan};
use run::Scene;

/// Injections in one round; they share the shim and the store that they begin with.
const PER_ROUND: usize = 20;

/// Injections side by side: each has a gateway of its own, and most of the time they wait for what was made to fail.
const SIDE_BY_SIDE: usize = 6;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, ci, plan: Plan, run| {
        let full = plan().len() as u64;
        Part { name, unit: "injections", ci, full, kind: Kind::Proof, run }
    };
    let control =
        |name, run| Part { name, unit: "injections", ci: 20, full: 100, kind: Kind::Control(0.9), run };
    Rig {
        name: "syscall",
        about: "the k-th system call on the store fails, for every k",
        promises: &["R2", "R3", "R6"],
        missing: board::missing,
        parts: vec![
            part("running", 80, plan::running, |lab, seed| Box::pin(round(lab, seed, plan::running, None))),
            part("creating", 30, plan::creating, |lab, seed| {
                Box::pin(round(lab, seed, plan::creating, None))
            }),
            part("stalling", 10, plan::stalling, |lab, seed| {
                Box::pin(round(lab, seed, plan::stalling, None))
            }),
            control("control-swallowed-error", |lab, seed| {
                Box::pin(round(lab, seed, plan::control, Some(Bug::SwallowedCommitError)))
            }),
            control("control-early-ack", |lab, seed| {
                Box::pin(round(lab, seed, plan::control, Some(Bug::AckBeforeCommit)))
            }),
        ],
    }
}

/// The low bits of the seed say how many rounds went before: that is the place in the plan.
async fn round(lab: Lab, seed: u64, plan: Plan, bug: Option<Bug>) -> anyhow::Result<Tally> {
    let directory = tempfile::Builder::new().prefix("tenterhook-proof-syscall-").tempdir()?;
    let shim = board::build(directory.path()).await?;
    let plan = plan();
    let first = usize::try_from(seed & 0xffff)? * PER_ROUND;
    let scene = Scene::set(lab, shim, directory.path().join("template"), bug).await?;
    let injections = (first..first + PER_ROUND).map(|place| (plan[place % plan.len()], place));
    let each = async |(injection, place): (Injection, usize)| {
        let mut found = run::inject(&scene, injection, seed, place).await?;
        if bug.is_some() {
            // It has to be caught for what is wrong with it.
            found.violations.retain(|violation| violation.contains(judge::LOST));
        }
        for violation in &mut found.violations {
            *violation = format!("{injection}: {violation}");
        }
        anyhow::Ok(found)
    };
    let found: Vec<Tally> = stream::iter(injections).map(each).buffered(SIDE_BY_SIDE).try_collect().await?;
    let mut tally = Tally::default();
    found.into_iter().for_each(|found| tally.add(found));
    Ok(tally)
}

/// The files of a store that nobody has open, `from` one place `to` another.
fn copy_store(from: &Path, to: &Path) -> anyhow::Result<()> {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            name
        };
        if Path::new(&name(from)).exists() {
            std::fs::copy(name(from), name(to))?;
        }
    }
    Ok(())
}
