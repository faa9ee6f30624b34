//! The dispatcher under paused time.
