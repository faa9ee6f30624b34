//! What may import what: the table of ARCHITECTURE.md as data.
