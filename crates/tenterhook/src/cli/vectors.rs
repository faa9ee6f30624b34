//! `tenterhook verify --vectors FILE`: every request vector of a file, through the same code as the gateway.

use std::path::Path;

use serde_json::json;
use tenterhook_verify::vectors;

use super::failure::{Exit, Failure};
use super::output;

/// Runs them; those of `providers` where any are named. Exit 1 when one fails.
pub fn run(path: &Path, providers: &[String], as_json: bool) -> Result<(), Failure> {
    let named = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read `{named}`: {error}")))?;
    let vectors = vectors::parse(&text).map_err(|error| Failure::usage(format!("`{named}`: {error}")))?;
    let (mut passed, mut failed) = (0_u32, 0_u32);
    for vector in &vectors {
        if !providers.is_empty() && !providers.contains(&vector.provider) {
            continue;
        }
        let result = vector.run();
        if result.pass {
            passed += 1;
        } else {
            failed += 1;
        }
        if as_json {
            output::json(&json!({
                "provider": result.provider, "name": result.name, "expected": result.expected, "got": result.got,
                "pass": result.pass,
            }))?;
        } else if !result.pass {
            let line = format!(
                "{}: {}: expected {}, got {}",
                result.provider, result.name, result.expected, result.got
            );
            output::line(output::printable(&line))?;
        }
    }
    if passed + failed == 0 {
        return Err(Failure::usage(format!("`{named}` holds no vector of {}", providers.join(", "))));
    }
    output::line(format!("{passed} passed, {failed} failed"))?;
    if failed == 0 { Ok(()) } else { Err(Failure::silent(Exit::Invalid)) }
}
