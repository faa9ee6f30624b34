//! The dispatcher under paused time: the real loop, the memory store, scripted destinations.

mod ahead;
mod breaker;
mod callers;
mod delivery;
mod outage;
mod script;
mod stop;
