//! Requests over a real socket: status, body, what was stored.
