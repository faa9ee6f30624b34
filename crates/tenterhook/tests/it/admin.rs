//! The admin API, over a real listener.
