//! `tenterhook providers`: the catalog, as a table or one entry in full.

use clap::Args;
use serde_json::{Value, json};
use tenterhook_verify::{Locators, Provider, provider};

use super::failure::{Exit, Failure};
use super::output;
use super::signing::closest;

/// Lists the providers of the catalog, or shows one
#[derive(Args, Debug)]
pub struct ProvidersArgs {
    /// Shows this one in full
    name: Option<String>,
    /// Prints one JSON array (with a name: one object) instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &ProvidersArgs) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list(args.json) };
    let entry = provider::provider(name).ok_or_else(|| {
        let near = closest(name, provider::catalog().iter().map(|entry| entry.name.as_str()));
        let hint = near.map_or_else(
            || "`tenterhook providers` lists the names; a provider of your own is written in the config as `verify = { … }`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Failure::new(Exit::NotFound, format!("there is no provider `{name}` in the catalog")).hint(hint)
    })?;
    if args.json { Ok(output::json(&wire(entry))?) } else { show(entry) }
}

fn list(as_json: bool) -> Result<(), Failure> {
    let catalog = provider::catalog();
    if as_json {
        return Ok(output::json(&catalog.iter().map(wire).collect::<Vec<_>>())?);
    }
    let rows = catalog.iter().map(|entry| {
        [
            entry.name.clone(),
            entry.display.clone(),
            entry.field.clone(),
            narrow(signed_by(entry)),
            narrow(text_of(&entry.event_id)),
        ]
    });
    output::table(&["name", "provider", "field", "signed by", "event id"], rows)?;
    Ok(output::line(format!("\n{} providers; `tenterhook providers NAME` shows one in full", catalog.len()))?)
}

fn show(entry: &Provider) -> Result<(), Failure> {
    let hours = entry.retry_horizon.as_secs() / 3600;
    output::line(format!("{} ({})", entry.display, entry.name))?;
    output::line(format!("documentation:   {}", entry.docs_url))?;
    output::line(format!("signed by:       {}", signed_by(entry)))?;
    output::line(format!("event id:        {}", text_of(&entry.event_id)))?;
    output::line(format!("event type:      {}", text_of(&entry.event_type)))?;
    match hours {
        0 => {}
        1..48 => output::line(format!("retries for:     {hours} hours"))?,
        _ => output::line(format!("retries for:     {} days", hours / 24))?,
    }
    for setting in entry.scheme.settings() {
        let need = if setting.required { "needed" } else { "optional" };
        output::line(format!("setting:         {} ({need}): {}", setting.name, setting.help))?;
    }
    if !entry.handshakes.is_empty() {
        output::line("handshake:       answered at the door")?;
    }
    if let Some(bytes) = entry.body_bytes_max {
        output::line(format!("largest body:    {bytes} bytes"))?;
    }
    if let Some(what) = entry.answer.as_ref().and_then(|answer| answer.reads.as_ref()) {
        output::line(format!("acts on answers: {what} (`respond = \"handler\"`)"))?;
    }
    for (name, _) in &entry.alternatives {
        output::line(format!("alternative:     scheme = \"{name}\""))?;
    }
    for sample in &entry.samples {
        output::line(format!("sample event:    {}", sample.event_type))?;
    }
    for pitfall in &entry.pitfalls {
        output::line(format!("take care:       {pitfall}"))?;
    }
    for fact in &entry.unverified {
        output::line(format!("not verified:    {fact}"))?;
    }
    Ok(())
}

fn wire(entry: &Provider) -> Value {
    json!({
        "name": entry.name,
        "display": entry.display,
        "docs_url": entry.docs_url,
        "signature_headers": entry.scheme.signature_headers().iter().map(http::HeaderName::as_str).collect::<Vec<_>>(),
        "signs_url": entry.scheme.signs_url(),
        "signs_time": entry.scheme.signs_time(),
        "asymmetric": entry.scheme.is_asymmetric(),
        "field": entry.field,
        "unsigned": entry.scheme.is_unsigned(),
        "signs_inside": entry.scheme.signs_inside(),
        "settings": entry.scheme.settings().iter().map(|setting| setting.name).collect::<Vec<_>>(),
        "handshake": !entry.handshakes.is_empty(),
        "alternatives": entry.alternatives.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "event_id": text_of(&entry.event_id),
        "event_type": text_of(&entry.event_type),
        "retry_horizon_secs": entry.retry_horizon.as_secs(),
        "acts_on_answers": entry.answer.as_ref().and_then(|answer| answer.reads.as_ref()),
        "answer_within_secs": entry.answer.as_ref().and_then(|answer| answer.within).map(|within| within.as_secs()),
        "body_bytes_max": entry.body_bytes_max,
        "samples": entry.samples.iter().map(|sample| &sample.event_type).collect::<Vec<_>>(),
        "pitfalls": entry.pitfalls,
        "unverified": entry.unverified,
    })
}

fn signed_by(entry: &Provider) -> String {
    let names: Vec<_> = entry.scheme.signature_headers().iter().map(ToString::to_string).collect();
    match (names.is_empty(), entry.scheme.is_unsigned()) {
        (false, _) => names.join(", "),
        (true, true) => "nothing".to_owned(),
        (true, false) => "a signature in the body or the URL".to_owned(),
    }
}

/// What fits into a table for people.
fn narrow(text: String) -> String {
    const WIDTH: usize = 44;
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn text_of(locators: &Locators) -> String {
    let alternative = |places: &Vec<tenterhook_verify::Locator>| {
        places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
    };
    let text = locators.alternatives.iter().map(alternative).collect::<Vec<_>>().join(", else ");
    if text.is_empty() { "-".to_owned() } else { text }
}
