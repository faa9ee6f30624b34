//! The rigs that prove what Tenterhook promises, by breaking it on purpose.
//!
//! ```text
//!   prove ──> drive ── round by round ──> a rig's part ──> lab: a site with the real binary,
//!     │         │                              │                senders and a handler with journals
//!     │         └─ record (adds up)            └─ a fault       judge: journals against ledger
//!     └─ report
//! ```
//!
//! Each rig has controls: the same experiment over something deliberately broken (`broken`), which it has to catch.

pub mod broken;
pub mod drive;
pub mod lab;
pub mod machine;
pub mod record;
pub mod report;
pub mod rig;
pub mod rigs;
