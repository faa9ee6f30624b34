//! The store in memory: the reference model that the others are compared with, and `memory:` for trials.
