//! `tenterhook verify`: whether a request is signed as it should be, and why not.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::output;
use super::signing::{RequestArgs, SchemeArgs};

/// Checks the signature of a request: exit 0 when it is valid, 1 when it is not
#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Prints what was compared against what; never a secret nor the expected signature
    #[arg(long)]
    explain: bool,
    /// Prints one JSON object instead
    #[arg(long)]
    json: bool,
    /// Runs every request vector of a file instead of one request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["provider", "body"])]
    vectors: Option<PathBuf>,
    /// Only the vectors of these providers
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "vectors")]
    providers: Vec<String>,
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    if let Some(path) = &args.vectors {
        return super::vectors::run(path, &args.providers, args.json);
    }
    let verifier = args.scheme.verifier()?;
    let request = args.request.request()?;
    let explanation = verifier.explain(&request.borrow(), args.request.now());
    let verdict = &explanation.verdict;
    if args.json {
        let facts: Vec<_> = explanation
            .facts
            .iter()
            .map(|(name, finding)| json!({"name": name, "finding": finding}))
            .collect();
        let mut object = json!({ "valid": verdict.is_ok() });
        match verdict {
            Ok(secret) => object["secret"] = json!(secret.map(|index| index + 1)),
            Err(error) => {
                object["reason"] = json!(error.reason.code());
                object["detail"] = json!(error.detail);
            }
        }
        if args.explain {
            object["facts"] = json!(facts);
        }
        output::json(&object)?;
    } else {
        if args.explain {
            let width = explanation.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            for (name, finding) in &explanation.facts {
                output::line(format!("{name:<width$}  {}", output::printable(finding)))?;
            }
        }
        output::line(match verdict {
            Ok(Some(index)) if verifier.secrets().len() > 1 => format!("valid (secret {})", index + 1),
            Ok(_) => "valid".to_owned(),
            Err(error) => format!("invalid: {}: {}", error.reason.code(), output::printable(&error.detail)),
        })?;
    }
    if verdict.is_ok() { Ok(()) } else { Err(Failure::silent(Exit::Invalid)) }
}
