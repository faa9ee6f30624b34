//! The grammar of a scheme, as written in `catalog/*.toml` and in a user's `verify = { … }`. Serde lives here.

use std::time::Duration;

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

/// Reads a duration as written in configs and catalog: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let refusal = || format!("`{text}` is not a duration");
    let number: u64 = digits.parse().map_err(|_| refusal())?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refusal()),
    };
    number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(refusal)
}
