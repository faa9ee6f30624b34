//! `tenterhook sign`: the headers that make a request verify.

use std::collections::BTreeMap;

use clap::Args;

use super::failure::{Exit, Failure};
use super::output;
use super::signing::{RequestArgs, SchemeArgs, fresh_id};

/// Prints the headers that sign a request, as `Name: value` lines
#[derive(Args, Debug)]
pub struct SignArgs {
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Prints one JSON object instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &SignArgs) -> Result<(), Failure> {
    let verifier = args.scheme.verifier()?;
    let id = args.request.id.clone().map_or_else(fresh_id, Ok)?;
    let request = args.request.request_or_sample(args.scheme.provider()?, &id)?;
    let headers = verifier
        .sign(&request.borrow(), Some(&id), args.request.now())
        .map_err(|error| Failure::new(Exit::Invalid, error.to_string()))?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if args.json {
        let object: BTreeMap<_, _> =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        output::json(&object)?;
    } else {
        for (name, value) in &headers {
            output::line(format!("{name}: {}", text(value)))?;
        }
    }
    Ok(())
}
