//! The gateway dies or stands still, again and again on the same store: SIGKILL, the kernel's OOM killer, SIGSTOP beyond
//! the lease, SIGKILL in the middle of a redrive.

mod attempts;
mod cage;
mod handling;
mod life;
mod oom;
mod pause;
mod redrive;
mod sigkill;

use crate::broken::Bug;
use crate::rig::{Kind, Part, Rig};

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    Rig {
        name: "kill",
        about: "SIGKILL, OOM kill and SIGSTOP under load",
        promises: &["R1", "R11", "R12", "R15", "R24"],
        missing: || None,
        parts: vec![
            Part {
                name: "sigkill",
                unit: "kills",
                ci: 200,
                full: 10_000,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(sigkill::round(lab, seed, None)),
            },
            Part {
                name: "oom",
                unit: "OOM kills",
                ci: 20,
                full: 500,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(oom::round(lab, seed)),
            },
            Part {
                name: "sigstop",
                unit: "pauses",
                ci: 20,
                full: 2000,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(pause::round(lab, seed, None)),
            },
            Part {
                name: "redrive",
                unit: "kills",
                ci: 10,
                full: 1000,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(redrive::round(lab, seed)),
            },
            Part {
                name: "control-early-ack",
                unit: "kills",
                ci: sigkill::KILLS,
                full: 10 * sigkill::KILLS,
                kind: Kind::Control(0.9),
                run: |lab, seed| Box::pin(sigkill::round(lab, seed, Some(Bug::AckBeforeCommit))),
            },
            Part {
                name: "control-late-settlement",
                unit: "kills",
                ci: sigkill::KILLS,
                full: 10 * sigkill::KILLS,
                kind: Kind::Control(0.9),
                run: |lab, seed| Box::pin(sigkill::round(lab, seed, Some(Bug::SettleBeforeCommit))),
            },
            Part {
                name: "control-no-fencing",
                unit: "pauses",
                ci: pause::PAUSES_OF_CONTROL,
                full: 10 * pause::PAUSES_OF_CONTROL,
                kind: Kind::Control(0.9),
                run: |lab, seed| Box::pin(pause::round(lab, seed, Some(Bug::NoFencing))),
            },
        ],
    }
}
