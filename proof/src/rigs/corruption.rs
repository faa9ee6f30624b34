//! Silent corruption: a store with events still to deliver is copied, one place of the copy is damaged, and a gateway
//! starts on it. `base` makes the store, `damage` harms it, `trial` says what must hold then.

mod base;
mod damage;
mod trial;

use crate::broken::Bug;
use crate::lab::Lab;
use crate::rig::{Kind, Part, Rig, Tally};
use damage::Kind as Damage;

/// Trials on the copies of one store.
const TRIALS: u64 = 20;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let part = |name, ci, full, run| Part { name, unit: "trials", ci, full, kind: Kind::Proof, run };
    let control = |name, run| Part { name, unit: "trials", ci: 4, full: 40, kind: Kind::Control(0.9), run };
    Rig {
        name: "corruption",
        about: "a bit, a page or the end of the database or of its WAL is damaged",
        promises: &["R19"],
        missing: || None,
        parts: vec![
            part("bit", 40, 6_000, |lab, seed| Box::pin(round(lab, seed, Damage::Bit))),
            part("page", 20, 2_000, |lab, seed| Box::pin(round(lab, seed, Damage::Page))),
            part("truncation", 20, 2_000, |lab, seed| Box::pin(round(lab, seed, Damage::Truncation))),
            control("control-wrong-byte", |lab, seed| Box::pin(wrong_byte(lab, seed))),
            control("control-lost-wal", |lab, seed| Box::pin(lost_wal(lab, seed))),
        ],
    }
}

async fn round(lab: Lab, seed: u64, kind: Damage) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let base = base::build(&lab, seed).await?;
    let mut tally = Tally::default();
    for number in 0..TRIALS {
        let trial = trial::Trial::new(&lab, &base, None).await?;
        let harm = damage::inflict(kind, trial.database(), &mut random)?;
        let name = format!("trial {number}, {harm}");
        tally.add(trial.run(&base, &harm, &name).await?);
    }
    Ok(tally)
}

/// The gateway itself changes bytes of an undamaged store.
async fn wrong_byte(lab: Lab, seed: u64) -> anyhow::Result<Tally> {
    let base = base::build(&lab, seed).await?;
    let trial = trial::Trial::new(&lab, &base, Some(Bug::WrongByte)).await?;
    trial.run(&base, &damage::Harm::none(), "no damage, a gateway that changes bytes").await
}

/// A store that lost every event of its WAL, while the judge is told that nothing was damaged: a judge that does not
/// miss them would not miss any.
async fn lost_wal(lab: Lab, seed: u64) -> anyhow::Result<Tally> {
    let base = base::build(&lab, seed).await?;
    let trial = trial::Trial::new(&lab, &base, None).await?;
    std::fs::remove_file(damage::wal_of(trial.database()))?;
    trial.run(&base, &damage::Harm::none(), "the WAL is gone, unnoticed").await
}
