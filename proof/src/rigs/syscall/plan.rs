//! What fails: the whole list, in an order that is the same in every run. It does not know how calls are made to fail.

use std::fmt;

/// One call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Injection {
    /// The call's name, as the shim knows it.
    pub(super) call: &'static str,
    /// The how-manieth; where there are fewer, it is counted on from the first.
    pub(super) k: u64,
    /// How it fails, as the shim knows it.
    pub(super) kind: &'static str,
    /// Whether every later one fails, too.
    pub(super) sticky: bool,
    /// Whether the store has to be created; else there is one, as a killed gateway left it.
    pub(super) fresh: bool,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = if self.fresh { "new" } else { "used" };
        let times = if self.sticky { "from then on" } else { "once" };
        write!(f, "{} {} of a {store} store, {} {times}", self.call, self.k, self.kind)
    }
}

/// Makes a list.
pub(super) type Plan = fn() -> Vec<Injection>;

/// For each call how many there are at most (a little more than were ever counted), and how it fails.
type Row = (&'static str, u64, &'static [&'static str], &'static [bool]);

const ONCE: &[bool] = &[false];
const BOTH: &[bool] = &[false, true];

/// From the start of a gateway on a store that was killed to its end.
pub(super) fn running() -> Vec<Injection> {
    const ROWS: &[Row] = &[
        ("fsync", 2, &["EIO", "ENOSPC", "EINTR"], BOTH),
        ("fdatasync", 30, &["EIO", "ENOSPC", "EINTR", "lie"], BOTH),
        ("write", 180, &["EIO", "ENOSPC", "EINTR", "short"], BOTH),
        ("ftruncate", 4, &["EIO", "ENOSPC", "EINTR"], BOTH),
        ("open", 12, &["EIO", "ENOSPC", "EINTR", "EMFILE"], BOTH),
        ("unlink", 2, &["EIO", "ENOSPC"], BOTH),
        ("mmap", 1, &["ENOMEM", "EIO"], BOTH),
        ("read", 60, &["EIO"], BOTH),
        ("read", 60, &["short"], ONCE),
        ("lock", 120, &["ENOLCK"], ONCE),
        ("lock", 60, &["EIO"], BOTH),
    ];
    list(ROWS, false)
}

/// While a store is created.
pub(super) fn creating() -> Vec<Injection> {
    const ROWS: &[Row] = &[
        ("fsync", 1, &["EIO", "ENOSPC", "EINTR"], BOTH),
        ("fdatasync", 12, &["EIO", "ENOSPC", "EINTR"], BOTH),
        ("write", 50, &["EIO", "ENOSPC"], BOTH),
        ("write", 50, &["short"], ONCE),
        ("ftruncate", 2, &["EIO", "ENOSPC"], BOTH),
        ("open", 12, &["EIO", "ENOSPC", "EMFILE"], BOTH),
        ("unlink", 3, &["EIO", "ENOSPC"], BOTH),
        ("mmap", 1, &["ENOMEM"], BOTH),
        ("read", 20, &["EIO"], ONCE),
        ("lock", 40, &["ENOLCK"], ONCE),
    ];
    list(ROWS, true)
}

/// Calls that take five seconds.
pub(super) fn stalling() -> Vec<Injection> {
    const ROWS: &[Row] = &[
        ("fsync", 1, &["stall"], ONCE),
        ("fdatasync", 30, &["stall"], BOTH),
        ("write", 30, &["stall"], ONCE),
        ("ftruncate", 4, &["stall"], ONCE),
        ("open", 12, &["stall"], ONCE),
        ("read", 20, &["stall"], ONCE),
    ];
    list(ROWS, false)
}

/// What a gateway that acknowledges too early cannot get away with: the disk refuses from early on.
pub(super) fn control() -> Vec<Injection> {
    list(&[("fdatasync", 8, &["EIO", "ENOSPC"], &[true]), ("write", 30, &["ENOSPC"], &[true])], false)
}

/// All of it, mixed: what is done first is a sample of the whole.
fn list(rows: &[Row], fresh: bool) -> Vec<Injection> {
    let mut list = Vec::new();
    for &(call, calls, kinds, stickiness) in rows {
        for &kind in kinds {
            for &sticky in stickiness {
                list.extend((1..=calls).map(|k| Injection { call, k, kind, sticky, fresh }));
            }
        }
    }
    fastrand::Rng::with_seed(list.len() as u64).shuffle(&mut list);
    list
}
