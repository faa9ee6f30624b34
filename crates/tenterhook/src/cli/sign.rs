//! `tenterhook sign`: what makes a request verify: headers, and the body or the URL where a provider signs inside them.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::output;
use super::signing::{RequestArgs, SchemeArgs, fresh_id};

/// Prints the headers that sign a request, as `Name: value` lines; a body or URL that holds the signature follows them
#[derive(Args, Debug)]
pub struct SignArgs {
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Prints one JSON object instead: the headers, or `{headers, body, url}` where the signature stands in body or URL
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &SignArgs) -> Result<(), Failure> {
    let verifier = args.scheme.verifier()?;
    let id = args.request.id.clone().map_or_else(fresh_id, Ok)?;
    let mut request = args.request.request_or_sample(args.scheme.provider()?, &id)?;
    let sealed = request.seal(&verifier, &id, args.request.now())?;
    let headers = &sealed.headers;
    let body = sealed.body.as_deref().map(String::from_utf8_lossy);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if args.json {
        let object: BTreeMap<_, _> =
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        if verifier.scheme().signs_inside() {
            output::json(&json!({ "headers": object, "body": body, "url": sealed.url }))?;
        } else {
            output::json(&object)?;
        }
    } else {
        for (name, value) in headers {
            output::line(format!("{name}: {}", text(value)))?;
        }
        if let Some(url) = &sealed.url {
            output::line(url)?;
        }
        if let Some(body) = body {
            output::line(format!("\n{body}"))?;
        }
    }
    Ok(())
}
