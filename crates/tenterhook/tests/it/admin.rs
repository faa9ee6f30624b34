//! The admin listener, its API and the metrics, seen from outside.

mod access;
mod counters;
mod life;
mod lists;
mod metrics;
mod orders;
mod reference;
mod rig;
