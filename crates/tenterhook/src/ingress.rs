//! The inbound path: `receive()` on one screen. Knows sources and the store as a trait; knows nothing of the dispatcher,
//! of the config, or of the backend it writes.
