//! All rigs, in the order in which they run.

mod clock;
mod corruption;
mod disk_full;
mod isolation;
mod kill;
mod memory;
mod overload;
mod power;
mod pressure;
mod restart;
mod simulation;
mod syscall;

use crate::rig::Rig;

/// All of them.
#[must_use]
pub fn all() -> Vec<Rig> {
    vec![
        kill::rig(),
        power::rig(),
        syscall::rig(),
        disk_full::rig(),
        corruption::rig(),
        clock::rig(),
        overload::rig(),
        isolation::rig(),
        memory::rig(),
        restart::rig(),
        simulation::rig(),
    ]
}
