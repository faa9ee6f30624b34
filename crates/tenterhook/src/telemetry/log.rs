//! Structured logs: stable event names, values as fields, never a payload, never a secret.
