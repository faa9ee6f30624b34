//! Metrics and logs. Knows names and labels; knows nothing of what is being counted for.

pub mod log;
pub mod metrics;
pub mod rejections;
