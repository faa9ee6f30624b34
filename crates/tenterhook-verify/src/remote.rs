//! URLs that live at the provider. Fetches nothing: says what may be fetched.

pub(crate) mod host;
