//! Sockets and names: the HTTP client with its private-address guard, and the accept loop. Knows nothing of what is sent.

pub mod client;
pub mod fetch;
pub mod guard;
pub mod listener;
mod plain;
pub mod tls;
