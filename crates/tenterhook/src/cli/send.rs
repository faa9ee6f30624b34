//! `tenterhook send`: signed requests to any endpoint, with a body of your own or a sample event of the provider.

use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::output;
use super::signing::{OwnedRequest, RequestArgs, SchemeArgs, fresh_id};

/// How many requests one call sends at most.
const COUNT_MAX: u32 = 10_000;

/// The longest part of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends signed requests to `--url`: exit 0 when every one was answered 2xx
#[derive(Args, Debug)]
pub struct SendArgs {
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// The URL that the provider was given, for schemes that sign it, where it is not `--url`
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// How many events, each with an id and a time of its own (with `--id`: the same id, with `--body`: the same bytes)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(COUNT_MAX)))]
    count: u32,
    /// Prints one JSON object a request instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: &SendArgs) -> Result<(), Failure> {
    let url = args.request.url.as_deref().ok_or_else(|| {
        Failure::usage("`--url URL` is missing")
            .hint("for example `--url http://127.0.0.1:8080/webhooks/NAME`")
    })?;
    let client = client()?;
    let mut refused = false;
    let progress = if args.count > 1 { ProgressBar::new(args.count.into()) } else { ProgressBar::hidden() };
    for _ in 0..args.count {
        let answer = send_one(args, &client, url).await?;
        refused |= !answer.is_success();
        progress.suspend(|| answer.print(args.json))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    if refused { Err(Failure::silent(Exit::Invalid)) } else { Ok(()) }
}

/// A client that follows no redirects and waits half a minute.
pub(super) fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))
}

/// What came back.
pub(super) struct Answer {
    id: String,
    status: u16,
    correlation_id: Option<String>,
    body: String,
}

async fn send_one(args: &SendArgs, client: &reqwest::Client, url: &str) -> Result<Answer, Failure> {
    let id = args.request.id.clone().map_or_else(fresh_id, Ok)?;
    let mut request = args.request.request_or_sample(args.scheme.provider()?, &id)?;
    request.url = Some(args.public_url.as_deref().unwrap_or(url).to_owned());
    request.seal(&args.scheme.verifier()?, &id, args.request.now())?;
    post(client, url, request, id).await
}

/// Sends a request whose `url` is the one that was signed to where `url` says.
pub(super) async fn post(
    client: &reqwest::Client,
    url: &str,
    request: OwnedRequest,
    id: String,
) -> Result<Answer, Failure> {
    // A signature in the query goes to where the request goes.
    let query = request.sealed_query.then_some(request.url.as_deref()).flatten();
    let url = match query.and_then(|url| url.split_once('?')) {
        Some((_, query)) => format!("{}?{query}", url.split('?').next().unwrap_or(url)),
        None => url.to_owned(),
    };
    let unreachable = |error: reqwest::Error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::new(Exit::Unreachable, format!("no answer from `{url}`: {why}"))
    };
    let mut response = client
        .request(request.method, &url)
        .headers(request.headers)
        .body(request.body)
        .send()
        .await
        .map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    let correlation_id = response
        .headers()
        .get("tenterhook-correlation-id")
        .and_then(|value| value.to_str().ok())
        .map(ToOwned::to_owned);
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { id, status: response.status().as_u16(), correlation_id, body })
}

impl Answer {
    /// Whether it was 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Status and body, in a line.
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            let body = serde_json::from_str(&self.body).unwrap_or_else(|_| Value::String(self.body.clone()));
            output::json(&json!({
                "sent_id": self.id, "status": self.status, "correlation_id": self.correlation_id, "body": body,
            }))?;
        } else {
            output::line(format!("{}  {}", self.status, output::printable(self.body.trim())))?;
        }
        Ok(())
    }
}
