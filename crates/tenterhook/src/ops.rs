//! The verbs that people and agents share. Knows the store as a trait; knows nothing of who is asking.

pub mod live;
