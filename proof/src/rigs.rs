//! All rigs, in the order in which they run.

mod clock;
mod corruption;
mod kill;

use crate::rig::Rig;

/// All of them.
#[must_use]
pub fn all() -> Vec<Rig> {
    vec![kill::rig(), corruption::rig(), clock::rig()]
}
