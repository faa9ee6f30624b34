//! Builds the parts from a config, starts them, reloads them and stops them in order.
