//! Secrets and files named on a command line: `env:NAME`, `file:PATH`, `-` for stdin. Never the secret itself: a command
//! line is readable by every process of the machine.

use std::fs;
use std::io::Read;

use tenterhook_verify::Secret;

use super::failure::Failure;

/// The longest body a command reads, in bytes.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a secret from where `reference` points.
pub fn secret(reference: &str) -> Result<Secret, Failure> {
    Ok(Secret::new(secret_text(reference)?))
}

/// Reads the text of a secret from where `reference` points, without its final newline.
pub fn secret_text(reference: &str) -> Result<String, Failure> {
    let text = if let Some(name) = reference.strip_prefix("env:") {
        std::env::var(name).map_err(|_| {
            Failure::usage(format!("the environment variable `{name}` is not set"))
                .hint(format!("export {name}=… before the command"))
        })?
    } else if let Some(path) = reference.strip_prefix("file:") {
        fs::read_to_string(path).map_err(|error| Failure::usage(format!("cannot read `{path}`: {error}")))?
    } else if reference == "-" {
        String::from_utf8(stdin()?).map_err(|_| Failure::usage("the secret on stdin is not UTF-8"))?
    } else {
        return Err(Failure::usage("a secret is given by reference, never on the command line itself")
            .hint("use `env:NAME`, `file:PATH` or `-` (stdin)"));
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failure::usage(format!("the secret at `{reference}` is empty")));
    }
    Ok(text.to_owned())
}

/// Reads a body from a file, or from stdin for `-`.
pub fn body(path: &str) -> Result<Vec<u8>, Failure> {
    if path == "-" {
        return stdin();
    }
    let refusal = |error| Failure::usage(format!("cannot read `{path}`: {error}"));
    let length = fs::metadata(path).map_err(refusal)?.len();
    if length > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!("`{path}` is larger than 64 MiB")));
    }
    fs::read(path).map_err(refusal)
}

fn stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::usage("stdin holds more than 64 MiB"));
    }
    Ok(bytes)
}
