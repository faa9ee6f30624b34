//! The store contract, for every backend.
