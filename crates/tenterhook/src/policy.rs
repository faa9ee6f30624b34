//! Decisions: pure functions of their arguments, `now` and a random generator. No I/O, no clock.

pub mod backoff;
pub mod breaker;
pub mod limit;
pub mod route;
pub mod verdict;
