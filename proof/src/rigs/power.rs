//! Power cuts: the gateway's database is on a disk that forgets what was not flushed, and on a file system that is shut
//! down under it.
//!
//! ```text
//!   gateway ──> ext4 ──> loop device ──> file on FUSE (`drive`) ──> `disk`: flushed blocks + unflushed writes
//!                                                                     │ cut: what chance leaves of them
//!   `look` <── ext4, its journal replayed <── loop device <── image <─┘
//! ```
//!
//! What it does not show: a drive that lies about its flushes loses data, whoever writes to it. One control is just that.

mod cuts;
mod disk;
mod drive;
mod look;
mod mount;
mod rack;
mod senders;
mod shutdowns;

use crate::broken::Bug;
use crate::rig::{Kind, Part, Rig};
use cuts::Wrong;

/// The rig.
#[must_use]
pub(super) fn rig() -> Rig {
    let control = |name, run| Part { name, unit: "cuts", ci: 20, full: 200, kind: Kind::Control(0.9), run };
    Rig {
        name: "power",
        about: "power cut at block level, and the file system shut down, under load",
        promises: &["R1", "R6"],
        missing: mount::missing,
        parts: vec![
            Part {
                name: "cut",
                unit: "cuts",
                ci: 150,
                full: 10_000,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(cuts::round(lab, seed)),
            },
            Part {
                name: "shutdown",
                unit: "shutdowns",
                ci: 50,
                full: 2_000,
                kind: Kind::Proof,
                run: |lab, seed| Box::pin(shutdowns::round(lab, seed, None)),
            },
            Part {
                name: "control-early-ack-shutdown",
                unit: "shutdowns",
                ci: 10,
                full: 100,
                kind: Kind::Control(1.0),
                run: |lab, seed| Box::pin(shutdowns::round(lab, seed, Some(Bug::AckBeforeCommit))),
            },
            control("control-lying-fsync", |lab, seed| Box::pin(cuts::control(lab, seed, Wrong::LyingFsync))),
            control("control-early-ack", |lab, seed| Box::pin(cuts::control(lab, seed, Wrong::EarlyAck))),
        ],
    }
}
