//! The destination contract, against real peers.
