//! Decisions: pure functions of their arguments, `now` and a random generator. No I/O, no clock.
