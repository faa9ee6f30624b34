//! Configs: what is refused, with which words; what is built.
