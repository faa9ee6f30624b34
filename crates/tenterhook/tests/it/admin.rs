//! The admin listener, its API and the metrics, seen from outside.

mod metrics;
