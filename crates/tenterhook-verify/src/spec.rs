//! The grammar of a scheme, as written in `catalog/*.toml` and in a user's `verify = { … }`. Serde lives here.

use serde::{Deserialize, Serialize};

use crate::{Scheme, SpecError};

/// One scheme as written. `Scheme::compile` checks it.
///
/// (To be completed by the owner of this crate: `header, mac, algorithm, encoding, prefix, content, key, timestamp,
/// list, require, key_id` exactly as in the contract's section 3.)
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemeSpec {
    /// The header that carries the signature.
    pub header: Option<String>,
}

impl SchemeSpec {
    /// Checks the spec; all its problems at once.
    pub fn compile(&self) -> Result<Scheme, Vec<SpecError>> {
        todo!()
    }
}
