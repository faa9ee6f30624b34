//! All rigs, in the order in which they run.

mod kill;

use crate::rig::Rig;

/// All of them.
#[must_use]
pub fn all() -> Vec<Rig> {
    vec![kill::rig()]
}
