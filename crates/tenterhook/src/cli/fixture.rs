//! `tenterhook fixture`: a stored event as a file that may be shared, without what is secret or personal in it; and such
//! a file sent again, signed afresh. How values are masked is [`mask`]'s business.

mod file;
mod mask;
mod tokens;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Global;
use super::failure::{Exit, Failure};
use super::gateway::Gateway;
use super::output;
use super::send;
use super::signing::{OwnedRequest, SchemeArgs, fresh_id};
use crate::model::SystemClock;
use file::Fixture;
use mask::Masks;

/// Saves stored events as files, masked, and sends them again, signed afresh
#[derive(Args, Debug)]
pub struct FixtureArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Saves a stored event as a file: secrets, names, addresses, phone numbers and card numbers are masked
    Save {
        /// `evt_…`
        id: String,
        /// The file to write; one that is there is not overwritten
        #[arg(long, value_name = "FILE")]
        out: std::path::PathBuf,
        /// Masks the values of this JSON key or form field, too; `ids` masks every id; `none` masks nothing in the body;
        /// repeatable
        #[arg(long, value_name = "KEY")]
        mask: Vec<String>,
    },
    /// Signs a saved event by its provider's scheme, and sends it: exit 0 when it was answered 2xx
    Send {
        /// What `fixture save` wrote
        file: String,
        /// Where to
        #[arg(long, value_name = "URL")]
        to: String,
        /// The URL that the provider was given, for schemes that sign it, where it is not `--to`
        #[arg(long, value_name = "URL")]
        public_url: Option<String>,
        /// Gives the event a new id, so that it is none that was seen before
        #[arg(long)]
        new_id: bool,
        #[command(flatten)]
        scheme: SchemeArgs,
        /// Prints one JSON object instead
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub async fn run(global: &Global, args: &FixtureArgs) -> Result<(), Failure> {
    match &args.verb {
        Verb::Save { id, out, mask } => save(global, id, out, mask).await,
        Verb::Send { file, to, public_url, new_id, scheme, json } => {
            let fixture = Fixture::read(file)?;
            let answer =
                resend(&fixture, to, public_url.as_deref().unwrap_or(to), *new_id, scheme.clone()).await?;
            answer.print(*json)?;
            if answer.is_success() { Ok(()) } else { Err(Failure::silent(Exit::Invalid)) }
        }
    }
}

async fn save(global: &Global, id: &str, out: &std::path::Path, also: &[String]) -> Result<(), Failure> {
    let masks = Masks::new(also)?;
    let gateway = Gateway::find(global)?;
    let event: Value = gateway.get(&format!("/api/v1/events/{id}"), &[]).await?;
    let body = gateway.bytes(&format!("/api/v1/events/{id}/body")).await?;
    gateway.close().await?;
    let fixture = Fixture::of(&event, &body, masks)?;
    fixture.write(out)?;
    output::note(format!("saved `{}`: {}", out.display(), fixture.summary()));
    Ok(())
}

async fn resend(
    fixture: &Fixture,
    to: &str,
    public_url: &str,
    new_id: bool,
    mut scheme: SchemeArgs,
) -> Result<send::Answer, Failure> {
    scheme.provider.get_or_insert_with(|| fixture.provider.clone());
    if scheme.provider.as_deref() == Some("custom") {
        return Err(Failure::usage(
            "this event came by a scheme of your own config, which is not in the file",
        )
        .hint("name a provider that signs the same way with `--provider NAME`"));
    }
    let fresh = fresh_id()?;
    let mut request = fixture.request(public_url)?;
    let id = match (&fixture.event_id, new_id) {
        (Some(old), true) => {
            renew(&mut request, old, &fresh)?;
            fresh
        }
        (None, true) => {
            return Err(Failure::usage("this event has no id of its provider's that could be renewed"));
        }
        (known, false) => known.clone().unwrap_or(fresh),
    };
    if !scheme.scheme()?.is_unsigned() {
        request.seal(&scheme.verifier()?, &id, SystemClock::wall().to_system())?;
    }
    send::post(&send::client()?, to, request, id).await
}

/// Puts another id wherever the old one stands in headers and body.
fn renew(request: &mut OwnedRequest, old: &str, new: &str) -> Result<(), Failure> {
    let mut found = false;
    for value in request.headers.values_mut() {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if text.contains(old) {
            let renewed = text.replace(old, new).parse();
            *value = renewed.map_err(|_| Failure::new(Exit::Internal, "a header cannot hold the new id"))?;
            found = true;
        }
    }
    if let Ok(text) = std::str::from_utf8(&request.body)
        && text.contains(old)
    {
        request.body = text.replace(old, new).into_bytes();
        found = true;
    }
    if found {
        return Ok(());
    }
    Err(Failure::usage(format!("the id `{old}` does not stand in the event as such"))
        .hint("it is put together from several values: change the file by hand"))
}
